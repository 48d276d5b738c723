"""A coarse grid over the slide: in each cell with tissue one tile is read at full detail, and stands for the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.pathology.focus import SHARP_SCORE, focus_score
from inference.pathology.slide import Slide
from inference.pathology.tiles import TileClassifier
from inference.pathology.tissue import Tissue
from models.slide_tiles.classes import TILE, UM_PER_PX

#: Cells along the slide's longer edge, at most: 64 × 64 tiles take seconds and show a fold or a smear of half a millimetre.
_CELLS = 64
#: Share of tissue that makes a cell worth a tile.
_LEAST_TISSUE = 0.25


@dataclass(frozen=True, kw_only=True)
class TileGrid:
    """What was seen in the cells that hold tissue."""

    columns: int
    rows: int
    #: Edge of a cell, micrometres.
    cell_um: float
    #: Column and row of each tile.
    cells: tuple[tuple[int, int], ...]
    #: n × edge × edge × 3.
    tiles: NDArray[np.uint8]
    focus: tuple[float, ...]
    #: n × classes.
    probabilities: NDArray[np.float32]

    def as_evidence(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """Return rows of columns, None where no tile was read."""
        probabilities = {label: self._spread(self.probabilities[:, index].tolist()) for index, label in enumerate(labels)}
        return {
            "columns": self.columns,
            "rows": self.rows,
            "cell_um": round(self.cell_um, 2),
            "focus": self._spread(list(self.focus)),
            "focus_sharp_from": SHARP_SCORE,
            "probabilities": probabilities,
        }

    def _spread(self, values: list[float]) -> list[list[float | None]]:
        rows: list[list[float | None]] = [[None] * self.columns for _ in range(self.rows)]
        for (column, row), value in zip(self.cells, values, strict=True):
            rows[row][column] = round(float(value), 3)
        return rows


def look_closely(slide: Slide, tissue: Tissue, classifier: TileClassifier) -> TileGrid:
    """Read one tile in each cell with tissue, score its focus and classify it."""
    width, height = slide.size_um
    tile_um = TILE * UM_PER_PX
    cell_um = max(tile_um, max(width, height) / _CELLS)
    columns, rows = max(1, int(np.ceil(width / cell_um))), max(1, int(np.ceil(height / cell_um)))
    cells, tiles = [], []
    for row in range(rows):
        for column in range(columns):
            middle = _middle_of_tissue(tissue, column, row, cell_um)
            if middle is None:
                continue
            x = min(max(middle[0] - tile_um / 2, 0), max(width - tile_um, 0))
            y = min(max(middle[1] - tile_um / 2, 0), max(height - tile_um, 0))
            cells.append((column, row))
            tiles.append(slide.read(x, y, (TILE, TILE), UM_PER_PX))
    stacked = np.stack(tiles) if tiles else np.zeros((0, TILE, TILE, 3), dtype=np.uint8)
    return TileGrid(
        columns=columns,
        rows=rows,
        cell_um=cell_um,
        cells=tuple(cells),
        tiles=stacked,
        focus=tuple(focus_score(tile) for tile in stacked),
        probabilities=classifier.probabilities(stacked),
    )


def _middle_of_tissue(tissue: Tissue, column: int, row: int, cell_um: float) -> tuple[float, float] | None:
    left, right = (int(edge * cell_um / tissue.um_per_px) for edge in (column, column + 1))
    top, bottom = (int(edge * cell_um / tissue.um_per_px) for edge in (row, row + 1))
    cell = tissue.mask[top:bottom, left:right]
    if cell.size == 0 or cell.mean() < _LEAST_TISSUE:
        return None
    ys, xs = np.nonzero(cell)
    return (left + float(xs.mean()) + 0.5) * tissue.um_per_px, (top + float(ys.mean()) + 0.5) * tissue.um_per_px
