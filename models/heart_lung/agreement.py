"""How well outlined structures cover the masks of people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.heart_lung.data import HeartLungCase, masks
from models.heart_lung.measure import Measured
from models.heart_lung.preprocessing import OUT_SIDE, STRUCTURES


def mean_dice(seen: Sequence[Measured], cases: Sequence[HeartLungCase]) -> dict[str, float]:
    """Return the mean Dice coefficient of each structure at the network's resolution; empty where there are no masks."""
    scores = [_dice(one, case) for one, case in zip(seen, cases, strict=True) if case.mask]
    if not scores:
        return {}
    return {name: round(float(value), 4) for name, value in zip(STRUCTURES, np.mean(scores, axis=0), strict=True)}


def _dice(measured: Measured, case: HeartLungCase) -> list[float]:
    place = measured.placement
    found = measured.probabilities >= 0.5
    scores = []
    for channel, mask in zip(found, masks(case), strict=True):
        square = np.zeros((2 * OUT_SIDE, 2 * OUT_SIDE), np.uint8)
        small = Image.fromarray(mask.astype(np.uint8) * 255).resize((place.width, place.height), Image.Resampling.BOX)
        square[place.top : place.top + place.height, place.left : place.left + place.width] = np.asarray(small)
        true = square.reshape(OUT_SIDE, 2, OUT_SIDE, 2).mean(axis=(1, 3)) >= 127.5
        scores.append(2 * float((channel & true).sum()) / max(1, int(channel.sum() + true.sum())))
    return scores
