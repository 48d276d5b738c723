"""The chest network: one prepared image in, probabilities, the gate's and activations out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.network import Network
from inference.onnx_session import Hardware
from models.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class ChestRun:
    """What the network said of one image."""

    #: In the order of the bundle's labels.
    probabilities: NDArray[np.float32]
    #: Probability of an upright frontal chest.
    frontal: float
    #: (labels, rows, columns).
    activations: NDArray[np.float32]


class LoadedNetwork:
    """The chest network of a bundle's folder."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self._network = Network(folder, hardware, outputs=("probability", "frontal", "activation"))

    @property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata."""
        return self._network.bundle

    def warm(self) -> None:
        """Load the network and run it once."""
        self._network.warm()

    def run(self, square: NDArray[np.float32]) -> ChestRun:
        """Run the network on one prepared image."""
        probabilities, frontal, activations = self._network.run(square[None, None])
        return ChestRun(probabilities=probabilities[0], frontal=float(frontal[0, 0]), activations=activations[0])
