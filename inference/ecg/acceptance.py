"""Would people call the recording unacceptable: the quality model, run by onnxruntime.

The bundle ``models/bundles/ecg_quality`` holds trees, threshold and card; ``models/ecg_quality/features.py`` makes its input.
"""

from __future__ import annotations

import numpy as np

from inference.ecg.bundled import BundledModel
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg
from models.ecg_quality.features import recording_numbers


class AcceptanceModel(BundledModel):
    """The trees and their threshold."""

    shipped = "ecg_quality"

    @property
    def threshold(self) -> float:
        """At or above this probability the recording should be made again."""
        return self.bundle.thresholds[self.bundle.labels[0]]

    def unacceptable(self, ecg: Ecg) -> float | None:
        """Return the probability that people would call the recording unacceptable; None where a lead is missing."""
        if ecg.leads != LEADS:
            return None
        numbers = recording_numbers(ecg.microvolts, ecg.sampling_rate)
        return float(self._session.run(["probability"], {"numbers": np.stack([numbers])})[0][0, 0])
