"""Statements follow from measurements at exactly the thresholds of the rule file."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.ecg.measure import Measures
from inference.ecg.rulebook import FILE, BadRulebook, regions, rulebook
from inference.ecg.rules import CHILD, NORMAL, statements_of
from inference.vocabulary.terms import Urgency, vocabulary

HEALTHY = {
    "ecg_heart_rate": 72.0,
    "ecg_rr": 833.0,
    "ecg_pr": 160.0,
    "ecg_qrs": 92.0,
    "ecg_qt": 380.0,
    "ecg_qtc_bazett": 416.0,
    "ecg_qtc_fridericia": 404.0,
    "ecg_axis_qrs": 45.0,
    "ecg_axis_p": 50.0,
    "ecg_axis_t": 40.0,
    "ecg_sokolow_lyon": 2.1,
    "ecg_cornell": 1.0,
}
FACTS = {
    "p_share": 1.0,
    "rr_range_ms": 40.0,
    "rr_changing_share": 0.0,
    "pause_ms": 850.0,
    "limb_voltage_mv": 1.1,
    "chest_voltage_mv": 1.9,
    "st_limb_mv": 0.03,
    "st_v1_v3_mv": 0.08,
    "st_v4_v6_mv": 0.04,
    "lead_count": 12.0,
    "ventricular_beats": 0.0,
    "supraventricular_beats": 0.0,
}


def say(*, sex: str = "M", age: int | None = 50, region: str = "strictest", **changed: float | None) -> set[str]:
    """Return the statements about a healthy heart with some numbers changed; None takes one away."""
    facts = {**FACTS, **HEALTHY, **changed}
    known = {name: value for name, value in facts.items() if value is not None}
    measures = Measures(
        beats=(),
        rhythm_lead="II",
        values={name: value for name, value in known.items() if name.startswith("ecg_")},
        facts={name: value for name, value in known.items() if not name.startswith("ecg_")},
        absent={},
    )
    return set(statements_of(measures, rulebook(region), sex=sex, age_years=age))


def test_a_healthy_heart_is_in_sinus_rhythm_with_normal_measurements() -> None:
    assert say() == {"ecg_sinus_rhythm", NORMAL}


@pytest.mark.parametrize(
    ("fact", "inside", "outside", "code"),
    [
        ("ecg_pr", 200, 201, "ecg_first_degree_av_block"),
        ("ecg_pr", 120, 119, "ecg_short_pr"),
        ("ecg_qrs", 119, 120, "ecg_wide_qrs"),
        ("ecg_axis_qrs", -30, -31, "ecg_left_axis_deviation"),
        ("ecg_axis_qrs", 90, 91, "ecg_right_axis_deviation"),
        ("ecg_axis_qrs", -90, -91, "ecg_extreme_axis_deviation"),
        ("ecg_heart_rate", 100, 101, "ecg_sinus_tachycardia"),
        ("ecg_heart_rate", 60, 59, "ecg_sinus_bradycardia"),
        ("ecg_heart_rate", 35, 34.9, "ecg_critical_bradycardia"),
        ("pause_ms", 2999, 3000, "ecg_critical_pause"),
        ("limb_voltage_mv", 0.5, 0.49, "ecg_low_voltage_limb"),
        ("chest_voltage_mv", 1.0, 0.99, "ecg_low_voltage_chest"),
        ("ecg_sokolow_lyon", 4.0, 4.01, "ecg_lvh_sokolow_lyon"),
        ("ecg_cornell", 2.8, 2.81, "ecg_lvh_cornell"),
        ("st_limb_mv", 0.099, 0.1, "ecg_critical_st_elevation"),
        ("st_v4_v6_mv", 0.099, 0.1, "ecg_critical_st_elevation"),
        ("st_v1_v3_mv", 0.3, 0.31, "ecg_critical_st_elevation"),
    ],
)
def test_each_threshold_stands_where_the_file_says(fact: str, inside: float, outside: float, code: str) -> None:
    assert code not in say(**{fact: inside})
    said = say(**{fact: outside})
    assert code in said
    assert NORMAL not in said


@pytest.mark.parametrize(
    ("sex", "qtc", "long"),
    [("M", 450, False), ("M", 451, True), ("F", 460, False), ("F", 461, True), ("", 455, False), ("", 461, True)],
)
def test_the_limit_of_qtc_depends_on_the_sex(sex: str, qtc: float, long: bool) -> None:
    assert ("ecg_prolonged_qtc" in say(sex=sex, ecg_qtc_bazett=qtc)) is long


def test_a_fast_heart_is_judged_by_fridericia() -> None:
    assert "ecg_prolonged_qtc" not in say(ecg_heart_rate=120, ecg_qtc_bazett=470, ecg_qtc_fridericia=420)
    assert "ecg_prolonged_qtc" in say(ecg_heart_rate=120, ecg_qtc_bazett=500, ecg_qtc_fridericia=455)


def test_a_wide_qrs_silences_what_it_would_falsify() -> None:
    assert say(ecg_qrs=140, ecg_qtc_bazett=480, ecg_sokolow_lyon=5, st_v1_v3_mv=0.4) == {"ecg_sinus_rhythm", "ecg_wide_qrs"}


def test_sinus_rhythm_is_never_stated_without_p_waves() -> None:
    for changed in ({"p_share": 0.4}, {"p_share": None}, {"ecg_axis_p": -80.0}, {"ecg_axis_p": None}, {"ecg_pr": None}):
        said = say(**changed)  # type: ignore[arg-type]
        assert not {code for code in said if "sinus" in code}
        assert NORMAL not in said


def test_irregular_without_p_waves_is_possible_atrial_fibrillation_and_nothing_else() -> None:
    said = say(p_share=0.0, ecg_pr=None, ecg_axis_p=None, rr_changing_share=0.7, rr_range_ms=400)
    assert said == {"ecg_possible_atrial_fibrillation"}
    assert "ecg_no_p_waves" in say(p_share=0.0, ecg_pr=None, ecg_axis_p=None)


def test_a_fast_rate_without_p_waves_is_not_called_sinus() -> None:
    assert {"ecg_no_p_waves", "ecg_fast_rate"} <= say(p_share=0.0, ecg_pr=None, ecg_axis_p=None, ecg_heart_rate=130)


def test_what_was_not_measured_is_not_called_normal() -> None:
    assert say(ecg_sokolow_lyon=None) == {"ecg_sinus_rhythm"}
    assert say(ecg_qtc_bazett=None) == {"ecg_sinus_rhythm"}


def test_a_child_gets_only_what_holds_at_all_ages() -> None:
    assert say(age=17, ecg_heart_rate=120, ecg_axis_qrs=110) == {CHILD}
    assert say(age=17, ecg_heart_rate=30) == {"ecg_critical_bradycardia", CHILD}
    assert CHILD not in say(age=18)
    assert NORMAL in say(age=None)


def test_critical_values_differ_by_region() -> None:
    fast = {"ecg_heart_rate": 190.0, "p_share": 0.0, "ecg_pr": None, "ecg_axis_p": None}
    assert "ecg_critical_tachycardia" in say(region="shanxi", **fast)  # type: ignore[arg-type]
    assert "ecg_critical_tachycardia" not in say(region="zhejiang", **fast)  # type: ignore[arg-type]
    fibrillating = {**fast, "rr_changing_share": 0.7}
    assert "ecg_critical_irregular_tachycardia" in say(region="zhejiang", **fibrillating)  # type: ignore[arg-type]
    assert "ecg_critical_wide_tachycardia" in say(ecg_qrs=150, **{**fast, "ecg_heart_rate": 150.0})  # type: ignore[arg-type]


@pytest.mark.parametrize("region", regions())
def test_every_statement_and_fact_of_the_file_is_in_the_vocabulary_or_measured(region: str) -> None:
    words = vocabulary()
    for statement in rulebook(region).statements:
        term = words.findings[statement.code]
        assert (term.urgency is Urgency.CRITICAL) == statement.code.startswith("ecg_critical_")
        assert statement.source
        for condition in (condition for every in statement.when for condition in every):
            assert condition.fact in words.measurements or condition.fact in FACTS, condition.fact
        assert set(statement.unless) <= {other.code for other in rulebook(region).statements}
    assert {NORMAL, CHILD} <= words.findings.keys()
    assert words.findings[NORMAL].normal


def test_a_broken_rule_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRulebook, match="atlantis"):
        rulebook("atlantis")
    broken = tmp_path / "rules.toml"
    broken.write_text(FILE.read_text(encoding="utf-8").replace("above = 200", "beyond = 200"), encoding="utf-8")
    with pytest.raises(BadRulebook, match="ecg_pr"):
        rulebook("strictest", broken)
