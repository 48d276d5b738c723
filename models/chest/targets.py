"""What each training image teaches: noisy labels, and the scores of a teacher where there are any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.chest.data import ChestCase
from models.chest.findings import CODES, FINDINGS
from models.chest.readings import Array, Lesson

_PNEUMONIA = CODES.index("chest_pneumonia")


def lesson_of(cases: Sequence[ChestCase]) -> Lesson:
    """Return what these images teach.

    In the shortcut source an image with pneumonia can be told from one without a finding by how it was made: they are groups of
    their own, and only differences within a group are learned. What the teacher says of abnormal is the mean of its findings.
    """
    labels = np.array([case.labels for case in cases], np.float64)
    groups = np.array([0 if not case.shortcut else 1 if case.labels[_PNEUMONIA] else 2 for case in cases], np.int64)
    teacher = np.full((len(cases), len(CODES)), np.nan)
    taught = [index for index, case in enumerate(cases) if case.teacher is not None]
    logits = _logit(np.array([cases[index].teacher for index in taught], np.float64).reshape(-1, len(FINDINGS)))
    teacher[taught, :-1] = logits
    teacher[taught, -1] = ((logits - logits.mean(axis=0)) / logits.std(axis=0)).mean(axis=1)
    return Lesson(labels=labels, teacher=teacher, groups=groups)


def patients_of(cases: Sequence[ChestCase]) -> NDArray[np.int64]:
    """Return a number for each patient."""
    return np.asarray(np.unique([case.patient for case in cases], return_inverse=True)[1], np.int64)


def _logit(probability: Array) -> Array:
    inside = np.clip(probability, 1e-5, 1 - 1e-5)
    return np.asarray(np.log(inside / (1 - inside)))
