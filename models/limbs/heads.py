"""Fits anew what says what an image is: a logistic curve for each answer on what the trained network sees of the whole image.

Chests, metal and shoulders are too few in a batch for the network's own training to get these answers right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from models.limbs.bank import Bank
from models.limbs.data import LimbCase
from models.limbs.network import Late, overall
from models.limbs.reading import KINDS
from models.limbs.strangers import StrangerBank
from models.limbs.targets import what_targets

#: Inverse strength of the prior that holds the weights near zero.
FREEDOM = 0.02


def refit(
    late: Late, bank: Bank, strangers: StrangerBank, cases: Sequence[LimbCase], chosen: NDArray[np.int64], fold: int
) -> None:
    """Fit the answers of ``late`` in place, on the chosen cases, plain and varied once, and on the strangers of other folds."""
    first = bank.first[torch.from_numpy(chosen)]
    learned = torch.from_numpy(strangers.learned_with(fold))
    views = [bank.features[first], bank.features[first + 2], strangers.plain[learned], strangers.features[learned]]
    seen = np.concatenate([_seen(late, view) for view in views])
    limbs = what_targets([cases[index] for index in chosen]).numpy()
    others = strangers.kinds[learned].numpy()
    kinds = np.concatenate([limbs[:, : len(KINDS)], limbs[:, : len(KINDS)], others, others])
    rest = np.concatenate([limbs[:, len(KINDS) :]] * 2)
    mean, spread = seen.mean(0), seen.std(0) + 1e-3
    even = (seen - mean) / spread
    answers = [kinds[:, index] for index in range(kinds.shape[1])] + [rest[:, index] for index in range(rest.shape[1])]
    for index, truth in enumerate(answers):
        curve = LogisticRegression(C=FREEDOM, max_iter=300).fit(even[: len(truth)], truth)
        weight = curve.coef_[0] / spread
        with torch.no_grad():
            late.what.weight[index] = torch.from_numpy(weight).float()
            late.what.bias[index] = float(curve.intercept_[0] - weight @ mean)


def _seen(late: Late, features: Tensor) -> NDArray[np.float64]:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        parts = [overall(late.deepest(part.contiguous(memory_format=torch.channels_last))) for part in features.split(16)]
    return torch.cat(parts).double().numpy()
