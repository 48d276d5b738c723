"""Statements about PR, QRS and QT, said anew where a doctor has measured them: a draft does not contradict its own numbers."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from api.ecg_measuring import MEASURED, holding_values
from core.tables import EcgMeasurement, PreRead, Urgency, Verdict
from inference.ecg.rulebook import Rulebook, Statement, rulebook
from inference.ecg_report_object import numbers_of
from inference.vocabulary.terms import vocabulary

#: What is known of a recording beside its numbers, for the rules: the share of beats with a P wave.
_P_SHARE = "p_share"
_KNOWN = {*MEASURED, "ecg_heart_rate", _P_SHARE}


def restated(pre_read: PreRead, measured: EcgMeasurement) -> list[str]:
    """Return the codes that stand of an ECG pre-read beside a doctor's measurement of its recording.

    A statement that rests on the measured intervals alone is said where they make it true, and not where they do not; what a
    doctor has struck stays unsaid, what a doctor has accepted stays said. A critical one stays until a doctor strikes it.
    """
    struck = {finding.code for finding in pre_read.findings if finding.verdict is Verdict.STRUCK}
    kept = {finding.code for finding in pre_read.findings if finding.verdict is Verdict.ACCEPTED}
    said = [finding.code for finding in pre_read.findings if finding.code not in struck]
    rules = rulebook()
    resting = {statement.code for statement in rules.statements if _rests_on_lines(statement)}
    standing = [code for code in said if code not in resting or code in kept or _is_critical(code)]
    true = [code for code in _true(pre_read, measured, rules, standing) if code not in struck]
    return list(dict.fromkeys([*standing, *true]))


def _rests_on_lines(statement: Statement) -> bool:
    """Return whether each of its alternatives asks for a measured interval and for nothing that is not known here."""
    return all(
        any(condition.fact in MEASURED for condition in every) and all(condition.fact in _KNOWN for condition in every)
        for every in statement.when
    )


def _true(pre_read: PreRead, measured: EcgMeasurement, rules: Rulebook, standing: Collection[str]) -> list[str]:
    study, facts = pre_read.study, _facts(pre_read, measured)
    is_child = study.age_years is not None and study.age_years < rules.adult_from_years
    made: list[str] = []
    for statement in rules.statements:
        if not _rests_on_lines(statement) or (is_child and not statement.all_ages):
            continue
        forbidden = {*made, *standing} & set(statement.unless)
        if not forbidden and any(all(one.holds(facts, study.patient.sex) for one in every) for every in statement.when):
            made.append(statement.code)
    return made


def _facts(pre_read: PreRead, measured: EcgMeasurement) -> Mapping[str, float]:
    facts = holding_values(numbers_of(pre_read), measured)
    beats = pre_read.evidence.get("beats") or []
    if beats:
        facts[_P_SHARE] = sum(beat.get("p_on") is not None for beat in beats) / len(beats)
    return facts


def _is_critical(code: str) -> bool:
    term = vocabulary().findings.get(code)
    return term is not None and Urgency(term.urgency) is Urgency.CRITICAL
