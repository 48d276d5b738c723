"""The statement network: calibrated probabilities of PTB-XL's statements for one recording, or why it stays silent.

The bundle ``models/bundles/ecg_statements`` holds weights, operating points and card; ``models/ecg/preprocessing.py`` makes its
input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

from inference.ecg.bundled import BundledModel
from inference.ecg.waveform import Ecg
from models.ecg.preprocessing import LEADS, network_input

#: Why the network stays silent: codes of the vocabulary's reasons.
CHILD, LEADS_UNFIT, SHORT = "ecg_statements_child", "ecg_statements_leads", "ecg_statements_short"


class StatementNetwork(BundledModel):
    """The network and its operating points."""

    shipped = "ecg_statements"

    def probabilities(self, ecg: Ecg) -> dict[str, float]:
        """Return the calibrated probability of each statement of the set, spoken or not."""
        leads = np.stack([ecg.microvolts[ecg.leads.index(name)] for name in LEADS])
        statements, _ = self.outputs(leads, ecg.sampling_rate)
        return {code: float(value) for code, value in zip(self.bundle.labels, statements, strict=True)}

    def outputs(
        self, microvolts: npt.NDArray[np.floating], sampling_rate: float
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return what the network makes of the eight leads: statements and superclasses, in the bundle's order."""
        signal = network_input(microvolts, sampling_rate)
        statements, superclasses = self._session.run(["probability", "superclass"], {"ecg": signal[None]})
        return statements[0], superclasses[0]

    def spoken(self, probabilities: Mapping[str, float]) -> dict[str, float]:
        """Return the statements that reach their operating point; one without a point is never spoken."""
        points = self.bundle.thresholds
        return {code: value for code, value in probabilities.items() if code in points and value >= points[code]}


def silence_of(ecg: Ecg, usable: Collection[str], *, adult_from_years: int, shortest_seconds: float) -> str | None:
    """Return why a recording lies outside of what the network has learned from, or None. An unknown age counts as grown up."""
    if ecg.age_years is not None and ecg.age_years < adult_from_years:
        return CHILD
    if ecg.seconds < shortest_seconds:
        return SHORT
    return None if set(LEADS) <= set(usable) else LEADS_UNFIT
