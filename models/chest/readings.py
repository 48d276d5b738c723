"""Linear readings of the features: what the teacher would say, what the labels say, and what findings tell of each other.

All is closed form (ridge regression in the dual: there are fewer images than features), so a fit takes seconds and a
cross-validation is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.chest.blocks import BLOCKS
from models.chest.findings import CODES

Array = NDArray[np.float64]
Rows = NDArray[np.bool_]

#: A standardised feature beyond this is cut: an odd image must not shout.
LIMIT = 5.0
#: Ridge on the teacher's scores and on the labels, by the mean squared length of an image's features.
TEACHER_RIDGE, LABEL_RIDGE = 0.5, 1.0
#: How much the reading of the labels counts beside that of the teacher.
LABEL_SHARE = 0.75
#: How far a finding's score moves with those that it occurs with.
COMPANY = 0.5
#: How much the sum of the findings adds to the triage output.
BURDEN = 0.6
#: Weight of an image whose labels follow its source, where labels teach.
SHORTCUT_WEIGHT = 0.25


@dataclass(frozen=True, kw_only=True)
class Standard:
    """Brings every feature to mean 0 and spread 1, and every block to its weight."""

    centre: Array
    spread: Array
    scale: Array

    def of(self, features: NDArray[np.floating]) -> Array:
        """Return standardised features, float64."""
        return np.clip((features - self.centre) / self.spread, -LIMIT, LIMIT) * self.scale


def standard_of(features: NDArray[np.floating]) -> Standard:
    """Return the standard of these images."""
    widths = np.array([size for size, _ in BLOCKS.values()])
    shares = np.array([weight for _, weight in BLOCKS.values()])
    block = np.repeat(np.arange(len(widths)), widths)
    spread = features.std(axis=0, dtype=np.float64)
    # A feature that hardly varies must not have its rounding errors weighed up.
    typical = np.array([features[:, block == one].std(dtype=np.float64) for one in range(len(widths))])
    return Standard(
        centre=features.mean(axis=0, dtype=np.float64),
        spread=spread + 1e-3 * typical[block],
        scale=np.sqrt(shares / shares.sum() / widths)[block],
    )


@dataclass(frozen=True, kw_only=True)
class Linear:
    """Standardised features -> scores."""

    #: (features, outputs).
    weight: Array
    bias: Array

    def of(self, standardised: Array) -> Array:
        """Return (images, outputs) scores."""
        return standardised @ self.weight + self.bias


def ridge(
    standardised: Array, targets: Array, groups: NDArray[np.int64], strength: float, weights: Array | None = None
) -> Linear:
    """Regress targets on features, both measured from the mean of the image's group; read as in group 0.

    What only tells the groups apart (a source whose label is known beforehand) can thus not be learned.
    """
    features, wanted = standardised.copy(), np.asarray(targets, np.float64).copy()
    for group in np.unique(groups):
        members = groups == group
        features[members] -= features[members].mean(axis=0)
        wanted[members] -= wanted[members].mean(axis=0)
    products = features @ features.T
    trust = np.ones(len(features)) if weights is None else weights
    solved = np.linalg.solve(products + np.diag(strength * np.trace(products) / len(products) / trust), wanted)
    weight = features.T @ solved
    home = groups == 0
    return Linear(weight=weight, bias=targets[home].mean(axis=0) - standardised[home].mean(axis=0) @ weight)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is known of the training images, one row an image."""

    #: 0 or 1: the fourteen findings, then abnormal.
    labels: Array
    #: Logits of the teacher's fourteen probabilities, then what they say of abnormal; nan where there is no teacher.
    teacher: Array
    #: 0: careful source; 1 and 2: the shortcut source, with pneumonia and without a finding.
    groups: NDArray[np.int64]

    @property
    def taught(self) -> Rows:
        """Images that the teacher saw."""
        return np.asarray(np.isfinite(self.teacher[:, 0]))


def company(labels: Array) -> Array:
    """Return how scores of the outputs move together, (outputs, outputs): by the correlation of the labels."""
    findings = len(CODES) - 1
    together = np.eye(len(CODES))
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.nan_to_num(np.corrcoef(labels[:, :findings].T))
    together[:findings, :findings] += COMPANY * (correlation - np.diag(np.diag(correlation)))
    together[findings, : findings - 1] = BURDEN / np.sqrt(findings - 1)
    return together


def fit(standardised: Array, lesson: Lesson, learn: Rows) -> tuple[Linear, Linear]:
    """Fit the reading of the teacher and that of the labels on the images ``learn``."""
    taught = learn & lesson.taught
    opinion = lesson.teacher[taught]
    opinion = (opinion - opinion.mean(axis=0)) / opinion.std(axis=0)
    of_teacher = ridge(standardised[taught], opinion, np.zeros(int(taught.sum()), np.int64), TEACHER_RIDGE)
    groups = lesson.groups[learn]
    trust = np.where(groups == 0, 1.0, SHORTCUT_WEIGHT)
    return of_teacher, ridge(standardised[learn], lesson.labels[learn], groups, LABEL_RIDGE, trust)


def combined(parts: tuple[Linear, Linear], scales: tuple[Array, Array], together: Array) -> Linear:
    """Return both readings, each divided by its scale, and what findings tell of each other, as one."""
    shares = (1.0, LABEL_SHARE)
    weight = sum(share * one.weight / scale for share, one, scale in zip(shares, parts, scales, strict=True))
    bias = sum(share * one.bias / scale for share, one, scale in zip(shares, parts, scales, strict=True))
    return Linear(weight=np.asarray(weight @ together.T), bias=np.asarray(bias @ together.T))
