"""Repeated cross-validation over patients: every score of an image comes from a fit that never saw its patient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.chest.readings import Array, Lesson, Linear, Rows, combined, company, fit

FOLDS, REPEATS = 5, 4


@dataclass(frozen=True, kw_only=True)
class Split:
    """One fold of one repetition."""

    repeat: int
    learn: Rows
    #: Images of the careful source whose patients did not teach.
    asked: Rows


@dataclass(frozen=True, kw_only=True)
class OutOfFold:
    """What the fits of the cross-validation say, and how far their two readings spread."""

    #: (repeats, images, outputs); nan for images of the shortcut source, which never measure.
    scores: Array
    scales: tuple[Array, Array]
    #: The reading of each split, for the maps.
    fits: list[tuple[Split, Linear]]


def splits(lesson: Lesson, patients: NDArray[np.int64], repeats: int = REPEATS) -> Iterator[Split]:
    """Yield every fold of every repetition; folds hold whole patients, and as many normal images each as can be."""
    careful = lesson.groups == 0
    normal = lesson.labels[:, -1] == 0
    for repeat in range(repeats):
        chance = np.random.default_rng(repeat)
        fold = np.full(int(patients.max()) + 1, -1)
        for kind in (careful & normal, careful, ~careful):
            members = chance.permutation(np.unique(patients[kind]))
            members = members[fold[members] < 0]
            fold[members] = (np.arange(len(members)) + chance.integers(FOLDS)) % FOLDS
        for number in range(FOLDS):
            inside = fold[patients] == number
            yield Split(repeat=repeat, learn=~inside, asked=inside & careful)


def out_of_fold(standardised: Array, lesson: Lesson, patients: NDArray[np.int64], repeats: int = REPEATS) -> OutOfFold:
    """Fit on each split and score the patients left out."""
    careful = lesson.groups == 0
    found = []
    parts = np.full((2, repeats, *lesson.labels.shape), np.nan)
    for split in splits(lesson, patients, repeats):
        fitted = fit(standardised, lesson, split.learn)
        found.append((split, fitted))
        for part, one in zip(parts, fitted, strict=True):
            part[split.repeat, split.asked] = one.of(standardised[split.asked])
    teacher, labels = (np.std(part[:, careful], axis=(0, 1)) for part in parts)
    scores = np.full(parts.shape[1:], np.nan)
    fits = []
    for split, fitted in found:
        reading = combined(fitted, (teacher, labels), company(lesson.labels[split.learn & careful]))
        scores[split.repeat, split.asked] = reading.of(standardised[split.asked])
        fits.append((split, reading))
    return OutOfFold(scores=scores, scales=(teacher, labels), fits=fits)
