"""Reads chest radiographs with masks of the lungs and the heart, and the devices that they come from.

A folder holds ``manifest.csv`` (``id``, ``ctr_published``, ``ctr_from_masks``), ``img512/`` and ``mask512/``; in a mask bit 1
is the patient's left lung, bit 2 the right lung, bit 4 the heart. The name begins with the UID root of the device's maker.
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

#: Bits of a mask in the order of ``preprocessing.STRUCTURES``.
BITS = (1, 2, 4)

#: Devices held out together: each group is measured by a network that saw none of them.
DEVICE_GROUPS = {
    "1.2.410.200048": "a",
    "1.2.392.200046": "b",
    "1.2.156.112536": "b",
    "1.2.840.113619": "c",
}


class NotHeartLungData(SumuError):
    """A folder does not hold what the heart and lung network learns from."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"{folder} holds no chests with masks: {problem}.",
            remedy="Give a folder with manifest.csv (id, ctr_from_masks), img512/ and, if there are masks, mask512/.",
        )
        self.folder, self.problem = folder, problem


@dataclass(frozen=True, kw_only=True)
class HeartLungCase:
    """One radiograph."""

    image: Path
    #: None where only the ratio is known.
    mask: Path | None
    #: UID root of the device's maker.
    device: str
    #: Cardiothoracic ratio: of the masks, else as published.
    ratio: float

    @property
    def group(self) -> str:
        """The devices that it is held out with; a device seen once goes with the smallest group."""
        return DEVICE_GROUPS.get(self.device, "c")


def heart_lung_cases(folder: Path) -> list[HeartLungCase]:
    """Return the cases of a folder in the order of its manifest.

    Raises
    ------
    NotHeartLungData
        If the manifest, a column, a ratio or an image is missing.
    """
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise NotHeartLungData(folder, "manifest.csv is missing")
    with manifest.open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or "id" not in rows[0]:
        raise NotHeartLungData(folder, "manifest.csv has no row with an id")
    return [_case(folder, row) for row in rows]


def greys(cases: Sequence[HeartLungCase]) -> list[NDArray[np.uint8]]:
    """Return the grey values of the images."""
    return [np.asarray(Image.open(case.image).convert("L")) for case in cases]


def masks(case: HeartLungCase) -> NDArray[np.bool_]:
    """Return (3, rows, columns): left lung, right lung, heart."""
    assert case.mask is not None
    bits = np.asarray(Image.open(case.mask))
    return np.stack([(bits & bit) > 0 for bit in BITS])


def device_of(name: str) -> str:
    """Return the UID root of a device's maker from the name of an image."""
    parts = name.split(".")
    return ".".join(parts[: 4 if parts[0] == "1" else 2])


def _case(folder: Path, row: dict[str, str]) -> HeartLungCase:
    name = row["id"]
    stem = name.removesuffix(".png").removesuffix(".jpg")
    image = next((file for file in (folder / "img512" / f"{stem}{end}" for end in (".jpg", ".png")) if file.is_file()), None)
    if image is None:
        raise NotHeartLungData(folder, f"the image of {name} is not in img512")
    said = row.get("ctr_from_masks") or row.get("ctr_published")
    if not said:
        raise NotHeartLungData(folder, f"{name} has no cardiothoracic ratio")
    mask = folder / "mask512" / f"{stem}.png"
    return HeartLungCase(image=image, mask=mask if mask.is_file() else None, device=device_of(name), ratio=float(said))
