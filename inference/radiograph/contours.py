"""From probabilities to the outlines that a page draws: one closed polygon for each structure, in pixels of the stored image."""

from __future__ import annotations

from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from models.chest.preprocessing import Placement
from models.heart_lung.measure import inside_of, to_image
from models.heart_lung.preprocessing import STRUCTURES

#: A point is left out where the outline moves by less than this, in pixels of the network's output.
TOLERANCE = 0.25

#: The library has no types.
_MEASURE: Any = measure

Polygon = list[list[int]]


def polygons_of(probabilities: NDArray[np.float32], placement: Placement) -> dict[str, Polygon]:
    """Return ``[[x, y], ...]`` of ``left_lung``, ``right_lung`` and ``heart``; the first point is not repeated at the end.

    The outline passes where the (3, rows, columns) probability is one half; of several pieces the largest is told.
    A structure that was not found is left out.
    """
    left, top, width, height = inside_of(placement)
    window = probabilities[:, top : top + height, left : left + width]
    found: dict[str, Polygon] = {}
    for name, channel in zip(STRUCTURES, window, strict=True):
        # A border of zeros closes what reaches the edge of the image.
        closed = _MEASURE.find_contours(np.pad(channel, 1), 0.5)
        if not closed:
            continue
        outline = _simpler(max(closed, key=_area).tolist())[:-1]
        # Contours run through the centres of places, edges lie half a place further; the border moved them by one.
        points = (to_image((column - 0.5 + left, row - 0.5 + top), placement) for row, column in outline)
        found[name] = [
            [min(max(round(x), 0), placement.source_width), min(max(round(y), 0), placement.source_height)] for x, y in points
        ]
    return found


def _simpler(points: list[list[float]]) -> list[list[float]]:
    """Return a line with fewer points: as long as all that are left out lie within the tolerance of the chord, it goes on.

    The library's own (Douglas and Peucker) takes ten times as long, for every image that is read.
    """
    kept, start = [points[0]], 0
    for end in range(2, len(points)):
        if any(_distance(point, points[start], points[end]) > TOLERANCE for point in points[start + 1 : end]):
            start = end - 1
            kept.append(points[start])
    return [*kept, points[-1]]


def _distance(point: list[float], first: list[float], last: list[float]) -> float:
    """Return how far a point lies from the line through two others, or from both where they are one."""
    (row, column), (row0, column0), (row1, column1) = point, first, last
    length = hypot(row1 - row0, column1 - column0)
    if not length:
        return hypot(row - row0, column - column0)
    return abs((row1 - row0) * (column - column0) - (column1 - column0) * (row - row0)) / length


def _area(contour: NDArray[np.float64]) -> float:
    """Return twice the area that a closed line encloses (the shoelace formula)."""
    rows, columns = contour[:, 0], contour[:, 1]
    return abs(float(np.dot(rows[:-1], columns[1:]) - np.dot(rows[1:], columns[:-1])))
