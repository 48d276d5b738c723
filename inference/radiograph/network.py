"""The chest network in ONNX Runtime: loaded once, at the first reading, and shared by threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.onnx_session import Hardware, open_session
from models.bundle import Bundle, read_bundle


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
    """A bundle and its session."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self._folder, self._hardware = folder, hardware
        self._lock = threading.Lock()
        self._loaded: tuple[Bundle, onnxruntime.InferenceSession] | None = None

    @property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata."""
        return self._load()[0]

    def run(self, square: NDArray[np.float32]) -> ChestRun:
        """Run the network on one prepared image."""
        probabilities, frontal, activations = self._load()[1].run(
            ["probability", "frontal", "activation"], {"image": square[None, None]}
        )
        return ChestRun(probabilities=probabilities[0], frontal=float(frontal[0, 0]), activations=activations[0])

    def _load(self) -> tuple[Bundle, onnxruntime.InferenceSession]:
        with self._lock:
            if self._loaded is None:
                bundle = read_bundle(self._folder)
                session = open_session(bundle.weights, self._hardware)
                self._loaded = bundle, session
            return self._loaded
