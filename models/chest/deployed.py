"""What serves beside the features' graph: calibrated probabilities, the gate, and maps of the evidence."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from models.chest.anatomy import put_back
from models.chest.blocks import BLOCKS, GRID, MAP_CELLS
from models.chest.findings import CODES
from models.chest.gate import Gate
from models.chest.opacity import BOXED, Local
from models.chest.pointing import ACTIVATION_CELLS
from models.chest.readings import LIMIT, Linear, Standard

#: Places at the edge of the cut-out chest where a box never begins.
EDGE = 2


class Readings(nn.Module):
    """Features -> (N, 15) probabilities, (N, 1) probability of an upright frontal chest, (N, 15, 24, 24) maps."""

    def __init__(
        self, standard: Standard, reading: Linear, calibration: tuple[float, list[float]], gate: Gate, local: Local
    ) -> None:
        super().__init__()
        slope, intercepts = calibration
        weight = standard.scale[:, None] * reading.weight
        parts = {
            "centre": standard.centre,
            "spread": standard.spread,
            "weight": slope * weight,
            "bias": slope * reading.bias + np.array(intercepts),
            "gate_centre": gate.centre,
            "gate_spread": gate.spread,
            "gate_weight": gate.weight[:, None],
            "gate_bias": np.array([gate.bias]),
            **_map_parts(standard, weight),
            "local_centre": local.centre[:, None, None],
            "local_spread": local.spread[:, None, None],
            "local_weight": local.weight[:, None, None],
            "against_mirror": local.against_mirror[:, None, None],
        }
        for name, values in parts.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(values, np.float32)))

    def forward(self, features: Tensor, whole: Tensor, finest: Tensor, box: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Read the features."""
        probability = torch.sigmoid(_clipped(features, self.centre, self.spread) @ self.weight + self.bias)
        everything = torch.cat([features, whole], 1)
        frontal = torch.sigmoid(_clipped(everything, self.gate_centre, self.gate_spread) @ self.gate_weight + self.gate_bias)
        return (probability, frontal, put_back(self.evidence(finest), box, ACTIVATION_CELLS))

    def evidence(self, finest: Tensor) -> Tensor:
        """Return where on the cut-out chest the evidence for each finding lies, (N, 15, 20, 20), 0 at its weakest."""
        seen = (finest - self.map_centre) / self.map_spread
        parts = (seen[:, None] * self.map_weight).sum(2)
        smooth = _smoothed(_smoothed(parts))
        boxed = CODES.index(BOXED)
        smooth = torch.cat([smooth[:, :boxed], self.local(finest), smooth[:, boxed + 1 :]], 1)
        return smooth - smooth.amin(dim=(2, 3), keepdim=True)

    def local(self, finest: Tensor) -> Tensor:
        """Return the evidence for the boxed finding at each place but the outermost two, where the lungs' margin is."""
        smooth = _smoothed((finest - self.local_centre) / self.local_spread)
        value = (smooth * self.local_weight + (smooth - smooth.flip(3)) * self.against_mirror).sum(1, keepdim=True)
        within = value[:, :, EDGE:-EDGE, EDGE:-EDGE]
        lowest = within.amin(dim=(2, 3), keepdim=True)
        return functional.pad(within - lowest, (EDGE, EDGE, EDGE, EDGE))


def _clipped(values: Tensor, centre: Tensor, spread: Tensor) -> Tensor:
    return ((values - centre) / spread).clamp(-LIMIT, LIMIT)


def _smoothed(value: Tensor) -> Tensor:
    return functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)


def _map_parts(standard: Standard, weight: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return centre, spread and weight of the finest map's block, each cell of the grid spread over the cells of the map."""
    size = BLOCKS["sixteenth"][0]
    channels, times = size // GRID**2, MAP_CELLS // GRID

    def spread_out(values: NDArray[np.float64]) -> NDArray[np.float64]:
        grid = values.reshape(*values.shape[:-1], channels, GRID, GRID)
        return np.repeat(np.repeat(grid, times, -2), times, -1)

    return {
        "map_centre": spread_out(standard.centre[:size]),
        "map_spread": spread_out(standard.spread[:size]),
        "map_weight": spread_out(weight[:size].T),
    }
