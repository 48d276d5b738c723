"""A bundle's network in ONNX Runtime: loaded once, at the first reading or before it, and shared by threads."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.gathering import Gatherer, Run
from inference.onnx_session import Hardware, open_session, warm
from models.bundle import Bundle, read_bundle


@dataclass(frozen=True, kw_only=True)
class _Loaded:
    bundle: Bundle
    run: Run


class Network:
    """The network in a bundle's folder, with one input."""

    def __init__(self, folder: Path, hardware: Hardware, *, outputs: Sequence[str], takes: str = "image") -> None:
        self._folder, self._hardware, self._outputs, self._takes = folder, hardware, list(outputs), takes
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata.

        Raises
        ------
        BundleIncomplete, WeightsAltered
            If the model cannot be trusted or is not there.
        """
        return self._load().bundle

    def warm(self) -> None:
        """Load the network and run it once."""
        self._load()

    def run(self, images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """Return the outputs, in the order asked for, of a batch (N, ...); where the hardware says so, together with others'."""
        return self._load().run(images)

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                bundle = read_bundle(self._folder)
                session = open_session(bundle.weights, self._hardware)
                warm(session)

                def run(images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
                    answer: Sequence[NDArray[np.float32]] = session.run(self._outputs, {self._takes: images})
                    return answer

                most = self._hardware.batch
                gathered = Gatherer(run, most=most, seconds=self._hardware.batch_seconds) if most > 1 else run
                self._loaded = _Loaded(bundle=bundle, run=gathered)
            return self._loaded
