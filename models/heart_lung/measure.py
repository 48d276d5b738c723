"""One image from grey values to a trusted ratio or the reason why there is none: the path that evaluation and serving share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.chest.preprocessing import Placement
from models.heart_lung.outlines import NotOutlined, Outlines, mirrored, outlines_of
from models.heart_lung.preprocessing import OUT_SIDE, SIDE, prepared
from models.heart_lung.trust import distrust

#: (N, 1, 256, 256) in 0..1 -> probabilities (N, 3, 128, 128).
Network = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was outlined on one image."""

    placement: Placement
    probabilities: NDArray[np.float32]
    #: None where a structure was not found.
    outlines: Outlines | None
    #: Why the outlines are not to be trusted: ``not_outlined``, ``cut_off``, ``implausible``, ``unsure``; None if they are.
    doubt: str | None

    @property
    def trusted(self) -> Outlines | None:
        """Return the outlines if they may be measured."""
        return None if self.doubt else self.outlines


def measure(grey: NDArray[np.generic], network: Network) -> Measured:
    """Outline heart and lungs on an image and on its mirror image, and measure the mean of both.

    Raises
    ------
    BlankImage
        If the image has one grey value only.
    """
    square, placement = prepared(grey)
    both = network(np.ascontiguousarray(np.stack([square, square[:, ::-1]])[:, None]))
    image, mirror = both[0], mirrored(both[1])
    inside = inside_of(placement)
    mean = np.asarray((image + mirror) / 2, np.float32)
    outlines: Outlines | None = None
    doubt: str | None
    try:
        outlines = outlines_of(mean, inside)
        doubt = distrust(outlines, outlines_of(image, inside).ratio, outlines_of(mirror, inside).ratio)
    except NotOutlined:
        doubt = "not_outlined"
    return Measured(placement=placement, probabilities=mean, outlines=outlines, doubt=doubt)


def inside_of(placement: Placement) -> tuple[int, int, int, int]:
    """Return left, top, width, height of the image in the network's output."""
    step = SIDE // OUT_SIDE
    left, top = placement.left // step, placement.top // step
    right = -(-(placement.left + placement.width) // step)
    bottom = -(-(placement.top + placement.height) // step)
    return left, top, right - left, bottom - top


def to_image(point: tuple[float, float], placement: Placement) -> tuple[float, float]:
    """Return x, y in pixels of the stored image (0 at its left and top edge) of a place in the network's output."""
    step = SIDE / OUT_SIDE
    x = (point[0] * step - placement.left) * placement.source_width / placement.width
    y = (point[1] * step - placement.top) * placement.source_height / placement.height
    return x, y
