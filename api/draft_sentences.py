"""Sentences that an empty report starts from: what the engines found and no doctor has struck, in the county's words.

They are shown in the editor and are nobody's report until a doctor saves them under their own name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from api.ecg_measuring import holding_values
from api.ecg_restated import restated
from api.ecg_words import number_in_words
from api.preread_words import latest, term_of
from api.radiograph_sentences import calm_impression, impression_of, said_of
from api.reports import ReportText
from core.lifecycles.preread import PreReadState
from core.tables import EcgMeasurement, PreRead, Urgency, Verdict
from inference.ecg_report_object import numbers_of
from inference.vocabulary.terms import FindingTerm

#: Numbers that a report names; the panel shows all.
_TOLD = ("ecg_heart_rate", "ecg_pr", "ecg_qrs", "ecg_qt", "ecg_qtc_bazett", "ecg_axis_qrs")


def draft_of(pre_reads: Sequence[PreRead], language: str, measured: Mapping[str, EcgMeasurement] | None = None) -> ReportText:
    """Return the words that the newest pre-reads suggest; empty when nothing was read.

    ``measured`` are the doctors' own measurements by recording: their intervals stand in the place of the machine's, and what
    was said about the machine's is said of theirs or not at all.
    """
    measured = measured or {}
    read = [one for one in latest(pre_reads) if one.state is PreReadState.READ]
    told = [said_of(one, language) for one in read]
    replaced = frozenset[str]().union(*(one.replaced for one in told))
    # A term without a sentence is for the reader's eyes alone and never becomes a draft's word.
    terms = [term for term in _standing(read, measured) if _sentence(term, language) and term.code not in replaced]
    lines = [line for one in read if (line := _measurements(one, language, measured))]
    findings = [*lines, *(line for one in told for line in one.findings), *(_sentence(term, language) for term in terms)]
    by_code = {code: one for one in read for code in _codes(one, measured)}
    impression = [impression_of(by_code[term.code], term, language) for term in terms]
    impression += [line for one in told for line in one.impression]
    if not impression:
        impression = [line for one, said in zip(read, told, strict=True) if (line := calm_impression(one, said, language))]
    numbered = [f"{number}. {name}" for number, name in enumerate(impression, 1)] if len(impression) > 1 else impression
    return ReportText(findings="\n".join(findings), impression="\n".join(numbered))


def words_from_engines(pre_reads: Sequence[PreRead], text: ReportText) -> bool:
    """Return whether a report's words contain a sentence or a name that an engine's finding suggested."""
    written = text.findings + text.impression
    terms = [term for one in latest(pre_reads) for finding in one.findings if (term := term_of(finding.code))]
    said = {words for term in terms for words in (term.sentence_zh, term.sentence_en, term.zh, term.en)}
    told = [said_of(one, language) for one in latest(pre_reads) for language in ("zh", "en")]
    said |= {words for one in told for words in (*one.findings, *one.impression, *one.calm)}
    return any(words and words in written for words in said)


def _standing(read: Sequence[PreRead], measured: Mapping[str, EcgMeasurement]) -> list[FindingTerm]:
    """Return the findings not struck, most urgent first; that all is normal is said only when nothing else is."""
    codes = dict.fromkeys(code for one in read for code in _codes(one, measured))
    terms = [term for code in codes if (term := term_of(code))]
    abnormal = [term for term in terms if not term.normal]
    return sorted(abnormal or terms, key=lambda term: Urgency(term.urgency).rank)


def _codes(pre_read: PreRead, measured: Mapping[str, EcgMeasurement]) -> list[str]:
    row = measured.get(_recording(pre_read))
    if row is not None:
        return restated(pre_read, row)
    return [finding.code for finding in pre_read.findings if finding.verdict is not Verdict.STRUCK]


def _recording(pre_read: PreRead) -> str:
    """Return the recording that a draft's numbers are of: the first."""
    return next((row.sop_instance_uid for row in pre_read.measurements if row.sop_instance_uid), "")


def _sentence(term: FindingTerm, language: str) -> str:
    return term.sentence_zh if language == "zh" else term.sentence_en


def _measurements(pre_read: PreRead, language: str, measured: Mapping[str, EcgMeasurement]) -> str:
    values = holding_values(numbers_of(pre_read), measured.get(_recording(pre_read)))
    numbers = [number_in_words(code, values[code], language) for code in _TOLD if code in values]
    comma, stop = ("，", "。") if language == "zh" else (", ", ".")
    return comma.join(numbers) + stop if numbers else ""
