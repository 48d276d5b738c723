"""Where a radiologist would draw a box: a linear reading of each place of the finest map and of its mirror place.

Only one finding has boxes enough to learn from and to be measured by; its map is this reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from models.chest.bank import Seen
from models.chest.blocks import MAP_CELLS
from models.chest.data import ChestCase, grey_of
from models.chest.preprocessing import SIDE, prepare
from models.chest.readings import Array, Rows

#: The finding whose boxes teach.
BOXED = "chest_pneumonia"
#: Ridge, by the mean variance of a feature, and the number of images without the finding that teach with those that have it.
RIDGE, WITHOUT = 1.0, 30


@dataclass(frozen=True, kw_only=True)
class Local:
    """Channels of the finest map -> evidence at each place."""

    centre: Array
    spread: Array
    #: What a place itself says, and what its difference from the mirror place says.
    weight: Array
    against_mirror: Array


def fit_local(seen: Seen, cases: Sequence[ChestCase], learn: Rows) -> Local:
    """Fit a discriminant of the places inside and outside the boxes on the images ``learn``."""
    boxed = [row for row in np.flatnonzero(learn).tolist() if any(code == BOXED for code, *_ in cases[row].boxes)]
    without = [row for row in np.flatnonzero(learn).tolist() if not cases[row].shortcut and not cases[row].boxes]
    chosen = without[:: max(1, len(without) // WITHOUT)]
    cells = seen.finest[boxed + chosen].astype(np.float64)
    centre, spread = cells.mean(axis=(0, 2, 3)), cells.std(axis=(0, 2, 3)) + 1e-6
    places = _described(cells, centre, spread)
    found = [_inside(cases[row], seen.box[row]).ravel() for row in boxed]
    inside = np.concatenate([*found, np.zeros(MAP_CELLS**2 * len(chosen), bool)])
    middle = places.mean(axis=0)
    spreads = (places - middle).T @ (places - middle) / len(places)
    spreads[np.diag_indices_from(spreads)] += RIDGE * np.trace(spreads) / len(spreads)
    direction = np.linalg.solve(spreads, places[inside].mean(axis=0) - places[~inside].mean(axis=0))
    weight, against_mirror = np.split(direction, 2)
    return Local(centre=centre, spread=spread, weight=weight, against_mirror=against_mirror)


def _described(cells: NDArray[np.float64], centre: Array, spread: Array) -> Array:
    """Return (places, 2 channels): each place, averaged with its neighbours, and its difference from the mirror place."""
    standard = (cells - centre[:, None, None]) / spread[:, None, None]
    smooth = uniform_filter(standard, (0, 0, 3, 3), mode="nearest")
    both = np.concatenate([smooth, smooth - smooth[..., ::-1]], axis=1)
    return np.asarray(both.transpose(0, 2, 3, 1).reshape(-1, both.shape[1]))


def _inside(case: ChestCase, chest: NDArray[np.floating]) -> Rows:
    """Return which places of the finest map lie in a box of the finding; ``chest`` is where the map lies in the square."""
    place = prepare(grey_of(case.file))[1]
    steps = (np.arange(MAP_CELLS) + 0.5) / MAP_CELLS
    across = (((chest[0] + (chest[2] - chest[0]) * steps) + 1) * SIDE / 2 - place.left) / place.width
    down = (((chest[1] + (chest[3] - chest[1]) * steps) + 1) * SIDE / 2 - place.top) / place.height
    found = np.zeros((MAP_CELLS, MAP_CELLS), bool)
    for code, x, y, width, height in case.boxes:
        if code == BOXED:
            found |= ((x <= across) & (across < x + width))[None, :] & ((y <= down) & (down < y + height))[:, None]
    return found
