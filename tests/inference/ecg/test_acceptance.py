"""A recording that people would send back is told from one that they would read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inference.ecg.acceptance import AcceptanceModel
from inference.ecg.waveform import Ecg
from tests.inference.ecg.hearts import ecg_of, heart, regular

LEADS = heart(regular(0.8))
RANDOM = np.random.default_rng(3)


@pytest.fixture(scope="module")
def model() -> AcceptanceModel:
    return AcceptanceModel()


def test_a_devices_recording_and_a_clean_heart_are_fit(model: AcceptanceModel, device_ecg: Ecg) -> None:
    for ecg in (device_ecg, ecg_of(LEADS)):
        probability = model.unacceptable(ecg)
        assert probability is not None
        assert probability < model.threshold


@pytest.mark.parametrize(
    "spoil",
    [
        lambda name, row: np.zeros_like(row),
        lambda name, row: np.zeros_like(row) if name in ("V1", "V4") else row,
        lambda name, row: row + RANDOM.normal(0, 800, len(row)),
        lambda name, row: np.full_like(row, 30_000.0) if name in ("I", "II", "V2") else row,
    ],
)
def test_a_silent_noisy_or_saturated_recording_is_not(model: AcceptanceModel, spoil: object) -> None:
    spoilt: dict[str, npt.NDArray[np.float64]] = {name: spoil(name, row) for name, row in LEADS.items()}  # type: ignore[operator]
    probability = model.unacceptable(ecg_of(spoilt))
    assert probability is not None
    assert probability >= model.threshold


def test_the_sampling_rate_does_not_decide(model: AcceptanceModel) -> None:
    for rate in (250.0, 500.0, 1000.0):
        probability = model.unacceptable(ecg_of(heart(regular(0.8), rate=rate), rate=rate))
        assert probability is not None
        assert probability < model.threshold


def test_fewer_than_twelve_leads_are_not_judged(model: AcceptanceModel) -> None:
    assert model.unacceptable(ecg_of({"II": LEADS["II"]})) is None
