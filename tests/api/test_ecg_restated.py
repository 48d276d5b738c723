"""A draft's statements about intervals agree with the intervals that a doctor has measured."""

from __future__ import annotations

from typing import Any

import pytest

from api.draft_sentences import draft_of
from api.ecg_restated import restated
from core.lifecycles.preread import PreReadState
from core.tables import EcgMeasurement, Finding, Measurement, Patient, PreRead, Study, Verdict
from tests.api.ecg_house import beats_of_heart

MACHINE = {
    "ecg_heart_rate": 75.0,
    "ecg_pr": 160.0,
    "ecg_qrs": 90.0,
    "ecg_qt": 430.0,
    "ecg_qtc_bazett": 481.0,
    "ecg_qtc_fridericia": 463.0,
}
CALM = {"ecg_pr": 160.0, "ecg_qrs": 90.0, "ecg_qt": 380.0, "ecg_qtc_bazett": 425.0, "ecg_qtc_fridericia": 409.0}


def pre_read(**findings: Verdict | None) -> PreRead:
    """Return a pre-read of one recording with ``findings`` and what a doctor thinks of them."""
    patient = Patient(identifier="P1", name="白云", name_latin="bai yun", sex="F")
    return PreRead(
        engine="ecg",
        revision=1,
        state=PreReadState.READ,
        models=[],
        study=Study(study_instance_uid="1.2", patient=patient, age_years=60),
        evidence={"sop_instance_uid": "1.3", "beats": beats_of_heart(0.8, 0.16, 0.09, 0.38)},
        findings=[Finding(code=code, verdict=verdict) for code, verdict in findings.items()],
        measurements=[Measurement(code=code, value=value, sop_instance_uid="1.3") for code, value in MACHINE.items()],
    )


def measured(**values: float) -> EcgMeasurement:
    return EcgMeasurement(sop_instance_uid="1.3", lines={}, values={**CALM, **values})


def test_what_the_doctors_intervals_deny_is_not_said_any_more() -> None:
    read = pre_read(ecg_sinus_rhythm=None, ecg_prolonged_qtc=None)
    assert restated(read, measured()) == ["ecg_sinus_rhythm"]
    before, after = draft_of([read], "zh"), draft_of([read], "zh", {"1.3": measured()})
    assert "QTc 间期延长" in before.findings
    assert "QTc 间期延长" not in after.findings
    assert after.impression == "窦性心律"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"ecg_pr": 220.0}, "ecg_first_degree_av_block"),
        ({"ecg_pr": 104.0}, "ecg_short_pr"),
        ({"ecg_qrs": 132.0}, "ecg_wide_qrs"),
        ({"ecg_qtc_bazett": 490.0}, "ecg_prolonged_qtc"),
    ],
)
def test_what_the_doctors_intervals_show_is_said(values: dict[str, float], code: str) -> None:
    assert restated(pre_read(ecg_sinus_rhythm=None), measured(**values)) == ["ecg_sinus_rhythm", code]
    said = draft_of([pre_read(ecg_sinus_rhythm=None)], "en", {"1.3": measured(**values)})
    assert len(said.impression.splitlines()) == 2


def test_a_doctors_verdict_counts_more_than_the_rules() -> None:
    accepted = pre_read(ecg_sinus_rhythm=None, ecg_prolonged_qtc=Verdict.ACCEPTED)
    assert "ecg_prolonged_qtc" in restated(accepted, measured())
    struck = pre_read(ecg_sinus_rhythm=None, ecg_prolonged_qtc=Verdict.STRUCK)
    assert "ecg_prolonged_qtc" not in restated(struck, measured(ecg_qtc_bazett=490.0))


def test_statements_about_anything_else_stay() -> None:
    read = pre_read(ecg_atrial_fibrillation=None, ecg_left_axis_deviation=None)
    assert restated(read, measured()) == ["ecg_atrial_fibrillation", "ecg_left_axis_deviation"]


def test_a_critical_statement_stays_until_a_doctor_strikes_it() -> None:
    assert restated(pre_read(ecg_critical_wide_tachycardia=None), measured()) == ["ecg_critical_wide_tachycardia"]
    assert restated(pre_read(ecg_critical_wide_tachycardia=Verdict.STRUCK), measured()) == []


def test_a_child_gets_only_what_holds_at_all_ages() -> None:
    read: Any = pre_read(ecg_sinus_rhythm=None)
    read.study.age_years = 6
    assert restated(read, measured(ecg_pr=220.0)) == ["ecg_sinus_rhythm"]
