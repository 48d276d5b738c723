"""Measurements agree with hearts whose intervals are known, and with a device."""

from __future__ import annotations

import numpy as np
import pytest

from inference.ecg.amplitudes import amplitudes_of
from inference.ecg.beats import Beat
from inference.ecg.delineation import RATE, Delineator, at_rate
from inference.ecg.leads import LEADS
from inference.ecg.measure import Measures, longest_pause, measure, usual_beats
from inference.ecg.waveform import Ecg
from tests.inference.ecg.hearts import ecg_of, heart, regular


@pytest.fixture(scope="module")
def device_measures(device_ecg: Ecg, delineator: Delineator) -> Measures:
    return measure(device_ecg, device_ecg.leads, delineator)


def test_all_beats_of_a_recording_are_found_to_its_edges(device_measures: Measures) -> None:
    assert len(device_measures.beats) == 10
    assert device_measures.beats[0].r == pytest.approx(0.528, abs=0.02)
    assert device_measures.rhythm_lead == "II"


@pytest.mark.parametrize(
    ("code", "device", "tolerance"),
    [
        ("ecg_rr", 982, 5),
        ("ecg_pr", 161, 15),
        ("ecg_qrs", 75, 6),
        ("ecg_qt", 368, 10),
        ("ecg_axis_p", 74, 8),
        ("ecg_axis_qrs", 52, 4),
        ("ecg_axis_t", 57, 8),
    ],
)
def test_numbers_are_near_those_of_the_device(device_measures: Measures, code: str, device: float, tolerance: float) -> None:
    assert device_measures.values[code] == pytest.approx(device, abs=tolerance)


def test_waves_of_a_beat_follow_each_other(device_measures: Measures) -> None:
    for beat in device_measures.beats:
        waves = [beat.p_on, beat.p_off, beat.qrs_on, beat.r, beat.qrs_off, beat.t_on, beat.t_off]
        assert None not in waves
        assert waves == sorted(waves)  # type: ignore[type-var]


def test_a_known_heart_is_measured(delineator: Delineator) -> None:
    ecg = ecg_of(heart(regular(0.75, seconds=6), seconds=6, pr=0.22, qt=0.36))
    values = measure(ecg, LEADS, delineator).values
    assert values["ecg_heart_rate"] == pytest.approx(80, abs=0.5)
    assert values["ecg_pr"] == pytest.approx(220, abs=15)
    assert values["ecg_qt"] == pytest.approx(360, abs=25)
    assert values["ecg_axis_qrs"] == pytest.approx(46, abs=8)
    assert values["ecg_qtc_bazett"] == pytest.approx(values["ecg_qt"] / np.sqrt(0.75), rel=1e-3)
    assert values["ecg_qtc_fridericia"] == pytest.approx(values["ecg_qt"] / np.cbrt(0.75), rel=1e-3)
    # S in V1 0.90, R in V5 1.20; R in aVL 0.20, S in V3 0.80 mV; neighbouring waves overlap a little.
    assert values["ecg_sokolow_lyon"] == pytest.approx(2.1, abs=0.15)
    assert values["ecg_cornell"] == pytest.approx(1.0, abs=0.15)


def test_a_longer_pr_and_a_wider_qrs_are_seen_as_such(delineator: Delineator) -> None:
    narrow = measure(ecg_of(heart(regular(0.9, seconds=6), seconds=6)), LEADS, delineator).values
    wide = measure(ecg_of(heart(regular(0.9, seconds=6), seconds=6, qrs=0.15, qt=0.44)), LEADS, delineator).values
    assert wide["ecg_qrs"] - narrow["ecg_qrs"] == pytest.approx(35, abs=25)
    assert wide["ecg_qt"] - narrow["ecg_qt"] == pytest.approx(60, abs=25)


def test_without_p_waves_there_is_no_pr_and_the_reason_is_told(delineator: Delineator) -> None:
    ecg = ecg_of(heart([0.3, 0.9, 1.9, 2.4, 3.5, 4.1, 5.3], seconds=6, p=False))
    measures = measure(ecg, LEADS, delineator)
    assert "ecg_pr" not in measures.values
    assert measures.absent["ecg_pr"] == "ecg_no_p_waves"
    assert measures.facts["p_share"] < 0.5
    assert measures.facts["rr_changing_share"] > 0.5


