"""Whatever network and rules say together, what reaches the doctor does not contradict itself."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from inference.ecg.interpretation import Interpretation, interpret
from inference.ecg.precedence import FILE, Exclusion, Silence, precedence
from inference.ecg.rulebook import BadRulebook, regions, rulebook
from inference.ecg.rules import CHILD, NORMAL
from inference.vocabulary.terms import vocabulary

STATEMENTS = sorted({translation.scp for translation in precedence().translations})
RULES = [statement.code for statement in rulebook().statements]
RESTING = {"ecg_heart_rate": 75.0, "ecg_pr": 160.0, "ecg_qrs": 90.0, "ecg_axis_qrs": 45.0, "rr_range_ms": 200.0}

#: No two of one row may be said together.
CONTRADICTIONS = [
    ("ecg_atrial_fibrillation", "ecg_atrial_flutter", "ecg_sinus_rhythm", "ecg_sinus_tachycardia", "ecg_sinus_bradycardia"),
    ("ecg_atrial_fibrillation", "ecg_sinus_arrhythmia"),
    ("ecg_atrial_fibrillation", "ecg_first_degree_av_block"),
    ("ecg_atrial_fibrillation", "ecg_premature_atrial_beats"),
    ("ecg_atrial_fibrillation", "ecg_possible_atrial_fibrillation"),
    ("ecg_possible_atrial_fibrillation", "ecg_sinus_rhythm"),
    ("ecg_possible_atrial_fibrillation", "ecg_sinus_arrhythmia"),
    ("ecg_no_p_waves", "ecg_sinus_rhythm"),
    ("ecg_no_p_waves", "ecg_first_degree_av_block"),
    ("ecg_critical_irregular_tachycardia", "ecg_sinus_tachycardia"),
    ("ecg_paced_rhythm", "ecg_sinus_rhythm"),
    ("ecg_paced_rhythm", "ecg_left_bundle_branch_block", "ecg_right_bundle_branch_block", "ecg_pre_excitation", "ecg_wide_qrs"),
    ("ecg_paced_rhythm", "ecg_infarct_inferior"),
    ("ecg_left_bundle_branch_block", "ecg_intraventricular_delay", "ecg_wide_qrs"),
    ("ecg_right_bundle_branch_block", "ecg_incomplete_right_bundle_branch_block", "ecg_wide_qrs"),
    ("ecg_incomplete_left_bundle_branch_block", "ecg_wide_qrs"),
    ("ecg_left_bundle_branch_block", "ecg_infarct_anteroseptal"),
    ("ecg_left_anterior_fascicular_block", "ecg_left_posterior_fascicular_block"),
    ("ecg_first_degree_av_block", "ecg_short_pr"),
    ("ecg_infarct_inferolateral", "ecg_infarct_inferior"),
    ("ecg_sinus_tachycardia", "ecg_fast_rate"),
    ("ecg_normal", "ecg_normal_measurements"),
]


def say(*scp: str, rules: tuple[str, ...] = (), sex: str = "", **facts: float) -> set[str]:
    """Return what is said of the network's statements, all equally likely, and the rules' codes."""
    found = interpret(rules, dict.fromkeys(scp, 0.9), {**RESTING, **facts}, sex=sex)
    return {said.code for said in found.said}


def contradictions_of(found: Interpretation) -> list[tuple[str, str]]:
    codes = {said.code for said in found.said}
    return [pair for row in CONTRADICTIONS for pair in combinations(row, 2) if set(pair) <= codes]


def test_a_ventricular_beat_that_only_the_rule_sees_is_said_where_the_network_was_not_asked() -> None:
    seen = ("ecg_sinus_rhythm", "ecg_premature_ventricular_beats")
    assert {said.code for said in interpret(seen, None, RESTING).said} == set(seen)
    assert "ecg_premature_ventricular_beats" not in say("SR", rules=seen)
    assert "ecg_premature_ventricular_beats" in say("SR", "PVC", rules=seen)


def test_an_early_beat_that_only_the_rule_sees_is_said() -> None:
    assert say("SR", rules=("ecg_sinus_rhythm", "ecg_premature_atrial_beats", "ecg_irregular_rhythm")) == {
        "ecg_sinus_rhythm", "ecg_premature_atrial_beats",
    }  # fmt: skip


def test_fibrillation_beats_sinus_rhythm_and_everything_that_needs_a_p_wave() -> None:
    rules = ("ecg_sinus_rhythm", "ecg_first_degree_av_block", "ecg_irregular_rhythm", NORMAL)
    assert say("AFIB", "SR", "SARRH", "PAC", "LAO/LAE", "NORM", rules=rules) == {"ecg_atrial_fibrillation"}


def test_a_sinus_arrhythmia_alone_does_not_take_the_warning_of_fibrillation_away() -> None:
    warned = ("ecg_possible_atrial_fibrillation",)
    assert say("SARRH", rules=warned) == set(warned)
    assert say("SARRH", "SR", rules=warned) == {"ecg_sinus_arrhythmia", "ecg_sinus_rhythm"}


def test_a_fast_heart_in_fibrillation_is_no_sinus_tachycardia() -> None:
    said = say("AFIB", rules=("ecg_sinus_tachycardia",), ecg_heart_rate=130)
    assert said == {"ecg_atrial_fibrillation", "ecg_fast_ventricular_response"}
    assert say("AFIB", rules=("ecg_slow_rate",), ecg_heart_rate=45) == {
        "ecg_atrial_fibrillation",
        "ecg_slow_ventricular_response",
    }


def test_the_likelier_of_two_rhythms_is_said() -> None:
    for likely, codes in (("AFIB", {"ecg_atrial_fibrillation"}), ("AFLT", {"ecg_atrial_flutter"})):
        found = interpret((), {"AFIB": 0.6, "AFLT": 0.6, likely: 0.8}, RESTING)
        assert {said.code for said in found.said} == codes


def test_a_named_block_replaces_the_rules_wide_qrs() -> None:
    assert say("CLBBB", rules=("ecg_wide_qrs",), ecg_qrs=150) == {"ecg_left_bundle_branch_block"}
    assert say("CRBBB", "IRBBB", rules=("ecg_wide_qrs",), ecg_qrs=150) == {"ecg_right_bundle_branch_block"}
    assert say(rules=("ecg_wide_qrs",), ecg_qrs=150) == {"ecg_wide_qrs"}


def test_a_complete_block_is_not_said_of_a_narrow_qrs() -> None:
    assert say("CLBBB", ecg_qrs=100) == set()
    assert say("CLBBB", ecg_qrs=112) == {"ecg_left_bundle_branch_block"}


def test_left_bundle_branch_block_hides_infarction_hypertrophy_and_ischaemia() -> None:
    assert say("CLBBB", "ASMI", "LVH", "ISC_", "NDT", rules=("ecg_lvh_cornell",), ecg_qrs=150) == {"ecg_left_bundle_branch_block"}


def test_the_measured_rate_names_the_sinus_rhythm() -> None:
    assert say("SR", ecg_heart_rate=120) == {"ecg_sinus_tachycardia"}
    assert say("STACH", ecg_heart_rate=95) == {"ecg_sinus_rhythm"}
    assert say("SBRAD", "STACH", ecg_heart_rate=50) == {"ecg_sinus_bradycardia"}


def test_a_measured_pr_decides_about_first_degree_block() -> None:
    assert say("1AVB") == set()
    assert say("1AVB", rules=("ecg_first_degree_av_block",), ecg_pr=240) == {"ecg_first_degree_av_block"}
    unmeasured = interpret((), {"1AVB": 0.9}, {"ecg_heart_rate": 75.0})
    assert [said.code for said in unmeasured.said] == ["ecg_first_degree_av_block"]


def test_normal_is_said_only_if_both_find_nothing() -> None:
    healthy = ("ecg_sinus_rhythm", NORMAL)
    assert say("NORM", "SR", rules=healthy) == {"ecg_sinus_rhythm", "ecg_normal"}
    assert say("SR", rules=healthy) == {"ecg_sinus_rhythm", NORMAL}
    # Not everything was measured, or something was found by either.
    assert say("NORM", "SR", rules=("ecg_sinus_rhythm",)) == {"ecg_sinus_rhythm"}
    assert say("NORM", "IRBBB", rules=healthy) == {"ecg_sinus_rhythm", "ecg_incomplete_right_bundle_branch_block"}
    assert say("NORM", rules=("ecg_sinus_rhythm", "ecg_left_axis_deviation")) == {"ecg_sinus_rhythm", "ecg_left_axis_deviation"}


def test_a_critical_value_is_never_taken_away_and_stands_first() -> None:
    critical = [code for code in RULES if code.startswith("ecg_critical_")]
    assert critical
    taken = {code for step in precedence().steps if isinstance(step, Silence | Exclusion) for code in step.codes}
    assert not taken & set(critical)
    everything = interpret(RULES, dict.fromkeys(STATEMENTS, 0.9), RESTING)
    assert [said.code for said in everything.said][: len(critical)] == critical


def test_rules_alone_pass_unchanged_with_no_probability() -> None:
    found = interpret(("ecg_critical_bradycardia", CHILD), {}, {})
    assert [(said.code, said.probability) for said in found.said] == [("ecg_critical_bradycardia", None), (CHILD, None)]


def test_a_statement_of_both_carries_the_networks_probability_and_what_gave_way_is_told() -> None:
    found = interpret(("ecg_sinus_rhythm", "ecg_wide_qrs"), {"SR": 0.97, "CRBBB": 0.8}, {**RESTING, "ecg_qrs": 140.0})
    assert {said.code: said.probability for said in found.said} == {
        "ecg_sinus_rhythm": 0.97,
        "ecg_right_bundle_branch_block": 0.8,
    }
    assert found.silenced == {"ecg_wide_qrs": "ecg_right_bundle_branch_block"}


def test_no_contradiction_survives_whatever_is_said() -> None:
    chance = np.random.default_rng(5)
    for _ in range(1500):
        rules = [code for code in RULES if chance.random() < 0.25]
        network = {scp: float(chance.random()) for scp in STATEMENTS if chance.random() < 0.4}
        facts = {
            name: value
            for name, value in (
                ("ecg_heart_rate", chance.uniform(30, 200)),
                ("ecg_pr", chance.uniform(90, 300)),
                ("ecg_qrs", chance.uniform(80, 180)),
                ("ecg_axis_qrs", chance.uniform(-180, 180)),
                ("rr_range_ms", chance.uniform(0, 600)),
            )
            if chance.random() < 0.8
        }
        found = interpret(rules, network, facts)
        # The rules do not contradict themselves: what they made up here may.
        made_up = {pair for row in CONTRADICTIONS for pair in combinations(row, 2) if set(pair) <= set(rules)}
        assert not [pair for pair in contradictions_of(found) if pair not in made_up]
        codes = [said.code for said in found.said]
        assert len(codes) == len(set(codes))
        assert not set(codes) & set(found.silenced)
        if {"ecg_normal", NORMAL} & set(codes):
            assert set(codes) <= {"ecg_sinus_rhythm", "ecg_normal", NORMAL}


@pytest.mark.parametrize("region", regions())
def test_every_code_has_its_words_and_its_place(region: str) -> None:
    order = precedence().order
    assert len(order) == len(set(order))
    assert set(order) <= vocabulary().findings.keys()
    assert {statement.code for statement in rulebook(region).statements} | {NORMAL, CHILD} <= set(order)


def test_a_broken_order_is_refused(tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8")
    broken = tmp_path / "precedence.toml"
    for change in (('keep = "first"', 'keep = "best"'), ('code = "ecg_bigeminy"', 'code = "ecg_bigamy"'), ("scp = ", "spc = ")):
        broken.write_text(text.replace(*change), encoding="utf-8")
        precedence.cache_clear()
        with pytest.raises(BadRulebook):
            precedence(broken)
