"""The chest network in ONNX Runtime: loaded once, at the first reading, and shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.bundle import Bundle, read_bundle

#: A radiograph takes some ten milliseconds; more threads would only take them from the other engines.
THREADS = 2


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

    def __init__(self, folder: Path, providers: Sequence[str]) -> None:
        self._folder, self._providers = folder, tuple(providers)
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
                options = onnxruntime.SessionOptions()
                options.intra_op_num_threads = THREADS
                present = [name for name in self._providers if name in onnxruntime.get_available_providers()]
                session = onnxruntime.InferenceSession(bundle.weights, options, providers=present or ["CPUExecutionProvider"])
                self._loaded = bundle, session
            return self._loaded
