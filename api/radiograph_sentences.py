"""What a draft says of a radiograph: its measurements in sentences held as data, its findings as possibilities.

It says what was measured to be normal, and never that an image is: the networks do not know everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.tables import PreRead, Verdict
from inference.vocabulary.draft_sentences import Sentence, draft_sentences
from inference.vocabulary.terms import FindingTerm, vocabulary


@dataclass(frozen=True, kw_only=True)
class Said:
    """The draft's words of one pre-read's measurements."""

    findings: Sequence[str] = ()
    impression: Sequence[str] = ()
    #: For an impression when nothing was found.
    calm: Sequence[str] = ()
    #: Findings whose own sentence is not said.
    replaced: frozenset[str] = frozenset()


def said_of(pre_read: PreRead, language: str) -> Said:
    """Return the sentences whose conditions hold; nothing for an engine whose drafts have none."""
    known = draft_sentences(pre_read.engine)
    if known is None:
        return Said()
    values = {number.code: number.value for number in reversed(pre_read.measurements)}  # the first of a code counts
    spoken = {finding.code for finding in pre_read.findings if finding.verdict is not Verdict.STRUCK}
    image = _measured_image(pre_read)
    held: dict[str, Sentence] = {}
    for sentence in known.sentences:
        if sentence.about not in held and _holds(sentence, values, spoken, image):
            held[sentence.about] = sentence
    return Said(
        findings=[_told(sentence.words.of(language), sentence, values) for sentence in held.values()],
        impression=[_told(words, sentence, values) for sentence in held.values() if (words := sentence.impression.of(language))],
        calm=[_told(words, sentence, values) for sentence in held.values() if (words := sentence.calm.of(language))],
        replaced=frozenset(code for sentence in held.values() for code in sentence.instead_of),
    )


def impression_of(pre_read: PreRead, term: FindingTerm, language: str) -> str:
    """Return how an impression names a finding: a network's finding is a possibility, a rule's stands as it is."""
    name = term.zh if language == "zh" else term.en
    known = draft_sentences(pre_read.engine)
    if known is None or term.normal:
        return name
    return known.impressions.get(term.code, known.impression).of(language).format(name=name)


def calm_impression(pre_read: PreRead, said: Said, language: str) -> str:
    """Return the impression where nothing was found, of what was measured to be normal; empty where that is nothing."""
    known = draft_sentences(pre_read.engine)
    if known is None or not said.calm:
        return ""
    return known.calm.of(language).format(said=("，" if language == "zh" else ", ").join(said.calm))


def _measured_image(pre_read: PreRead) -> Mapping[str, Any]:
    """Return the evidence of the image whose numbers speak for the study."""
    uid = next((number.sop_instance_uid for number in pre_read.measurements if number.code == "cardiothoracic_ratio"), None)
    chests = (pre_read.evidence or {}).get("cardiothoracic", ())
    return next((chest for chest in chests if chest["sop_instance_uid"] == uid), {})


def _holds(sentence: Sentence, values: Mapping[str, float], spoken: set[str], image: Mapping[str, Any]) -> bool:
    if sentence.measure and (sentence.measure not in values or not sentence.suits(values[sentence.measure])):
        return False
    if sentence.projections and image.get("projection") not in sentence.projections:
        return False
    if sentence.caution and sentence.caution not in image.get("cautions", ()):
        return False
    return sentence.with_finding is None or sentence.with_finding in spoken


def _told(words: str, sentence: Sentence, values: Mapping[str, float]) -> str:
    if sentence.measure is None:
        return words
    digits = vocabulary().measurements[sentence.measure].digits
    return words.format(value=f"{values[sentence.measure]:.{digits}f}")
