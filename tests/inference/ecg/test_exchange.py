"""Exchanged electrodes are suspected, and right ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inference.ecg.exchange import ExchangeDetector
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg
from models.ecg.preprocessing import LEADS as EIGHT
from models.ecg_quality.beat_shape import EXCHANGES, LENGTH, NONE, beat_shape, exchange_matrix


@pytest.fixture(scope="module")
def detector() -> ExchangeDetector:
    return ExchangeDetector()


def exchanged(ecg: Ecg, pair: str) -> Ecg:
    """The recording as it would be with two electrodes exchanged."""
    eight = np.stack([ecg.microvolts[ecg.leads.index(name)] for name in EIGHT])
    return replace(ecg, leads=EIGHT, microvolts=exchange_matrix(pair) @ eight)


def test_each_exchange_is_what_the_electrodes_potentials_make_of_it() -> None:
    random = np.random.default_rng(2)
    potentials = {name: random.normal(size=50) for name in ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")}
    # The legs have one potential.
    potentials["RL"] = potentials["LL"]

    def leads(at: dict[str, np.ndarray]) -> np.ndarray:
        terminal = (at["RA"] + at["LA"] + at["LL"]) / 3
        return np.stack([at["LA"] - at["RA"], at["LL"] - at["RA"], *(at[f"V{number}"] - terminal for number in range(1, 7))])

    for pair in (NONE, *EXCHANGES):
        swapped = dict(potentials)
        if pair != NONE:
            first, second = pair.split("/")
            swapped[first], swapped[second] = potentials[second], potentials[first]
        np.testing.assert_allclose(exchange_matrix(pair) @ leads(potentials), leads(swapped), atol=1e-5)


def test_a_devices_recording_is_not_suspected(detector: ExchangeDetector, device_ecg: Ecg) -> None:
    assert detector.suspicion(device_ecg, LEADS) is None


@pytest.mark.parametrize("pair", ["RA/LA", "RA/LL", "RA/RL", "V1/V2"])
def test_the_same_recording_with_exchanged_electrodes_is(detector: ExchangeDetector, device_ecg: Ecg, pair: str) -> None:
    usable = set(EIGHT) - ({"II"} if pair == "RA/RL" else set())
    suspicion = detector.suspicion(exchanged(device_ecg, pair), usable)
    assert suspicion is not None
    assert suspicion.pair == pair
    assert suspicion.probability >= detector.bundle.thresholds[pair]


def test_missing_or_unfit_leads_and_too_few_beats_silence_it(detector: ExchangeDetector, device_ecg: Ecg) -> None:
    wrong = exchanged(device_ecg, "RA/LA")
    assert detector.suspicion(wrong, set(EIGHT) - {"V3"}) is None
    assert detector.suspicion(replace(wrong, leads=EIGHT[:3], microvolts=wrong.microvolts[:3]), EIGHT) is None
    assert detector.suspicion(replace(wrong, microvolts=np.zeros_like(wrong.microvolts)), EIGHT) is None
    assert beat_shape(wrong.microvolts[:, :500], 1000) is None


def test_the_averaged_beat_does_not_depend_on_rate_or_gain(device_ecg: Ecg) -> None:
    eight = np.stack([device_ecg.microvolts[LEADS.index(name)] for name in EIGHT])
    first, second = beat_shape(eight, 1000), beat_shape(3 * eight[:, ::2], 500)
    assert first is not None
    assert second is not None
    assert first.shape == (len(EIGHT), LENGTH)
    np.testing.assert_allclose(first, second, atol=0.15)
