"""The features of a chest by name: how many there are of each kind, and how much each kind weighs in a reading."""

from __future__ import annotations

#: Side of the cut-out chest that the trunk sees, and of the grids on which its maps are averaged.
CHEST_SIDE, GRID = 320, 5
#: Cells of the finest map, to a side: it shows where the evidence lies.
MAP_CELLS = CHEST_SIDE // 16
#: Zones of a lung: from apex to base, each with a medial and a lateral half.
ROWS = 4
#: Bands of detail, each of twice the size of the one before.
BANDS = 4

#: Blocks in their order: size and weight. The first five are of the trunk's maps at stride 16, 8 and 4, the others are measured.
BLOCKS: dict[str, tuple[int, float]] = {
    "sixteenth": (112 * GRID**2, 2.0),
    "eighth": (40 * GRID**2, 1.0),
    "quarter": (24 * GRID**2, 1.0),
    "mean": (112, 1.0),
    "spread": (112, 1.0),
    "shape": (21, 1.0),
    "zones": (4 * ROWS * 8, 1.0),
    "zone_sums": (2 * ROWS * 8, 3.0),
    "outlines": (3 * 8 * 8, 1.0),
    "detail": (BANDS * 8 * 8, 1.0),
    "grey": (16 * 16, 1.0),
}
