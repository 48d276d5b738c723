"""Asks the bundle's network what each tile shows: sharp tissue, blurred tissue or background."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.engine import ModelIdentity
from inference.onnx_session import Hardware, open_session
from models.bundle import Bundle, read_bundle
from models.slide_tiles.classes import TILE

#: Tiles in one run: more makes nothing faster on a processor, and takes memory.
_BATCH = 32


class TileClassifier:
    """The network of a ``slide_tiles`` bundle."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self.bundle: Bundle = read_bundle(folder)
        self._session = open_session(self.bundle.weights, hardware)
        self._input = self.bundle.inputs[0].name

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.bundle.labels

    @property
    def identity(self) -> ModelIdentity:
        """Who says it."""
        return ModelIdentity.of(self.bundle)

    def probabilities(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return n × classes for n RGB tiles."""
        if not len(tiles):
            return np.zeros((0, len(self.labels)), dtype=np.float32)
        said = [self._run(tiles[start : start + _BATCH]) for start in range(0, len(tiles), _BATCH)]
        return np.concatenate(said)

    def _run(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        if tiles.shape[1:] != (TILE, TILE, 3):
            raise ValueError(f"A tile is {TILE}×{TILE} px RGB, not {tiles.shape[1:]}.")
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), dtype=np.float32) / np.float32(255)
        return np.asarray(self._session.run(None, {self._input: planes})[0], dtype=np.float32)
