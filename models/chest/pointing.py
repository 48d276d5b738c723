"""Whether a finding's map points to the disease: is its peak in the box that a radiologist drew?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.chest.findings import CODES
from models.chest.preprocessing import SIDE

#: Cells of the maps over the whole square, to a side.
ACTIVATION_CELLS = 24

#: A finding's box is shown only where its peak hits so many times as often as chance, and so many boxes say so.
HITS_OVER_CHANCE, FEWEST_BOXES = 2.0, 10


@dataclass(frozen=True, kw_only=True)
class Peak:
    """One box and the map of its finding."""

    code: str
    hit: bool
    #: Share of the image that the box covers: what a peak at random would hit.
    area: float


def peak_in(grid: NDArray[np.floating], box: tuple[float, float, float, float], inside: tuple[int, int, int, int]) -> bool:
    """Return whether the map's highest cell has its centre in the box.

    Parameters
    ----------
    grid
        The map over the whole square.
    box
        x, y, width, height as shares of the image.
    inside
        left, top, width, height of the image in the square, in pixels.
    """
    row, column = np.unravel_index(int(grid.argmax()), grid.shape)
    cell = SIDE / grid.shape[0]
    x = ((float(column) + 0.5) * cell - inside[0]) / inside[2]
    y = ((float(row) + 0.5) * cell - inside[1]) / inside[3]
    return box[0] <= x < box[0] + box[2] and box[1] <= y < box[1] + box[3]


def peaks_of(
    boxes: Iterable[tuple[str, float, float, float, float]], maps: NDArray[np.floating], inside: tuple[int, int, int, int]
) -> Iterator[Peak]:
    """Yield each box of an image with what its finding's map says; ``maps`` are in the order of the network's outputs."""
    for code, x, y, width, height in boxes:
        grid = maps[CODES.index(code)]
        yield Peak(code=code, hit=peak_in(grid, (x, y, width, height), inside), area=width * height)


def pointing(peaks: Sequence[Peak]) -> dict[str, Any]:
    """Return hits against chance, together and for each finding, and the findings whose maps point."""
    findings = {code: _figures([peak for peak in peaks if peak.code == code]) for code in sorted({peak.code for peak in peaks})}
    return {**_figures(peaks), "findings": findings, "localised": [code for code, one in findings.items() if one["localises"]]}


def _figures(peaks: Sequence[Peak]) -> dict[str, Any]:
    hit, area = (float(np.mean(values)) for values in ([peak.hit for peak in peaks], [peak.area for peak in peaks]))
    points = len(peaks) >= FEWEST_BOXES and hit > HITS_OVER_CHANCE * area
    return {"boxes": len(peaks), "hit": round(hit, 3), "mean_box_area": round(area, 3), "localises": points}
