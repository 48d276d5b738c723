"""How sharp a tile is, by a rule: the energy of its Laplacian against the contrast of the tissue in it.

The variance of the Laplacian alone (Pech-Pacheco et al. 2000) calls pale tissue blurred; divided by the variance of the
tile it compares detail with structure, whatever the stain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: log10 of the ratio that scores 0 and 1: all but a few blurred and sharp tiles of the training band lie between.
_BLURRED, _SHARP = -2.6, -0.6
#: A score at or above this is sharp; set on the training band of the slide, see models/bundles/slide_tiles/docs.
SHARP_SCORE = 0.506
#: Variance of a tile that shows nothing but the sensor's noise.
_NOISE = 4.0


def focus_score(tile: NDArray[np.uint8]) -> float:
    """Return 0 (blurred) to 1 (sharp) for an RGB tile at 0.5 µm/px; 0 for a tile without any structure."""
    grey = tile.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    contrast = float(grey.var())
    if contrast < _NOISE:
        return 0.0
    # The small Gaussian keeps the sensor's noise and JPEG's blocks out of the Laplacian.
    detail = float(ndimage.laplace(ndimage.gaussian_filter(grey, 0.8)).var())
    ratio = np.log10(max(detail / contrast, 1e-9))
    return float(np.clip((ratio - _BLURRED) / (_SHARP - _BLURRED), 0.0, 1.0))
