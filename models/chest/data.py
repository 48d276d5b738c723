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

from models.chest.findings import FINDINGS
from models.chest.preprocessing import SIDE, prepare

#: Images of this source carry their label by source and view: they teach, but never measure.
SHORTCUT_SOURCE = "muhammedtalo"

#: Side in pixels of the images on which the boxes were drawn.
BOX_SIDE = 1024


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
    """Read ``nih_manifest.csv`` in ``folder``."""
    with (folder / "nih_manifest.csv").open(newline="", encoding="utf-8") as lines:
        return [_chest_case(folder, row) for row in csv.DictReader(lines)]


def _chest_case(folder: Path, row: dict[str, str]) -> ChestCase:
    known = bool(row["chexnet_Mass"])
    return ChestCase(
        file=folder / "nih384" / row["file"],
        patient=row["patient_id"],
        labels=tuple(float(row[name]) for name in (*FINDINGS, "abnormal")),
        teacher=tuple(float(row[f"chexnet_{name}"]) for name in FINDINGS) if known else None,
        shortcut=row["source_repo"].startswith(SHORTCUT_SOURCE),
        validation=row["split"] == "val",
        age=float(row["age"]),
        male=row["sex"] == "M",
        frontal_pa=row["view"] == "PA",
        boxes=tuple(_box(one) for one in row["bbox"].split(";") if one),
    )


def _box(text: str) -> tuple[str, float, float, float, float]:
    name, numbers = text.split(":")
    x, y, width, height = (float(number) / BOX_SIDE for number in numbers.split(","))
    return FINDINGS.get(name) or FINDINGS[{"Infiltrate": "Infiltration"}[name]], x, y, width, height


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
        with Image.open(file) as image:
            images[index] = prepare(np.asarray(image.convert("L")), side)[0]
    return images
