"""A shrunk linear discriminant for each statement (Fisher 1936), in closed form; no torch here."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

#: Added to the diagonal of the correlations: each feature counts as if half of its variance were noise.
SHRINKAGE = 1.0
#: Added to the spread of each feature: one that hardly varies, a dead channel, must not have rounding errors weighed up.
FAINTEST = 0.01

Array = npt.NDArray[np.floating]


def discriminant(seen: Array, labels: Array, logits: Array, shrinkage: float = SHRINKAGE) -> tuple[Array, Array]:
    """Return weight (labels, features) and bias of the discriminant, on the scale of the logits.

    ``seen`` (records, features) and ``logits`` (records, labels) are the panel's on the records that teach; ``labels`` is 0 or 1.
    """
    centre, spread = seen.mean(axis=0), seen.std(axis=0) + FAINTEST
    standard = (seen - centre) / spread
    correlations = standard.T @ standard / len(standard)
    correlations[np.diag_indices_from(correlations)] += shrinkage
    means = standard.T @ labels / np.maximum(labels.sum(axis=0), 1)
    directions = cho_solve(cho_factor(correlations), means)
    directions *= logits.std(axis=0) / np.maximum((standard @ directions).std(axis=0), 1e-6)
    weight = directions / spread[:, None]
    return weight.T, logits.mean(axis=0) - centre @ weight
