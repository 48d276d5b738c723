"""From logits to probabilities and operating points, fitted on few cases: few numbers, and each measured out of fold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def fit_platt(logits: Array, labels: Array) -> tuple[float, Array]:
    """Return one slope for all outputs and an intercept for each (Platt scaling; some outputs have three positives).

    The slope is held near 1 and the intercepts near 0 by a weak Gaussian prior, so that no fit runs away.
    """
    outputs = logits.shape[1]

    def cost(parameters: Array) -> tuple[float, Array]:
        slope, intercepts = parameters[0], parameters[1:]
        value = slope * logits + intercepts
        error = 1 / (1 + np.exp(-value)) - labels
        loss = float((np.logaddexp(0, value) - labels * value).sum())
        loss += 0.5 * (slope - 1) ** 2 + 0.005 * float((intercepts**2).sum())
        gradient = np.concatenate([[(error * logits).sum() + slope - 1], error.sum(axis=0) + 0.01 * intercepts])
        return loss, gradient

    found = minimize(cost, np.concatenate([[1.0], np.zeros(outputs)]), jac=True, method="L-BFGS-B")
    return float(found.x[0]), np.asarray(found.x[1:], np.float64)


def at_specificity(scores: Array, labels: Array, specificity: float) -> float:
    """Return the lowest threshold at which at least ``specificity`` of the negatives stay below."""
    negatives = np.sort(scores[labels == 0])
    index = int(np.ceil(specificity * len(negatives))) - 1
    above = scores[scores > negatives[index]]
    return float((negatives[index] + above.min()) / 2) if len(above) else float(negatives[index] + 1e-6)


def at_sensitivity(scores: Array, labels: Array, sensitivity: float) -> float:
    """Return the highest threshold at which at least ``sensitivity`` of the positives reach it."""
    positives = np.sort(scores[labels == 1])
    return float(positives[int(np.floor((1 - sensitivity) * len(positives)))])


def folds(labels: Array, count: int, seed: int) -> NDArray[np.int64]:
    """Return a fold for each case, positives and negatives spread evenly."""
    chance = np.random.default_rng(seed)
    fold = np.empty(len(labels), np.int64)
    for kind in (0, 1):
        members = chance.permutation(np.flatnonzero(labels == kind))
        fold[members] = (np.arange(len(members)) + kind) % count
    return fold


def out_of_fold(
    scores: Array, labels: Array, choose: Callable[[Array, Array], float], *, repeats: int = 20, count: int = 5
) -> tuple[float, float]:
    """Return sensitivity and specificity of ``choose``'s threshold on cases that did not choose it."""
    right = np.zeros(2)
    for seed in range(repeats):
        fold = folds(labels, count, seed)
        for number in range(count):
            inside = fold == number
            if len(set(labels[~inside])) < 2:
                continue
            called = scores[inside] >= choose(scores[~inside], labels[~inside])
            right += [(called & (labels[inside] == 1)).sum(), (~called & (labels[inside] == 0)).sum()]
    return float(right[0] / (repeats * (labels == 1).sum())), float(right[1] / (repeats * (labels == 0).sum()))


def interval(
    statistic: Callable[[NDArray[np.int64]], float], groups: NDArray[np.int64], draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % percentile interval of ``statistic(indices)`` when whole groups (patients) are drawn again."""
    chance = np.random.default_rng(11)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    values = []
    for _ in range(draws):
        drawn = np.concatenate([members[index] for index in chance.integers(0, len(members), len(members))])
        value = statistic(drawn)
        if np.isfinite(value):
            values.append(value)
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def auc(scores: Array, labels: Array) -> float:
    """Return the area under the ROC curve (Mann-Whitney), nan where one class is absent."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    if not len(positives) or not len(negatives):
        return float("nan")
    higher = (positives[:, None] > negatives[None, :]).mean()
    return float(higher + 0.5 * (positives[:, None] == negatives[None, :]).mean())