@pytest.mark.parametrize("angle", [-150.0, -60.0, 0.0, 45.0, 120.0])
@pytest.mark.parametrize("missing", [(), ("I",), ("I", "aVF")])
def test_the_axis_is_the_direction_of_the_net_heights_whatever_leads_are_left(angle: float, missing: tuple[str, ...]) -> None:
    looks = {"I": 0, "II": 60, "III": 120, "aVR": -150, "aVL": -30, "aVF": 90}
    shape = np.exp(-0.5 * ((np.arange(5000) % 400 - 200) / 10) ** 2)
    beats = [Beat(qrs_on=at / RATE - 0.06, r=at / RATE, qrs_off=at / RATE + 0.06) for at in range(600, 4600, 400)]
    signals = {
        name: 800 * shape * np.cos(np.radians(angle - look)) * (np.sqrt(3) / 2 if name.startswith("a") else 1)
        for name, look in looks.items()
        if name not in missing
    }
    assert amplitudes_of(beats, signals).axis_qrs == pytest.approx(angle, abs=1)


def test_intervals_leave_ventricular_and_early_beats_out() -> None:
    usual = [Beat(qrs_on=at, r=at + 0.04, qrs_off=at + 0.09, kind="N") for at in (1.0, 2.0)]
    others = [Beat(qrs_on=1.5, r=1.58, qrs_off=1.66, kind="V"), Beat(qrs_on=2.5, r=2.54, qrs_off=2.59, kind="S")]
    cut = Beat(qrs_on=3.0, r=3.04, qrs_off=3.09)
    assert usual_beats([*usual, *others, cut]) == [*usual, cut]
    assert usual_beats(others) == others


def test_one_lead_gives_intervals_but_no_axis(delineator: Delineator) -> None:
    ecg = ecg_of({"II": heart(regular(0.8, seconds=6), seconds=6)["II"]})
    measures = measure(ecg, ecg.leads, delineator)
    assert measures.values["ecg_heart_rate"] == pytest.approx(75, abs=0.5)
    assert measures.absent["ecg_axis_qrs"] == "ecg_axis_unclear"
    assert measures.absent["ecg_sokolow_lyon"] == "ecg_lead_missing"


@pytest.mark.parametrize("kind", ["flat", "noise", "one beat", "tiny"])
def test_what_cannot_be_measured_is_absent_and_nothing_is_raised(kind: str, delineator: Delineator) -> None:
    random = np.random.default_rng(1)
    leads = {
        "flat": {"II": np.zeros(3000), "V1": np.zeros(3000)},
        "noise": {"II": random.normal(0, 800, 3000), "V1": random.normal(0, 800, 3000)},
        "one beat": {name: row for name, row in heart([1.0], seconds=6).items() if name in ("II", "V5")},
        "tiny": {"II": np.zeros(3)},
    }[kind]
    ecg = ecg_of(leads)
    measures = measure(ecg, ecg.leads, delineator)
    assert "ecg_heart_rate" not in measures.values or kind == "noise"
    assert measures.absent or kind == "noise"


def test_no_lead_at_all_is_a_reason(delineator: Delineator, device_ecg: Ecg) -> None:
    measures = measure(device_ecg, (), delineator)
    assert measures.absent == {"ecg_heart_rate": "ecg_too_noisy"}


def test_a_pause_counts_only_when_the_second_detector_hears_nothing_either(device_ecg: Ecg, device_measures: Measures) -> None:
    rhythm = device_ecg.lead("II")
    assert rhythm is not None
    beats = device_measures.beats
    overlooked = (*beats[:3], *beats[7:])
    pause = longest_pause(overlooked, at_rate(rhythm, device_ecg.sampling_rate))
    assert pause is not None
    assert pause < 1100
    silenced = rhythm.copy()
    silenced[round(beats[2].r * 1000) + 450 : round(beats[7].r * 1000) - 300] = 0
    assert longest_pause(overlooked, at_rate(silenced, device_ecg.sampling_rate)) == pytest.approx(5 * 982, abs=60)
