"""A drawn frontal chest: trunk, lungs, ribs, collar bones, spine, heart and diaphragm, with the noise of a detector.

It shows nobody. Its proportions were searched so that the shipped chest network's gate lets it pass, and so that all that
is run on a real chest is run on it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Picture = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Proportions:
    """Places and sizes as shares of the picture's sides, absorption as shares of the range."""

    margin: float = 0.065
    neck: float = 0.585
    soft: float = 0.208
    shoulder: float = 0.112
    lung_from_midline: float = 0.212
    lung_row: float = 0.232
    lung_width: float = 0.171
    lung_height: float = 0.405
    air: float = 0.142
    rib: float = 0.036
    hilum: float = 0.056
    spine: float = 0.179
    trachea: float = 0.032
    heart: float = 0.74
    heart_width: float = 0.257
    heart_height: float = 0.385
    heart_row: float = 0.609
    abdomen: float = 0.11
    texture: float = 0.04


def chest(rows: int, columns: int, seed: int, shape: Proportions | None = None) -> NDArray[np.float32]:
    """Return a drawn chest (rows, columns), 0 to 1, bone bright; ``seed`` varies its proportions a little and its texture."""
    chance = np.random.default_rng(seed)
    p = shape or Proportions()
    p = replace(p, **{name: value * float(chance.normal(1, 0.01)) for name, value in asdict(p).items()})
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    aside = np.abs(x - 0.5)
    body = _edge((0.5 - aside) - p.margin - 0.25 * p.neck * np.exp(-(((y + 0.02) / 0.14) ** 2)), 60)
    picture = body * (p.soft + p.shoulder * np.exp(-(((y - 0.08) / 0.12) ** 2)))
    for side in (-1, 1):
        picture += _lung(x - 0.5 - side * p.lung_from_midline, y, p)
        picture += p.hilum * np.exp(-(((x - 0.5 - side * 0.1) / 0.045) ** 2) - ((y - 0.42) / 0.08) ** 2)
    collar = np.exp(-(((y - 0.16 + 0.15 * (aside - 0.1)) / 0.012) ** 2)) * (aside > 0.05) * (aside < 0.36)
    picture += 2 * p.rib * collar
    picture += p.spine * np.exp(-((aside / 0.05) ** 2)) - p.trachea * np.exp(-((aside / 0.018) ** 2)) * (y < 0.35)
    picture += p.heart * _edge(1 - ((x - 0.56) / p.heart_width) ** 2 - ((y - p.heart_row) / p.heart_height) ** 2, 6)
    dome = p.lung_row + p.lung_height - 0.03 + 0.35 * np.abs(aside - p.lung_from_midline) ** 1.5
    picture += p.abdomen * _edge(y - dome, 40) * body
    picture += _texture(chance, rows, columns, p.texture)
    return np.asarray(np.clip(picture / 1.4, 0, 1), np.float32)


def _lung(across: Picture, y: Picture, p: Proportions) -> Picture:
    """Return what a lung takes away and its ribs add; it is narrower at the top."""
    down = np.clip((y - p.lung_row + p.lung_height) / (2 * p.lung_height), 0, 1)
    width = p.lung_width * (0.55 + 0.6 * down**0.7)
    inside = _edge(1 - np.abs(across / width) ** 2.5 - np.abs((y - p.lung_row) / p.lung_height) ** 4, 8)
    drawn = -p.air * inside
    for number in range(9):
        row = p.lung_row - p.lung_height + (number + 0.5) * 2 * p.lung_height / 9 + 0.35 * np.abs(across)
        drawn += p.rib * np.exp(-(((y - row) / 0.010) ** 2)) * (np.abs(across) < 1.1 * p.lung_width)
    return np.asarray(drawn)


def _texture(chance: np.random.Generator, rows: int, columns: int, strength: float) -> Picture:
    """Return soft mottle; drawn small and enlarged, as a patient's is."""
    small = gaussian_filter(chance.standard_normal((rows // 8 + 1, columns // 8 + 1)), 2)
    return np.asarray(strength * np.kron(small, np.ones((8, 8)))[:rows, :columns])


def _edge(distance: Picture, sharpness: float) -> Picture:
    """Return 1 well inside and 0 well outside."""
    return np.asarray(1 / (1 + np.exp(np.clip(-sharpness * distance, -60, 60))))
