"""From a finding's coarse activation map to a box in the stored image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, zoom

from models.chest.preprocessing import SIDE, Placement

#: The map is refined by this before its peak is outlined.
REFINEMENT = 4

#: The box holds what reaches this share of the way from the map's lowest value to its peak.
SHARE_OF_PEAK = 0.6


def peak_box(grid: NDArray[np.float32], placement: Placement) -> tuple[float, float, float, float]:
    """Return x, y, width, height in stored pixels of the region around the map's peak."""
    fine = zoom(grid, REFINEMENT, order=1, grid_mode=True, mode="nearest")
    lowest, highest = float(fine.min()), float(fine.max())
    regions, _ = label(fine >= lowest + SHARE_OF_PEAK * (highest - lowest))
    rows, columns = np.nonzero(regions == regions[np.unravel_index(int(fine.argmax()), fine.shape)])
    step = SIDE / fine.shape[0]
    top, left = float(rows.min()) * step, float(columns.min()) * step
    height, width = (float(rows.max()) + 1) * step - top, (float(columns.max()) + 1) * step - left
    return placement.to_source((left, top, width, height))


def relative(grid: NDArray[np.float32]) -> list[list[float]]:
    """Return the map from 0 (its lowest value) to 1 (its peak), for drawing."""
    spread = float(grid.max() - grid.min())
    scaled = (grid - grid.min()) / spread if spread else np.zeros_like(grid)
    return [[round(float(value), 2) for value in row] for row in scaled]


def covered(placement: Placement) -> tuple[float, float, float, float]:
    """Return x, y, width, height in stored pixels of the square that the map covers; it may reach beyond the image."""
    across, down = placement.source_width / placement.width, placement.source_height / placement.height
    return -placement.left * across, -placement.top * down, SIDE * across, SIDE * down
