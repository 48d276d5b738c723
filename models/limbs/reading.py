"""From the network's outputs to what is said of one image: probability, most suspicious places with boxes, and what it is.

Only numpy; ``sumu evaluate fracture``, the model's own measurement and the engine read outputs here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.limbs.preprocessing import CELL, Box, Canvas, prepared

Array = NDArray[np.float32]
#: The network: (N, 1, 384, 320) in, arrays by the names of its outputs out.
Network = Callable[[Array], Mapping[str, Array]]

#: Codes of the outputs ``kind`` and ``projection``; an image may be of several.
PARTS = ("hand", "leg", "hip", "shoulder")
KINDS = (*PARTS, "chest", "limb")
PROJECTIONS = ("frontal", "lateral", "oblique")

#: Further places are told where they are at least half as probable as the first, and so far from it in cells.
SHARE_OF_FIRST, APART, MOST = 0.5, 4, 3


@dataclass(frozen=True, kw_only=True)
class Place:
    """A suspicious place."""

    #: 0 to 1; not calibrated, it compares places.
    score: float
    #: Middle of the box before it is clipped to the image: x, y in pixels of the source image.
    centre: tuple[float, float]
    #: x, y, width, height in pixels of the source image.
    box: Box


@dataclass(frozen=True, kw_only=True)
class LimbOutput:
    """What the network says of one image."""

    #: Calibrated probability of a fracture.
    fracture: float
    #: Most suspicious first; never empty.
    places: tuple[Place, ...]
    #: Probability by name of ``KINDS``, and of ``PROJECTIONS``.
    kinds: Mapping[str, float]
    projections: Mapping[str, float]
    hardware: float
    #: (48, 40), 0 to 1, on the canvas; and where the image lies there.
    grid: Array
    canvas: Canvas

    @property
    def part(self) -> str:
        """The most probable part."""
        return max(PARTS, key=lambda name: self.kinds[name])


def look(grey: NDArray[np.generic], network: Network) -> LimbOutput:
    """Return what the network says of an image as displayed.

    Raises
    ------
    BlankImage
        If the image has one grey value only.
    """
    square, canvas = prepared(grey)
    return output_of({name: value[0] for name, value in network(square[None, None]).items()}, canvas)


def output_of(said: Mapping[str, Array], canvas: Canvas) -> LimbOutput:
    """Return the outputs of one image (without the batch) in words and source pixels."""
    return LimbOutput(
        fracture=float(said["probability"][0]),
        places=tuple(
            Place(
                score=float(said["places"][row, column]),
                centre=centre_of(canvas.to_source((*centre_of(box), 0, 0))),
                box=canvas.to_source(box),
            )
            for row, column in peaks(said["places"])
            for box in [box_at(said["sides"], row, column)]
        ),
        kinds={name: float(value) for name, value in zip(KINDS, said["kind"], strict=True)},
        projections={name: float(value) for name, value in zip(PROJECTIONS, said["projection"], strict=True)},
        hardware=float(said["hardware"][0]),
        grid=said["places"],
        canvas=canvas,
    )


def peaks(grid: Array) -> list[tuple[int, int]]:
    """Return row and column of the most suspicious place, and of others nearly as suspicious that stand apart."""
    left = grid.copy()
    first = float(left.max())
    found: list[tuple[int, int]] = []
    while len(found) < MOST:
        row, column = (int(at) for at in np.unravel_index(int(left.argmax()), left.shape))
        if found and left[row, column] < SHARE_OF_FIRST * first:
            break
        found.append((row, column))
        left[max(0, row - APART) : row + APART + 1, max(0, column - APART) : column + APART + 1] = -1
    return found


def box_at(sides: Array, row: int, column: int) -> Box:
    """Return x, y, width, height on the canvas of the box that a place (of ``sides``, (4, rows, columns)) asks for."""
    x, y = (column + 0.5) * CELL, (row + 0.5) * CELL
    left, top, right, bottom = (float(value) for value in sides[:, row, column])
    return x - left, y - top, left + right, top + bottom


def centre_of(box: Box) -> tuple[float, float]:
    """Return the middle of a box."""
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def holds(box: Box, place: tuple[float, float]) -> bool:
    """Return whether a box holds a place."""
    return box[0] <= place[0] <= box[0] + box[2] and box[1] <= place[1] <= box[1] + box[3]


def overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share by the area that they cover together."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0.0, across) * max(0.0, down)
    together = one[2] * one[3] + other[2] * other[3] - shared
    return shared / together if together > 0 else 0.0
