"""The statement network: calibrated probabilities of PTB-XL's statements for one recording, or why it stays silent.

The bundle ``models/bundles/ecg_statements`` holds weights, operating points and card; ``models/ecg/preprocessing.py`` makes its
input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from inference.ecg.waveform import Ecg
from inference.engine import ModelIdentity
from inference.onnx_session import PROCESSOR, open_session
from models.bundle import BUNDLES, Bundle, read_bundle
from models.ecg.preprocessing import LEADS, network_input

FOLDER = BUNDLES / "ecg_statements"

#: Why the network stays silent: codes of the vocabulary's reasons.
CHILD, LEADS_UNFIT, SHORT = "ecg_statements_child", "ecg_statements_leads", "ecg_statements_short"


class StatementNetwork:
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

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_session(self.bundle.weights, PROCESSOR)

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
