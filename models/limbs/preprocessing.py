"""From displayed grey values to the network's input: the one path that training and serving share.

Limbs are long: the canvas is upright, and an image that is wider than high is turned a quarter onto it, so that few pixels
are spent on black borders. Only numpy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.chest.preprocessing import HIGH_PERCENTILE, LOW_PERCENTILE, Placement, prepare

#: Rows and columns that the network sees, and pixels a cell of its maps.
ROWS, COLUMNS, CELL = 384, 320, 8

DESCRIPTION = (
    "displayed grey values (bone bright), turned a quarter anticlockwise where wider than high, resampled (triangle filter) "
    f"to fit {COLUMNS} x {ROWS} px, percentiles {LOW_PERCENTILE:g} to {HIGH_PERCENTILE:g} stretched to 0..1, centred on black; "
    "the image and its mirror image are averaged inside the network"
)

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Where an image lies on the network's canvas."""

    #: Whether the image was turned a quarter anticlockwise.
    turned: bool
    #: Where the turned image lies in a square whose upper left corner is ``left`` and ``top`` of the canvas.
    placement: Placement
    left: float
    top: float

    def to_source(self, box: Box) -> Box:
        """Return x, y, width, height in source pixels of a box in pixels of the canvas, clipped to the image."""
        x, y, width, height = self.placement.to_source((box[0] - self.left, box[1] - self.top, box[2], box[3]))
        if not self.turned:
            return x, y, width, height
        return self.placement.source_height - y - height, x, height, width

    def to_canvas(self, box: Box) -> Box:
        """Return x, y, width, height on the canvas of a box in shares of the source image."""
        x, y, width, height = box
        if self.turned:
            x, y, width, height = y, 1 - x - width, height, width
        place = self.placement
        return (
            self.left + place.left + x * place.width,
            self.top + place.top + y * place.height,
            width * place.width,
            height * place.height,
        )


def prepared(grey: NDArray[np.generic]) -> tuple[NDArray[np.float32], Canvas]:
    """Return the (384, 320) input, 0 to 1, and where the image lies in it.

    Parameters
    ----------
    grey
        Rows by columns, any numeric type, as displayed: air black, bone bright.

    Raises
    ------
    BlankImage
        If the image has one grey value only.
    """
    turned = grey.shape[1] > grey.shape[0]
    upright = np.rot90(grey) if turned else grey
    rows, columns = upright.shape
    side = ROWS if columns * ROWS <= rows * COLUMNS else max(1, int(COLUMNS * rows / columns))
    square, placement = prepare(upright, side)
    # The square is centred on the canvas; where it is wider than the canvas, only black is cut off.
    top, left = (ROWS - side) // 2, (COLUMNS - side) // 2
    canvas = np.zeros((ROWS, COLUMNS), np.float32)
    cut = max(0, -left)
    width = min(side, COLUMNS)
    canvas[top : top + side, max(0, left) : max(0, left) + width] = square[:, cut : cut + width]
    return canvas, Canvas(turned=turned, placement=placement, left=left, top=top)
