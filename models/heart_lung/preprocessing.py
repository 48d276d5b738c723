"""What the heart and lung network sees: the chest network's path from grey values to a square, at a larger size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.chest.preprocessing import HIGH_PERCENTILE, LOW_PERCENTILE, Placement, prepare

#: Side of the square that the network sees, and of the probabilities that it returns.
SIDE, OUT_SIDE = 256, 128

#: Channels of the probabilities. Left and right are the patient's: the left lung lies at the image's right.
STRUCTURES = ("left_lung", "right_lung", "heart")

DESCRIPTION = (
    f"displayed grey values (bone bright), resampled (triangle filter) to {SIDE} px on the long side, "
    f"percentiles {LOW_PERCENTILE:g} to {HIGH_PERCENTILE:g} stretched to 0..1, centred on a black {SIDE} px square; "
    "local contrast is equalised inside the network; the image and its mirror image are averaged"
)


def prepared(grey: NDArray[np.generic]) -> tuple[NDArray[np.float32], Placement]:
    """Return the (256, 256) input, 0 to 1, and where the image lies in it.

    Raises
    ------
    BlankImage
        If the image has one grey value only.
    """
    return prepare(grey, SIDE)
