"""How well statements are told apart and how true their probabilities are; no torch here, so that serving can measure itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[np.floating]

#: A statement with fewer positives has no area worth the name.
FEWEST_POSITIVES = 5


def auc(truth: Array, score: Array) -> float:
    """Area under the receiver operating characteristic: the Mann-Whitney statistic; NaN without both classes."""
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = rankdata(score)
    return float((ranks[truth > 0.5].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auc_by_column(truth: Array, score: Array, fewest: int = FEWEST_POSITIVES) -> npt.NDArray[np.float64]:
    """Area of each column; NaN where there are fewer than ``fewest`` positives."""
    return np.array([auc(t, s) if fewest <= t.sum() < len(t) else float("nan") for t, s in zip(truth.T, score.T, strict=True)])


def macro_auc(truth: Array, score: Array, fewest: int = FEWEST_POSITIVES) -> float:
    """Mean area over the columns with at least ``fewest`` positives."""
    areas = auc_by_column(truth, score, fewest)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def expected_calibration_error(truth: Array, probability: Array, bins: int = 10) -> float:
    """Mean distance of what was promised from what came true, in bins of equal width weighted by their size."""
    place = np.minimum((probability * bins).astype(int), bins - 1)
    distance = [
        abs(float(truth[place == index].mean()) - float(probability[place == index].mean())) * float(np.mean(place == index))
        for index in range(bins)
        if np.any(place == index)
    ]
    return float(sum(distance))
