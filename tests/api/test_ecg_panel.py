"""What the ECG page says that its numbers rest on."""

from __future__ import annotations

from typing import Any

import pytest

from api.ecg_evidence import EcgEvidence
from api.ecg_panel import panel_of
from inference.ecg.quality import LeadState
from inference.vocabulary.terms import vocabulary
from tests.api.ecg_house import DOUBTFUL, beats_of_heart

BEATS = beats_of_heart(0.8, 0.16, 0.09, 0.38, kinds=True)


def panel(language: str = "en", **noted: Any) -> dict[str, Any]:
    values = {"ecg_rr": 800.0, "ecg_rr_longest": 802.0}
    return panel_of(EcgEvidence(beats=BEATS, values=values, noted={**DOUBTFUL, **noted}), language)


def test_a_doubtful_recording_says_why() -> None:
    said = panel()
    assert said["doubtful"]
    assert said["summary"] == "Signal usable · electrodes RA/LA exchanged? · 2 leads not good · device's own values"
    assert said["signal"] == [
        "Good enough to be read; probability that it is not: 3%.",
        "The electrodes RA/LA may be exchanged, probability 91%.",
        "aVL: mains hum",
        "V2: noise",
        vocabulary().reasons["ecg_axis_unclear"].en,
    ]


def test_a_recording_that_should_be_made_again_says_so() -> None:
    said = panel(quality={"usable": False, "unacceptable": 0.871, "exchange": None, "exchange_probability": None})
    assert said["doubtful"]
    assert said["summary"].startswith("Signal not usable")
    assert said["signal"][0] == "To be recorded again; probability that it is not good enough to be read: 87%."


def test_a_good_recording_is_quiet() -> None:
    good: dict[str, Any] = {"leads": dict.fromkeys(DOUBTFUL["leads"], "good"), "absent": {}, "device": None}
    said = panel(**good, quality={"usable": True, "unacceptable": None, "exchange": None, "exchange_probability": None})
    assert (said["summary"], said["doubtful"], said["signal"], said["device"]) == ("Signal usable", False, [], None)


def test_the_rhythm_names_its_lead_its_p_waves_its_spread_and_its_unusual_beats() -> None:
    assert panel()["rhythm"] == [
        "12 beats, rhythm lead II",
        "P wave before 12 of 12",
        "atrial rate 75/min",
        "RR 798 to 802 ms, standard deviation 1 ms",
        "ventricular (V): 1",
        "supraventricular (S): 1",
    ]


def test_a_qtc_of_which_the_device_names_no_formula_is_not_taken_for_ours() -> None:
    said = panel()
    assert said["names"]["ecg_qtc"]["name"] == "QTc (formula not named)"
    assert said["names"]["ecg_qtc"]["high"] is None
    assert panel(device={"values": {"ecg_pr": 158}, "statements": [], "source": ""})["names"] == {}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_state_of_a_lead_has_its_word(language: str) -> None:
    leads = panel(language, leads={state.value: state.value for state in LeadState})["leads"]
    words = [lead["words"] for lead in leads]
    assert len(set(words)) == len(LeadState)
    assert language == "en" or not any(word.isascii() for word in words)


def test_a_pre_read_that_noted_nothing_has_no_panel() -> None:
    said = panel_of(EcgEvidence(values={}), "zh")
    assert (said["summary"], said["leads"], said["rhythm"], said["device"]) == ("", [], [], None)
