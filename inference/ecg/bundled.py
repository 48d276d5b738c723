"""A network of the ECG pre-read as its bundle ships it: read, checked and loaded once, at the first recording."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import onnxruntime

from inference.engine import ModelIdentity
from inference.onnx_session import PROCESSOR, open_session
from models.bundle import BUNDLES, Bundle, read_bundle


class BundledModel:
    """What every network here has: its bundle, its name on every result, its session."""

    #: Name of the bundle in ``models/bundles``.
    shipped: ClassVar[str]

    def __init__(self, folder: Path | None = None) -> None:
        """Run the shipped bundle, or the one in ``folder``."""
        self._folder = folder or BUNDLES / self.shipped

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata.

        Raises
        ------
        SumuError
            If it is incomplete or its weights are others.
        """
        return read_bundle(self._folder)

    @cached_property
    def identity(self) -> ModelIdentity:
        """What every result names."""
        return ModelIdentity.of(self.bundle)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        # One recording gains nothing from more threads, and nothing from a graphics card.
        return open_session(self.bundle.weights, PROCESSOR)
