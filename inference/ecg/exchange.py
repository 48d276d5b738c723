"""Are two electrodes exchanged: suspected from the averaged beat by a small network.

The bundle ``models/bundles/ecg_exchange`` holds weights, thresholds and card; ``models/ecg_quality/beat_shape.py`` makes its
input.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from inference.ecg.bundled import BundledModel
from inference.ecg.waveform import Ecg
from models.ecg.preprocessing import LEADS
from models.ecg_quality.beat_shape import beat_shape


@dataclass(frozen=True, kw_only=True)
class Suspicion:
    """Two electrodes that may have been exchanged."""

    #: ``RA/LA``, ``V1/V2``, as ``models.ecg_quality.beat_shape.EXCHANGES`` names them.
    pair: str
    probability: float


class ExchangeDetector(BundledModel):
    """The network and its thresholds."""

    shipped = "ecg_exchange"

    def suspicion(self, ecg: Ecg, usable: Collection[str]) -> Suspicion | None:
        """Return the likeliest exchange where it reaches its threshold.

        Lead II may be silent, which is what an electrode exchanged with the neutral one does; any other unfit lead silences
        the detector.
        """
        if not set(LEADS) <= set(ecg.leads) or not set(LEADS) - {"II"} <= set(usable):
            return None
        beat = beat_shape(np.stack([ecg.microvolts[ecg.leads.index(name)] for name in LEADS]), ecg.sampling_rate)
        return None if beat is None else self.of_beat(beat)

    def of_beat(self, beat: npt.NDArray[np.float32]) -> Suspicion | None:
        """Return what an averaged beat (8, 80), in units of its root mean square, gives rise to."""
        found = self._session.run(["probability"], {"beat": beat[None]})[0][0]
        labels = self.bundle.labels
        likeliest = max(self.bundle.thresholds, key=lambda pair: found[labels.index(pair)])
        probability = float(found[labels.index(likeliest)])
        return Suspicion(pair=likeliest, probability=probability) if probability >= self.bundle.thresholds[likeliest] else None
