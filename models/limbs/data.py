"""Reads radiographs of limbs: where they are broken, which part they show, and which belong together.

A folder holds ``manifest.csv`` in FracAtlas' columns and ``img384/``; boxes are in pixels of the original, whose size stands
in ``width`` and ``height``. Near-duplicates (``dup_group``) and neighbours (``index_block``) never stand on both sides of a
split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from core.errors import SumuError
from models.limbs.preprocessing import Box
from models.limbs.reading import PARTS, PROJECTIONS

FOLDS = 5


class NotLimbData(SumuError):
    """A folder does not hold radiographs of limbs."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"{folder} holds no radiographs of limbs: {problem}.",
            remedy="Give a folder with manifest.csv (image_id, fractured, hand, leg, hip, shoulder, width, height, boxes_xyxy) "
            "and the images in img384/.",
        )
        self.folder, self.problem = folder, problem


@dataclass(frozen=True, kw_only=True)
class LimbCase:
    """One radiograph."""

    file: Path
    fractured: bool
    #: Of ``PARTS``; some images show two.
    parts: frozenset[str]
    #: Of ``PROJECTIONS``; an image of two exposures may show two.
    projections: frozenset[str]
    hardware: bool
    #: Several exposures on one image.
    multiscan: bool
    #: Fractures: x, y, width, height in shares of the image; empty where nobody drew them.
    boxes: tuple[Box, ...]
    #: Images that belong together share it.
    group: int


def limb_cases(folder: Path) -> list[LimbCase]:
    """Return the cases of a folder in the order of its manifest.

    Raises
    ------
    NotLimbData
        If the manifest, a column or an image is missing, or a number cannot be read.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise NotLimbData(folder, "manifest.csv is missing")
    with manifest.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        raise NotLimbData(folder, "manifest.csv has no row")
    missing = sorted({"image_id", "fractured", *PARTS} - set(rows[0]))
    if missing:
        raise NotLimbData(folder, f"manifest.csv lacks the column {missing[0]}")
    return [_case(folder, row, group) for row, group in zip(rows, _groups(rows), strict=True)]


def greys(case: LimbCase) -> NDArray[np.uint8]:
    """Return the grey values of an image.

    Raises
    ------
    NotLimbData
        If the image is damaged.
    """
    try:
        with Image.open(case.file) as image:
            return np.asarray(image.convert("L"))
    except OSError as error:
        raise NotLimbData(case.file.parent.parent, f"the image {case.file.name} cannot be read ({error})") from error


def folds_of(cases: Sequence[LimbCase]) -> NDArray[np.int64]:
    """Return the fold of each case: groups stay whole, and fractured and whole limbs are spread evenly."""
    groups = np.array([case.group for case in cases])
    broken = np.array([case.fractured for case in cases])
    size = {int(group): (int((groups == group).sum()), int(broken[groups == group].sum())) for group in set(groups)}
    share = len(cases) / max(1, broken.sum())
    held = np.zeros((FOLDS, 2))
    fold_of: dict[int, int] = {}
    for group, (images, fractured) in sorted(size.items(), key=lambda item: (-item[1][0], item[0])):
        fold = int(np.argmin(((held + np.array([images, fractured])) ** 2 - held**2) @ np.array([1, share**2])))
        held[fold] += images, fractured
        fold_of[group] = fold
    return np.array([fold_of[int(group)] for group in groups])


def _groups(rows: Sequence[dict[str, str]]) -> list[int]:
    """Return a number a row: rows that share a near-duplicate or a block, directly or through others, share the number."""
    keys = [[f"{name}:{row[name]}" for name in ("dup_group", "index_block") if row.get(name)] for row in rows]
    number = {key: len(rows) + index for index, key in enumerate(sorted({key for some in keys for key in some}))}
    links = [(index, number[key]) for index, some in enumerate(keys) for key in some]
    ends = np.array(links or [(0, 0)]).T
    nodes = len(rows) + len(number)
    labels = connected_components(coo_array((np.ones(ends.shape[1]), (ends[0], ends[1])), shape=(nodes, nodes)), directed=False)[
        1
    ]
    return [int(label) for label in labels[: len(rows)]]


def _case(folder: Path, row: dict[str, str], group: int) -> LimbCase:
    file = folder / "img384" / row["image_id"]
    if not file.is_file():
        raise NotLimbData(folder, f"the image {row['image_id']} is not in img384")
    try:
        return LimbCase(
            file=file,
            fractured=_true(row["fractured"]),
            parts=frozenset(part for part in PARTS if _true(row[part])),
            projections=frozenset(name for name in PROJECTIONS if _true(row.get(name))),
            hardware=_true(row.get("hardware")),
            multiscan=_true(row.get("multiscan")),
            boxes=_boxes(row),
            group=group,
        )
    except (ValueError, KeyError) as error:
        raise NotLimbData(folder, f"the row of {row['image_id']} cannot be read ({error})") from error


def _true(said: str | None) -> bool:
    return float(said or 0) > 0


def _boxes(row: dict[str, str]) -> tuple[Box, ...]:
    said = row.get("boxes_xyxy") or ""
    if not said:
        return ()
    width, height = float(row["width"]), float(row["height"])
    corners = [[float(number) for number in one.split(",")] for one in said.split(";")]
    return tuple((x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height) for x0, y0, x1, y1 in corners)
