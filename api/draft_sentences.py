"""Sentences that an empty report starts from: what the engines found and no doctor has struck, in the county's words.

They are shown in the editor and are nobody's report until a doctor saves them under their own name.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.preread_words import in_words, latest, term_of
from api.reports import ReportText
from core.lifecycles.preread import PreReadState
from core.tables import PreRead, Urgency, Verdict
from inference.vocabulary.terms import FindingTerm

#: Numbers that a report names; the panel shows all.
_TOLD = ("ecg_heart_rate", "ecg_pr", "ecg_qrs", "ecg_qt", "ecg_qtc_bazett", "ecg_axis_qrs")


def draft_of(pre_reads: Sequence[PreRead], language: str) -> ReportText:
    """Return the words that the newest pre-reads suggest; empty when nothing was read."""
    read = [one for one in latest(pre_reads) if one.state is PreReadState.READ]
    # A term without a sentence is for the reader's eyes alone and never becomes a draft's word.
    terms = [term for term in _standing(read) if _sentence(term, language)]
    measured = [line for one in read if (line := _measurements(one, language))]
    findings = [*measured, *(_sentence(term, language) for term in terms)]
    impression = [(term.zh if language == "zh" else term.en) for term in terms]
    numbered = [f"{number}. {name}" for number, name in enumerate(impression, 1)] if len(impression) > 1 else impression
    return ReportText(findings="\n".join(findings), impression="\n".join(numbered))


def words_from_engines(pre_reads: Sequence[PreRead], text: ReportText) -> bool:
    """Return whether a report's words contain a sentence or a name that an engine's finding suggested."""
    written = text.findings + text.impression
    terms = [term for one in latest(pre_reads) for finding in one.findings if (term := term_of(finding.code))]
    said = {words for term in terms for words in (term.sentence_zh, term.sentence_en, term.zh, term.en)}
    return any(words and words in written for words in said)


def _standing(read: Sequence[PreRead]) -> list[FindingTerm]:
    """Return the findings not struck, most urgent first; that all is normal is said only when nothing else is."""
    codes = dict.fromkeys(finding.code for one in read for finding in one.findings if finding.verdict is not Verdict.STRUCK)
    terms = [term for code in codes if (term := term_of(code))]
    abnormal = [term for term in terms if not term.normal]
    return sorted(abnormal or terms, key=lambda term: Urgency(term.urgency).rank)


def _sentence(term: FindingTerm, language: str) -> str:
    return term.sentence_zh if language == "zh" else term.sentence_en


def _measurements(pre_read: PreRead, language: str) -> str:
    told = {one.code: one for one in reversed(in_words(pre_read, language).measurements)}  # a study's first recording counts
    comma, stop = ("，", "。") if language == "zh" else (", ", ".")
    numbers = [f"{one.name} {one.value} {one.unit}".rstrip().replace(" °", "°") for code in _TOLD if (one := told.get(code))]
    return comma.join(numbers) + stop if numbers else ""
