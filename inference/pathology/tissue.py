"""Finds tissue on glass at low magnification: coloured where light was absorbed by stain, colourless where it was not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.filters import threshold_otsu
from skimage.measure import approximate_polygon, find_contours
from skimage.morphology import closing, disk

#: Scale at which tissue is looked for: a field of 2× shows every fragment of a biopsy.
OVERVIEW_UM_PER_PX = 8.0
#: Otsu's threshold (1979) parts even an empty slide in two; saturation of glass and of pale tissue bound it.
_LEAST, _MOST = 0.06, 0.15
#: Fragments and holes smaller than this are dust and vessels.
_SMALLEST_MM2 = 0.003
_POLYGONS_AT_MOST = 200


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """Where tissue lies on the overview."""

    mask: NDArray[np.bool_]
    um_per_px: float

    @property
    def area_mm2(self) -> float:
        """Area of all tissue."""
        return float(self.mask.sum()) * (self.um_per_px / 1000) ** 2

    @property
    def fraction(self) -> float:
        """Share of the scanned area, 0 to 1."""
        return float(self.mask.mean())


def find_tissue(overview: NDArray[np.uint8], um_per_px: float = OVERVIEW_UM_PER_PX) -> Tissue:
    """Return the tissue of an RGB overview."""
    smooth = ndimage.gaussian_filter(overview.astype(np.float64) / 255, (1, 1, 0))
    saturation = rgb2hsv(smooth)[..., 1]
    # Black is saturated by rounding alone: the edge of the glass and ink are no tissue.
    lit = smooth.max(axis=-1) > 0.15
    threshold = float(np.clip(threshold_otsu(saturation), _LEAST, _MOST)) if np.ptp(saturation) > 0 else _MOST  # type: ignore[no-untyped-call]
    smallest = max(1, round(_SMALLEST_MM2 / (um_per_px / 1000) ** 2))
    mask = closing((saturation > threshold) & lit, disk(1))  # type: ignore[no-untyped-call]
    mask = _without_small(mask, smallest)
    return Tissue(mask=~_without_small(~mask, smallest), um_per_px=um_per_px)


def outlines(tissue: Tissue) -> list[list[tuple[float, float]]]:
    """Return the outlines of tissue, the largest first, as x and y from 0 to 1 of the image's width and height."""
    height, width = tissue.mask.shape
    contours = find_contours(np.pad(tissue.mask, 1).astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    polygons = []
    for contour in sorted(contours, key=len, reverse=True)[:_POLYGONS_AT_MOST]:
        # Half a pixel of the overview is no one's idea of a border; it halves the points.
        points = approximate_polygon(contour - 0.5, tolerance=0.7)  # type: ignore[no-untyped-call]
        polygons.append([(_share(x, width), _share(y, height)) for y, x in points])
    return polygons


def _share(position: float, edge: int) -> float:
    return round(min(max(float(position) / edge, 0.0), 1.0), 4)


def _without_small(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    numbered, count = ndimage.label(mask)
    if count == 0:
        return mask
    large = np.bincount(numbered.ravel()) >= smallest
    large[0] = False
    return np.asarray(large[numbered])
