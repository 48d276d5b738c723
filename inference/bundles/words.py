"""The words that a bundle brings under ``sumu.vocabulary``, checked as a doctor will meet them: on pages, in drafts, in DICOM."""

from __future__ import annotations

import json
import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inference.bundles.results import AREA_UNITS, VOLUME_UNITS
from inference.vocabulary.terms import (
    BadVocabulary,
    Concept,
    FindingTerm,
    MeasurementTerm,
    Vocabulary,
    of_the_house,
    words_from,
)
from models.bundle import Bundle
from models.bundle_fields import BundleRefused
from models.bundle_plan import ENGINE, plan_of
from models.bundle_results import Kind, findings_named, measurements_named

#: The database keeps so many letters of a code.
_CODE = re.compile(r"[a-z][a-z0-9_]{1,63}")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_README = "inference/vocabulary/README.md lists the fields; docs/models.md shows an example."


def check_words(bundle: Bundle, kept: Path) -> None:
    """Refuse a bundle that names a code without words, or whose words are incomplete; ``kept`` holds those of other bundles.

    Raises
    ------
    BundleRefused
        With the code and what it lacks.
    """
    brought = brought_by(bundle)
    known = {file.stem: words_from(file, json.loads(file.read_text(encoding="utf-8"))) for file in sorted(kept.glob("*.json"))}
    others = [of_the_house(), *(words for name, words in known.items() if name != bundle.name)]
    _not_taken(bundle, brought, others)
    for finding in brought.findings.values():
        _check_finding(bundle, finding)
    for measurement in brought.measurements.values():
        _check_measurement(bundle, measurement)
    if bundle.engine == ENGINE and set(brought.engines) != {bundle.name}:
        _refuse(bundle, bundle.name, "has no name for the pages", f'Add sumu.vocabulary.engine."{bundle.name}" with zh and en.')
    for engine in brought.engines.values():
        _check_names(bundle, engine.code, engine.zh, engine.en)
    findings = dict(ChainMap(*(dict(words.findings) for words in (*others, brought))))
    measurements = dict(ChainMap(*(dict(words.measurements) for words in (*others, brought))))
    named, numbers = set(bundle.labels), set[str]()
    if bundle.engine == ENGINE:
        results = plan_of(bundle).results
        named, numbers = findings_named(bundle, results), measurements_named(results)
    if missing := sorted((named - set(findings)) | (numbers - set(measurements))):
        raise BundleRefused(
            bundle.name,
            f"there are no words for {', '.join(missing)}",
            remedy=f"Add them under sumu.vocabulary. {_README}",
        )
    if bundle.engine == ENGINE:
        _check_units(bundle, measurements)


def brought_by(bundle: Bundle) -> Vocabulary:
    """Return the words that a bundle brings."""
    try:
        return words_from(Path("metadata.json"), tables_of(bundle))
    except BadVocabulary as error:
        raise BundleRefused(bundle.name, f"sumu.vocabulary in {error.args[0].rstrip('.')}", remedy=_README) from error


def tables_of(bundle: Bundle) -> Mapping[str, Any]:
    """Return the tables as they stand in the metadata."""
    tables = bundle.declared.get("vocabulary") or {}
    if not isinstance(tables, Mapping) or not all(isinstance(table, Mapping) for table in tables.values()):
        raise BundleRefused(bundle.name, "sumu.vocabulary is no object of objects", remedy=_README)
    return tables


def _not_taken(bundle: Bundle, brought: Vocabulary, others: Sequence[Vocabulary]) -> None:
    """Refuse a code that the house or another bundle gives a meaning already."""
    taken = {code for words in others for code in (*words.findings, *words.measurements, *words.reasons)}
    for code in (*brought.findings, *brought.measurements, *brought.reasons):
        if code in taken:
            _refuse(
                bundle, code, "has a meaning here already", "Use it as it is, without words of your own, or choose another code."
            )
        if not _CODE.fullmatch(code):
            _refuse(bundle, code, "is no code", "Use small letters, digits and underscores, 64 at most.")


def _check_finding(bundle: Bundle, term: FindingTerm) -> None:
    _check_names(bundle, term.code, term.zh, term.en)
    _check_concept(bundle, term.code, term.concept)
    for text in (term.sentence_zh, term.sentence_en):
        if not isinstance(text, str):
            _refuse(bundle, term.code, "has a sentence that is no text", _README)
    if term.sentence_zh and not _CHINESE.search(term.sentence_zh):
        _refuse(bundle, term.code, "has no Chinese in sentence_zh", "Write the sentence that the draft of a report shall say.")
    if bool(term.sentence_zh) != bool(term.sentence_en):
        _refuse(bundle, term.code, "has a sentence in one language alone", "Write both, or leave both empty.")


def _check_measurement(bundle: Bundle, term: MeasurementTerm) -> None:
    _check_names(bundle, term.code, term.zh, term.en)
    _check_concept(bundle, term.code, term.concept)
    texts = isinstance(term.unit, str) and isinstance(term.unit_meaning, str) and term.unit and term.unit_meaning
    if not texts or len(term.unit) > 16:
        _refuse(bundle, term.code, "has no unit", "Give unit in UCUM, as mL or 1, and unit_meaning in words.")
    if not isinstance(term.digits, int) or not 0 <= term.digits <= 6:
        _refuse(bundle, term.code, "has no digits", "Say how many digits after the point are shown, 0 to 6.")
    if not all(limit is None or isinstance(limit, int | float) for limit in (term.low, term.high)):
        _refuse(bundle, term.code, "has a limit that is no number", "Give low and high as numbers, or leave them out.")


def _check_names(bundle: Bundle, code: str, zh: object, en: object) -> None:
    if not isinstance(zh, str) or not _CHINESE.search(zh) or not isinstance(en, str) or not en.strip():
        _refuse(bundle, code, "lacks a name in Chinese or in English", "Give zh and en.")
    if isinstance(en, str) and (_CHINESE.search(en) or len(en) > 64):
        _refuse(bundle, code, "has an English name that is not English or is long", "Give 64 letters at most.")


def _check_concept(bundle: Bundle, code: str, concept: Concept) -> None:
    """Keep to the lengths of DICOM's elements (PS3.5 6.2: SH 16, LO 64; a long value goes into Long Code Value)."""
    for what, text, most in (("scheme", concept.scheme, 16), ("value", concept.value, 64), ("meaning", concept.meaning, 64)):
        if not isinstance(text, str) or not 0 < len(text) <= most:
            _refuse(bundle, code, f"has {what} = {text!r}", f"Give a text of 1 to {most} letters.")


def _check_units(bundle: Bundle, measurements: Mapping[str, MeasurementTerm]) -> None:
    plan = plan_of(bundle)
    units = VOLUME_UNITS if plan.dimensions == 3 else AREA_UNITS
    for result in plan.results:
        for quantity in result.quantities if result.kind is Kind.SEGMENTATION else ():
            if (unit := measurements[quantity.measurement].unit) not in units:
                _refuse(bundle, quantity.measurement, f"is told in {unit}", f"A mask is told in {', '.join(units)}.")


def _refuse(bundle: Bundle, code: str, problem: str, remedy: str) -> None:
    raise BundleRefused(bundle.name, f"'{code}' {problem}", remedy=remedy)
