"""From displayed grey values to the network's input: the one path that training and serving share.

Only numpy and scipy, so that the serving install needs nothing more and both sides compute the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

#: Side of the square that the network sees.
SIDE = 384

#: Grey values below and above these percentiles are clipped: a lead marker or a collimator edge must not set the contrast.
LOW_PERCENTILE, HIGH_PERCENTILE = 1.0, 99.0

DESCRIPTION = (
    f"displayed grey values (bone bright), resampled (triangle filter) to {SIDE} px on the long side, "
    f"percentiles {LOW_PERCENTILE:g} to {HIGH_PERCENTILE:g} stretched to 0..1, centred on a black {SIDE} px square"
)


class BlankImage(ValueError):
    """All grey values are the same: there is nothing to read."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where the image lies inside the square, in pixels of the square, and how much it shrank."""

    left: int
    top: int
    width: int
    height: int
    source_width: int
    source_height: int

    def to_source(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """Return x, y, width, height in source pixels of a box in pixels of the square, clipped to the image."""
        across, down = self.source_width / self.width, self.source_height / self.height
        x0 = min(max((box[0] - self.left) * across, 0.0), float(self.source_width))
        y0 = min(max((box[1] - self.top) * down, 0.0), float(self.source_height))
        x1 = min(max((box[0] + box[2] - self.left) * across, 0.0), float(self.source_width))
        y1 = min(max((box[1] + box[3] - self.top) * down, 0.0), float(self.source_height))
        return x0, y0, x1 - x0, y1 - y0


def prepare(grey: NDArray[np.generic], side: int = SIDE) -> tuple[NDArray[np.float32], Placement]:
    """Return the (side, side) input of the network, 0 to 1, and where the image lies in it.

    Parameters
    ----------
    grey
        Rows by columns, any numeric type, as displayed: air black, bone bright.

    Raises
    ------
    BlankImage
        If the image has one grey value only.
    """
    rows, columns = grey.shape
    scale = side / max(rows, columns)
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    lines = _weights(rows, height) @ grey.astype(np.float32, copy=False)
    small = np.ascontiguousarray((_weights(columns, width) @ np.ascontiguousarray(lines.T)).T)
    low, high = np.percentile(small, (LOW_PERCENTILE, HIGH_PERCENTILE))
    # Resampling leaves rounding noise in an even image: that is no contrast.
    if not high - low > 1e-5 * max(abs(float(high)), abs(float(low))):
        raise BlankImage("All grey values are the same.")
    square = np.zeros((side, side), np.float32)
    left, top = (side - width) // 2, (side - height) // 2
    square[top : top + height, left : left + width] = np.clip((small - low) / (high - low), 0, 1)
    return square, Placement(left=left, top=top, width=width, height=height, source_width=columns, source_height=rows)


def resampling(source: int, target: int) -> NDArray[np.float32]:
    """Return the (target, source) matrix with which ``prepare`` resamples lines."""
    return np.asarray(_weights(source, target).toarray(), np.float32)


@lru_cache(maxsize=16)
def _weights(source: int, target: int) -> csr_array:
    """Return the (target, source) matrix that resamples a line with a triangle filter as wide as the step (no aliasing).

    All but a step's width of each row is zero: as a sparse matrix it costs a sixteenth of the full product.
    """
    step = source / target
    reach = max(step, 1.0)
    centres = (np.arange(target) + 0.5) * step - 0.5
    distance = np.abs(np.arange(source)[None, :] - centres[:, None]) / reach
    weights = np.maximum(1.0 - distance, 0.0)
    return csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
