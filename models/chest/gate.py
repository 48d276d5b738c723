"""Tells an upright frontal chest from every other picture: a linear reading, learned from chests and from strangers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.chest.bank import Seen
from models.chest.calibration import fit_platt
from models.chest.readings import LIMIT, Array

#: An image passes at or above this probability.
THRESHOLD = 0.9
#: Ridge, by the mean squared length of an image's features.
RIDGE = 0.02
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Features and numbers of the whole square -> the logit of a frontal chest."""

    centre: Array
    spread: Array
    weight: Array
    bias: float

    def of(self, seen: Seen) -> Array:
        """Return a logit for each image."""
        return self.standardised(everything(seen)) @ self.weight + self.bias

    def standardised(self, features: NDArray[np.floating]) -> Array:
        """Return the features as the gate weighs them."""
        return np.clip((features - self.centre) / self.spread, -LIMIT, LIMIT)


def everything(seen: Seen) -> NDArray[np.floating]:
    """Return all that the gate looks at."""
    return np.concatenate([seen.features, seen.whole], axis=1)


def fit_gate(features: NDArray[np.floating], chest: NDArray[np.bool_], groups: NDArray[np.int64]) -> tuple[Gate, Array]:
    """Return the gate and the logit of each image from gates that saw nothing of its group."""
    logits = np.empty(len(features))
    for number in range(FOLDS):
        inside = groups % FOLDS == number
        centre, spread, weight, bias = _direction(features[~inside], chest[~inside])
        logits[inside] = np.clip((features[inside] - centre) / spread, -LIMIT, LIMIT) @ weight + bias
    centre, spread, weight, bias = _direction(features, chest)
    slope, intercept = _scaled(logits, chest)
    gate = Gate(centre=centre, spread=spread, weight=weight * slope, bias=bias * slope + intercept)
    return gate, logits * slope + intercept


def _direction(features: NDArray[np.floating], chest: NDArray[np.bool_]) -> tuple[Array, Array, Array, float]:
    """Return the standard of the chests, and the ridge regression of plus or minus one, both kinds weighing the same."""
    centre = features[chest].mean(axis=0, dtype=np.float64)
    spread = features[chest].std(axis=0, dtype=np.float64) + 0.01 * features.std(axis=0, dtype=np.float64) + 1e-6
    standardised = np.clip((features - centre) / spread, -LIMIT, LIMIT)
    trust = np.where(chest, 0.5 / chest.mean(), 0.5 / (~chest).mean())
    middle = np.average(standardised, axis=0, weights=trust)
    kept = standardised - middle
    products = kept @ kept.T
    wanted = np.where(chest, 1.0, -1.0)
    solved = np.linalg.solve(products + np.diag(RIDGE * np.trace(products) / len(products) / trust), wanted)
    weight = kept.T @ solved
    return centre, spread, weight, -float(middle @ weight)


def _scaled(logits: Array, chest: NDArray[np.bool_]) -> tuple[float, float]:
    """Return slope and intercept that make logits of scores that reach from about -1 to 1."""
    steep = 4.0
    slope, intercepts = fit_platt(steep * logits[:, None], chest[:, None].astype(np.float64))
    return steep * slope, float(intercepts[0])
