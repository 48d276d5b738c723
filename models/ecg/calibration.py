"""From logits to probabilities and operating points, statement by statement, each measured on records that did not choose it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Array = npt.NDArray[np.float64]

PARTS = 5
REPEATS = 4
#: Standard deviations of the priors around slope 1 and intercept 0: a statement with five positives must not run away.
_SLOPE_SPREAD, _INTERCEPT_SPREAD = 0.3, 1.0


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold, and what it did: on the records that chose it, and on the others."""

    threshold: float
    sensitivity: float
    specificity: float
    #: Out of fold.
    sensitivity_outside: float
    specificity_outside: float
    #: Share of the calls that were right (positive predictive value), out of fold, at the prevalence of the set.
    precision_outside: float


def fit_platt(logits: Array, truth: Array) -> tuple[float, float]:
    """Return slope and intercept of Platt scaling with weak Gaussian priors (maximum a posteriori)."""

    def cost(parameters: Array) -> tuple[float, Array]:
        slope, intercept = parameters
        value = slope * logits + intercept
        error = sigmoid(value) - truth
        away = np.array([(slope - 1) / _SLOPE_SPREAD, intercept / _INTERCEPT_SPREAD])
        loss = float((np.logaddexp(0, value) - truth * value).sum() + 0.5 * (away**2).sum())
        gradient = np.array([(error * logits).sum() + away[0] / _SLOPE_SPREAD, error.sum() + away[1] / _INTERCEPT_SPREAD])
        return loss, gradient

    found = minimize(cost, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def best_threshold(probability: Array, truth: Array) -> float:
    """Return the threshold with the highest F1, the harmonic mean of sensitivity and precision."""
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    scores = 2 * hits / (np.arange(1, len(truth) + 1) + truth.sum())
    place = int(np.argmax(scores))
    following = probability[order[min(place + 1, len(order) - 1)]]
    return float((probability[order[place]] + following) / 2)


def parts_of(truth: Array, seed: int, count: int = PARTS) -> npt.NDArray[np.int64]:
    """Return a part for each record, positives and negatives spread evenly."""
    chance = np.random.default_rng(seed)
    part = np.empty(len(truth), np.int64)
    for kind in (0, 1):
        members = chance.permutation(np.flatnonzero(truth == kind))
        part[members] = (np.arange(len(members)) + kind) % count
    return part


def out_of_fold(logits: Array, truth: Array, seed: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return each record's probability and call by slope, intercept and threshold that were fitted without it."""
    part = parts_of(truth, seed)
    probability, called = np.empty(len(truth)), np.empty(len(truth), bool)
    for number in range(PARTS):
        inside = part == number
        slope, intercept = fit_platt(logits[~inside], truth[~inside])
        threshold = best_threshold(sigmoid(slope * logits[~inside] + intercept), truth[~inside])
        probability[inside] = sigmoid(slope * logits[inside] + intercept)
        called[inside] = probability[inside] >= threshold
    return probability, called


def operating_point(logits: Array, truth: Array) -> tuple[tuple[float, float], OperatingPoint, Array]:
    """Return slope and intercept, the operating point, and the out-of-fold probabilities of the first division."""
    slope, intercept = fit_platt(logits, truth)
    probability = sigmoid(slope * logits + intercept)
    threshold = best_threshold(probability, truth)
    called = probability >= threshold
    outside = [out_of_fold(logits, truth, seed) for seed in range(REPEATS)]
    calls = np.concatenate([call for _, call in outside])
    facts = np.tile(truth, REPEATS) == 1
    point = OperatingPoint(
        threshold=threshold,
        sensitivity=float(called[truth == 1].mean()),
        specificity=float((~called)[truth == 0].mean()),
        sensitivity_outside=float(calls[facts].mean()),
        specificity_outside=float((~calls)[~facts].mean()),
        precision_outside=float(facts[calls].mean()) if calls.any() else 0.0,
    )
    return (slope, intercept), point, outside[0][0]


def sigmoid(value: Array) -> Array:
    """Return the logistic function without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * value)))
