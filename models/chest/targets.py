"""What the network is asked to say of each training image: noisy labels, softened by a teacher where there is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models.chest.data import ChestCase
from models.chest.findings import CODES, FINDINGS

#: Share of the teacher in a target.
TEACHER_SHARE = 0.6

#: Weight of labels from the source whose label is given away by source and view.
SHORTCUT_WEIGHT = 0.7

#: In the shortcut source these outputs follow the source itself, so they are not learned from it.
SHORTCUT_BLIND = ("chest_pneumonia", "chest_abnormal")


def soft_targets(cases: Sequence[ChestCase]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return targets and weights, (cases, outputs) each.

    The teacher's scale is not ours: each of its outputs is first fitted to the labels by a logistic curve, on ``cases`` alone.
    """
    targets = np.array([case.labels for case in cases], np.float32)
    weights = np.ones_like(targets)
    shortcut = np.array([case.shortcut for case in cases])
    taught = np.array([case.teacher is not None for case in cases])
    fitting = taught & ~shortcut
    teacher = _logit(np.array([case.teacher or (0.5,) * len(FINDINGS) for case in cases]))
    for index in range(len(FINDINGS)):
        curve = LogisticRegression(C=1.0).fit(teacher[fitting, index : index + 1], targets[fitting, index])
        opinion = curve.predict_proba(teacher[:, index : index + 1])[:, 1]
        targets[taught, index] = TEACHER_SHARE * opinion[taught] + (1 - TEACHER_SHARE) * targets[taught, index]
    curve = LogisticRegression(C=0.1).fit(teacher[fitting], targets[fitting, -1])
    opinion = curve.predict_proba(teacher)[:, 1]
    targets[taught, -1] = TEACHER_SHARE * opinion[taught] + (1 - TEACHER_SHARE) * targets[taught, -1]
    weights[shortcut] = SHORTCUT_WEIGHT
    blind = [CODES.index(code) for code in SHORTCUT_BLIND]
    weights[np.ix_(shortcut & ~taught, blind)] = 0
    return targets, weights


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(probability, 1e-5, 1 - 1e-5)
    return np.asarray(np.log(inside / (1 - inside)))
