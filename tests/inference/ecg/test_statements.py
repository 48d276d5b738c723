"""The statement network gets the shape, unit and rate that it was taught with, and knows when to be silent."""

from __future__ import annotations

import numpy as np
import pytest

from inference.ecg.leads import LEADS as TWELVE
from inference.ecg.precedence import precedence
from inference.ecg.statements import CHILD, LEADS_UNFIT, SHORT, StatementNetwork, silence_of
from inference.ecg.waveform import Ecg, Filters
from inference.vocabulary.terms import vocabulary
from models.ecg.preprocessing import LEADS, LIMIT_MV, SAMPLES, at_network_rate, network_input
from tests.inference.ecg.hearts import ecg_of, heart, regular


@pytest.fixture(scope="module")
def network() -> StatementNetwork:
    return StatementNetwork()


def sine(hertz: float, rate: float, seconds: float = 10.0, height: float = 1000.0) -> np.ndarray:
    time = np.arange(round(rate * seconds)) / rate
    return np.tile(height * np.sin(2 * np.pi * hertz * time), (len(LEADS), 1))


@pytest.mark.parametrize("rate", [100, 125, 250, 257, 360, 500, 512, 997, 1000])
def test_every_rate_becomes_a_hundred_hertz_in_millivolts(rate: float) -> None:
    signal = network_input(sine(2.0, rate), rate)
    assert signal.shape == (len(LEADS), SAMPLES)
    assert signal.dtype == np.float32
    expected = np.sin(2 * np.pi * 2.0 * np.arange(SAMPLES) / 100)
    np.testing.assert_allclose(signal[0, 50:-50], expected[50:-50], atol=0.02)


def test_what_a_hundred_hertz_cannot_hold_is_filtered_and_not_folded() -> None:
    assert np.abs(network_input(sine(90.0, 500), 500)[:, 50:-50]).max() < 0.05


def test_an_electrode_offset_does_not_ring_at_the_ends() -> None:
    level = np.full((len(LEADS), 5000), 3000.0)
    np.testing.assert_allclose(network_input(level, 500), 3.0, atol=1e-3)


def test_a_longer_recording_gives_its_middle_and_a_shorter_one_goes_on_mirrored() -> None:
    ramp = np.tile(np.arange(1200.0), (len(LEADS), 1))
    np.testing.assert_allclose(network_input(ramp, 100)[0], np.arange(100, 1100) / 1000, rtol=1e-5)
    short = network_input(ramp[:, :900], 100)[0]
    np.testing.assert_allclose(short[900:], short[899:799:-1])


def test_wild_samples_are_held_and_wrong_leads_refused() -> None:
    assert np.abs(network_input(sine(1.0, 100, height=1e6), 100)).max() == LIMIT_MV
    with pytest.raises(ValueError, match="leads"):
        network_input(np.zeros((12, 1000)), 100)


def test_a_recording_at_the_networks_own_rate_is_not_touched() -> None:
    signal = sine(40.0, 100)
    np.testing.assert_array_equal(at_network_rate(signal, 100.0), signal)


def test_leads_are_taken_by_name_whatever_else_was_recorded(network: StatementNetwork) -> None:
    ecg = ecg_of(heart(regular(0.8)))
    assert ecg.leads == TWELVE
    eight = [TWELVE.index(name) for name in LEADS]
    bare = Ecg(
        sop_instance_uid="1.2",
        leads=tuple(TWELVE[place] for place in eight),
        microvolts=ecg.microvolts[eight],
        sampling_rate=ecg.sampling_rate,
        filters=Filters(),
    )
    assert network.probabilities(ecg) == network.probabilities(bare)


def test_every_statement_has_a_probability_and_only_points_let_it_speak(network: StatementNetwork) -> None:
    probabilities = network.probabilities(ecg_of(heart(regular(0.8))))
    assert tuple(probabilities) == network.bundle.labels
    assert all(0 <= value <= 1 for value in probabilities.values())
    certain = network.spoken(dict.fromkeys(probabilities, 1.0))
    assert certain.keys() == network.bundle.thresholds.keys()
    assert not network.spoken(dict.fromkeys(probabilities, 0.0))


def test_the_same_heart_at_another_rate_is_judged_alike(network: StatementNetwork) -> None:
    slow, fast = (network.probabilities(ecg_of(heart(regular(0.8), rate=rate), rate=rate)) for rate in (250.0, 1000.0))
    assert slow["SR"] == pytest.approx(fast["SR"], abs=0.1)
    assert slow["AFIB"] == pytest.approx(fast["AFIB"], abs=0.1)


@pytest.mark.parametrize(
    ("seconds", "age", "missing", "reason"),
    [
        (10, 45, "", None),
        (10, None, "", None),
        (10, 18, "", None),
        (10, 17, "", CHILD),
        (7.9, 45, "", SHORT),
        (10, 45, "V3", LEADS_UNFIT),
        (10, 45, "aVR", None),
    ],
)
def test_when_the_network_is_silent(seconds: float, age: int | None, missing: str, reason: str | None) -> None:
    ecg = Ecg(
        sop_instance_uid="1.2",
        leads=TWELVE,
        microvolts=np.zeros((12, round(500 * seconds)), np.float32),
        sampling_rate=500.0,
        filters=Filters(),
        age_years=age,
    )
    usable = set(TWELVE) - {missing}
    found = silence_of(ecg, usable, adult_from_years=18, shortest_seconds=precedence().shortest_seconds)
    assert found == reason
    assert found is None or found in vocabulary().reasons


def test_every_statement_with_a_meaning_here_is_one_of_the_networks(network: StatementNetwork) -> None:
    assert {translation.scp for translation in precedence().translations} <= set(network.bundle.labels)
