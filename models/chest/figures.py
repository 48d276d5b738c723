"""Numbers that say how good a set of probabilities is: areas with intervals, calibration, subgroups. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.chest.calibration import auc, interval
from models.chest.findings import CODES, FINDINGS

#: Hernia is left out of the mean: a handful of images cannot say.
RARE = "chest_hernia"
#: Bins of the reliability diagram.
BINS = 8

Array = NDArray[np.float64]
Rows = NDArray[np.int64]

_COUNTED = [index for index, code in enumerate(FINDINGS.values()) if code != RARE]


def mean_auc(scores: Array, labels: Array, rows: Rows | None = None) -> float:
    """Return the mean area under the ROC curve of the findings without hernia; findings that all or none have are left out."""
    chosen = slice(None) if rows is None else rows
    areas = [auc(scores[chosen, index], labels[chosen, index]) for index in _COUNTED]
    present = [area for area in areas if np.isfinite(area)]
    return float(np.mean(present)) if present else float("nan")


def figures(scores: Array, labels: Array, patients: Rows, *, draws: int = 1000) -> dict[str, Any]:
    """Return every figure of (images, outputs) probabilities against 0 and 1; intervals are 95 %, patients drawn again."""
    found: dict[str, Any] = {
        "images": len(labels),
        "patients": len(np.unique(patients)),
        "mean_auc_13": _with_interval(lambda rows: mean_auc(scores, labels, rows), patients, draws),
        "findings": {},
    }
    for index, code in enumerate(CODES):
        given, truth = scores[:, index], labels[:, index]
        found["findings"][code] = {
            "positives": int(truth.sum()),
            "auc": _with_interval(_area_of(given, truth), patients, draws),
            "brier": round(float(((given - truth) ** 2).mean()), 4),
            "brier_of_prevalence": round(float(truth.mean() * (1 - truth.mean())), 4),
            "reliability": reliability(given, truth),
        }
    return found


def subgroups(scores: Array, labels: Array, groups: Mapping[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """Return images, mean area and the triage output's area for each group of images."""
    return {
        name: {
            "images": int(chosen.sum()),
            "mean_auc_13": _number(mean_auc(scores[chosen], labels[chosen])),
            "abnormal_auc": _number(auc(scores[chosen, -1], labels[chosen, -1])),
        }
        for name, chosen in groups.items()
        if chosen.any()
    }


def reliability(given: Array, truth: Array) -> list[dict[str, float]]:
    """Return mean probability, share of positives and size of groups of about the same size, from low to high."""
    order = np.argsort(given, kind="stable")
    return [
        {"given": round(float(given[part].mean()), 4), "found": round(float(truth[part].mean()), 4), "images": len(part)}
        for part in np.array_split(order, min(BINS, len(order)))
        if len(part)
    ]


def _area_of(given: Array, truth: Array) -> Callable[[Rows], float]:
    return lambda rows: auc(given[rows], truth[rows])


def _with_interval(statistic: Callable[[Rows], float], patients: Rows, draws: int) -> list[float | None]:
    value = statistic(np.arange(len(patients)))
    if not np.isfinite(value):
        return [None, None, None]
    return [_number(one) for one in (value, *interval(statistic, patients, draws))]


def _number(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
