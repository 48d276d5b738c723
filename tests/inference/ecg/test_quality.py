"""Leads that carry no heart are told from those that do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from inference.ecg.quality import LeadState, lead_state, quality_of
from inference.ecg.rulebook import rulebook
from inference.ecg.waveform import Ecg
from tests.inference.ecg.hearts import ecg_of, heart, regular

LIMITS = rulebook().quality
RATE = 500.0
LEADS = heart(regular(0.8))
TIME = np.arange(5000) / RATE
RANDOM = np.random.default_rng(3)


def _state(samples: npt.NDArray[np.float64]) -> LeadState:
    return lead_state(samples.astype(np.float32), RATE, LIMITS)


def test_a_clean_lead_is_good(device_ecg: Ecg) -> None:
    assert _state(LEADS["II"]) is LeadState.GOOD
    assert set(quality_of(device_ecg, LIMITS).leads.values()) == {LeadState.GOOD}


@pytest.mark.parametrize("drift", [np.zeros(5000), RANDOM.normal(0, 2, 5000), 200 * np.sin(2 * np.pi * 0.05 * TIME)])
def test_a_flat_lead_is_off_even_when_it_drifts(drift: npt.NDArray[np.float64]) -> None:
    assert _state(drift) is LeadState.OFF


def test_a_small_healthy_lead_is_not_off() -> None:
    assert _state(LEADS["I"] * 0.15) is LeadState.GOOD


def test_an_amplifier_at_its_end_is_saturated() -> None:
    assert _state(np.where((TIME > 3) & (TIME < 4), 6000.0, LEADS["V5"])) is LeadState.SATURATED
    # A tall R is no clipping.
    assert _state(LEADS["V5"] * 3) is LeadState.GOOD


def test_mains_hum_is_named_and_does_not_exclude_the_lead() -> None:
    humming = {name: row + 150 * np.sin(2 * np.pi * 50 * TIME) for name, row in LEADS.items()}
    quality = quality_of(ecg_of(humming), LIMITS)
    assert quality.leads["V1"] is LeadState.MAINS
    assert "V1" in quality.usable
    assert quality.reason is None


def test_a_wandering_line_is_named_and_does_not_exclude_the_lead() -> None:
    drifting = {name: row + 700 * np.sin(2 * np.pi * 0.25 * TIME) for name, row in LEADS.items()}
    quality = quality_of(ecg_of(drifting), LIMITS)
    assert quality.leads["V1"] is LeadState.WANDER
    assert "V1" in quality.usable
    assert quality.reason is None
    assert _state(LEADS["V1"] + 100 * np.sin(2 * np.pi * 0.25 * TIME)) is LeadState.GOOD


def test_muscle_is_noise() -> None:
    assert _state(LEADS["II"] + RANDOM.normal(0, 150, 5000)) is LeadState.NOISY
    assert _state(LEADS["II"] + RANDOM.normal(0, 15, 5000)) is LeadState.GOOD


def test_one_electrode_off_leaves_a_readable_recording() -> None:
    quality = quality_of(ecg_of({**LEADS, "V3": np.zeros(5000)}), LIMITS)
    assert quality.leads["V3"] is LeadState.OFF
    assert "V3" not in quality.usable
    assert quality.reason is None


def test_a_recording_without_signal_or_full_of_noise_says_which() -> None:
    off = {name: np.zeros(5000) if name != "V1" else row for name, row in LEADS.items()}
    assert quality_of(ecg_of(off), LIMITS).reason == "ecg_leads_off"
    noisy = {name: row + RANDOM.normal(0, 300, 5000) for name, row in LEADS.items()}
    assert quality_of(ecg_of(noisy), LIMITS).reason == "ecg_too_noisy"


def test_length_is_part_of_quality() -> None:
    assert quality_of(ecg_of({"II": LEADS["II"][:1000]}), LIMITS).reason == "ecg_too_short"
    assert quality_of(ecg_of({"II": np.tile(LEADS["II"], 13)}), LIMITS).reason == "ecg_too_long"
