"""The images that the chest network learns from: ChestX-ray14 for the findings, limbs for what is out of scope.

Both sets are read from a manifest in CSV beside a folder of JPEGs. Patients, and near-duplicate limbs, never stand on both
sides of a split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import SumuError
from models.chest.findings import FINDINGS
from models.chest.preprocessing import SIDE, prepare

#: Images of this source carry their label by source and view: they teach, but never measure.
SHORTCUT_SOURCE = "muhammedtalo"

#: Side in pixels of the images on which the boxes were drawn.
BOX_SIDE = 1024


#: Names of the manifest and of the folder of images, in the order in which they are looked for.
MANIFESTS, IMAGE_FOLDERS = (("nih_manifest.csv", "manifest.csv"), ("nih384", "images", "."))


class NotChestData(SumuError):
    """A folder does not hold chests with findings."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"{folder} holds no chests with findings: {problem}.",
            remedy="Give a folder with manifest.csv (file, patient_id, age, sex, view and a column of 0 and 1 for each finding: "
            f"{', '.join(FINDINGS)}) and the images beside it or in images/.",
        )
        self.folder, self.problem = folder, problem


@dataclass(frozen=True, kw_only=True)
class ChestCase:
    """One row of the chest manifest."""

    file: Path
    patient: str
    #: 1 where the report's text named the finding; the fourteen findings, then abnormal.
    labels: tuple[float, ...]
    #: Probabilities of the published CheXNet replica for the fourteen findings, where known.
    teacher: tuple[float, ...] | None
    shortcut: bool
    validation: bool
    age: float
    male: bool
    frontal_pa: bool
    #: Boxes drawn by a radiologist: code, then x, y, width, height as shares of the image.
    boxes: tuple[tuple[str, float, float, float, float], ...]


def chest_cases(folder: Path) -> list[ChestCase]:
    """Read ``nih_manifest.csv`` or ``manifest.csv`` in ``folder``; the images lie in ``nih384``, in ``images`` or beside it.

    ``abnormal`` may be missing (then: any finding), and so may ``view``, ``bbox``, ``split``, ``source_repo``,
    ``chexnet_...``.

    Raises
    ------
    NotChestData
        If there is no manifest, or a column, a value or an image is missing.
    """
    manifest = next((folder / name for name in MANIFESTS if (folder / name).is_file()), None)
    if manifest is None:
        raise NotChestData(folder, "neither nih_manifest.csv nor manifest.csv is there")
    with manifest.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise NotChestData(folder, f"{manifest.name} has no row")
    return [_chest_case(folder, row) for row in rows]


def _chest_case(folder: Path, row: dict[str, str]) -> ChestCase:
    try:
        labels = [float(row[name]) for name in FINDINGS]
        known = bool(row.get("chexnet_Mass"))
        return ChestCase(
            file=_image(folder, row["file"]),
            patient=row["patient_id"],
            labels=(*labels, float(row["abnormal"]) if row.get("abnormal") else max(labels)),
            teacher=tuple(float(row[f"chexnet_{name}"]) for name in FINDINGS) if known else None,
            shortcut=(row.get("source_repo") or "").startswith(SHORTCUT_SOURCE),
            validation=row.get("split") == "val",
            age=float(row["age"]),
            male=row["sex"] == "M",
            frontal_pa=row.get("view") == "PA",
            boxes=tuple(_box(one) for one in (row.get("bbox") or "").split(";") if one),
        )
    except KeyError as error:
        raise NotChestData(folder, f"the manifest lacks the column {error}") from error
    except (TypeError, ValueError) as error:
        raise NotChestData(folder, f"the row of {row.get('file')} holds a value of the wrong kind ({error})") from error


def _image(folder: Path, name: str) -> Path:
    found = next((folder / place / name for place in IMAGE_FOLDERS if (folder / place / name).is_file()), None)
    if found is None:
        raise NotChestData(folder, f"the image {name} is not there")
    return found


def _box(text: str) -> tuple[str, float, float, float, float]:
    name, numbers = text.split(":")
    x, y, width, height = (float(number) / BOX_SIDE for number in numbers.split(","))
    return (FINDINGS.get(name) or FINDINGS[{"Infiltrate": "Infiltration"}[name]], x, y, width, height)


def limb_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return limb radiographs of FracAtlas in ``folder``: to learn from, and to measure with (three tenths).

    Near-duplicates (``dup_group``) and neighbours (``index_block``) stay together.
    """
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    groups = _joined([(f"d{row['dup_group']}", f"b{row['index_block']}") for row in rows])
    order = sorted(set(groups))
    held = set(np.random.default_rng(7).permutation(order)[: round(len(order) * 0.3)].tolist())
    learn: list[Path] = []
    measure: list[Path] = []
    for row, group in zip(rows, groups, strict=True):
        (measure if group in held else learn).append(folder / "img384" / row["image_id"])
    return learn, measure


def _joined(keys: Sequence[tuple[str, str]]) -> list[str]:
    """Return one group a row: rows that share either key, directly or through others, share the group."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        parent.setdefault(key, key)
        while parent[key] != key:
            key = parent[key]
        return key

    for first, second in keys:
        one, other = sorted((root(first), root(second)))
        parent[other] = one
    return [root(first) for first, _ in keys]


def load(files: Sequence[Path], side: int = SIDE) -> NDArray[np.float32]:
    """Return (images, side, side), each through the preprocessing that serving uses."""
    images = np.empty((len(files), side, side), np.float32)
    for index, file in enumerate(files):
        images[index] = prepare(grey_of(file), side)[0]
    return images


def grey_of(file: Path) -> NDArray[np.uint8]:
    """Return the grey values of an image file."""
    with Image.open(file) as image:
        return np.asarray(image.convert("L"))
