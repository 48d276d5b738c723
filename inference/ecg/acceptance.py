"""Would people call the recording unacceptable: the quality model, run by onnxruntime.

The bundle ``models/bundles/ecg_quality`` holds trees, threshold and card; ``models/ecg_quality/features.py`` makes its input.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime

from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg
from inference.engine import ModelIdentity
from inference.onnx_session import PROCESSOR, open_session
from models.bundle import BUNDLES, Bundle, read_bundle
from models.ecg_quality.features import recording_numbers

FOLDER = BUNDLES / "ecg_quality"


class AcceptanceModel:
    """The bundle and its session; loads once, at the first recording."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata."""
        return read_bundle(self._folder)

    @cached_property
    def identity(self) -> ModelIdentity:
        """What every result names."""
        bundle = self.bundle
        return ModelIdentity(
            name=bundle.name, version=bundle.version, weights_sha256=bundle.weights_sha256, preprocessing=bundle.preprocessing
        )

    @property
    def threshold(self) -> float:
        """At or above this probability the recording should be made again."""
        return self.bundle.thresholds[self.bundle.labels[0]]

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.bundle.weights, PROCESSOR)

    def unacceptable(self, ecg: Ecg) -> float | None:
        """Return the probability that people would call the recording unacceptable; None where a lead is missing."""
        if ecg.leads != LEADS:
            return None
        numbers = recording_numbers(ecg.microvolts, ecg.sampling_rate)
        return float(self._session.run(["probability"], {"numbers": np.stack([numbers])})[0][0, 0])
