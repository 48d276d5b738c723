"""What the network tells apart, and the tile that it sees; without torch, so that serving may import it."""

from __future__ import annotations

#: Order of the network's outputs.
CLASSES = ("tissue_sharp", "tissue_blurred", "background")
#: Edge of a tile, pixels.
TILE = 128
#: Scale of a tile: an objective of 20 times. Coarser pixels no longer show a slight loss of focus.
UM_PER_PX = 0.5
PREPROCESSING = f"RGB tile of {TILE}×{TILE} px at {UM_PER_PX} µm/px, divided by 255, no other normalisation"
