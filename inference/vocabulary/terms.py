"""Reads the word lists of the pre-reads and refuses a list that is incomplete."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import SumuError

FOLDER = Path(__file__).parent


class Urgency(StrEnum):
    """How soon a person should look."""

    CRITICAL = "critical"
    URGENT = "urgent"
    ROUTINE = "routine"


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A DICOM code (PS3.3 8.8): scheme designator, value, meaning."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True, kw_only=True)
class FindingTerm:
    """What a finding is called and what it asks of the reader."""

    code: str
    zh: str
    en: str
    urgency: Urgency
    concept: Concept
    sentence_zh: str
    sentence_en: str
    normal: bool = False


@dataclass(frozen=True, kw_only=True)
class MeasurementTerm:
    """What a number is called, its unit (UCUM) and the usual limits of an adult."""

    code: str
    zh: str
    en: str
    unit: str
    unit_meaning: str
    digits: int
    concept: Concept
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReasonTerm:
    """Why something was not read."""

    code: str
    zh: str
    en: str


class BadVocabulary(SumuError):
    """A word list lacks a field, or two lists use one code."""

    def __init__(self, file: Path, code: str, problem: str) -> None:
        super().__init__(f"{file.name}: '{code}': {problem}.", remedy="Mend the table; README.md beside it lists the fields.")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """All words, by code."""

    findings: Mapping[str, FindingTerm]
    measurements: Mapping[str, MeasurementTerm]
    reasons: Mapping[str, ReasonTerm]


@cache
def vocabulary(folder: Path = FOLDER) -> Vocabulary:
    """Read every word list in ``folder``.

    Raises
    ------
    BadVocabulary
        If a table is incomplete or a code stands in two files.
    """
    findings: dict[str, FindingTerm] = {}
    measurements: dict[str, MeasurementTerm] = {}
    reasons: dict[str, ReasonTerm] = {}
    for file in sorted(folder.glob("*.toml")):
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        for code, fields in tables.get("finding", {}).items():
            _keep(findings, code, _finding(file, code, fields), file)
        for code, fields in tables.get("measurement", {}).items():
            _keep(measurements, code, _measurement(file, code, fields), file)
        for code, fields in tables.get("reason", {}).items():
            _keep(reasons, code, _build(ReasonTerm, file, code, fields), file)
    return Vocabulary(findings=findings, measurements=measurements, reasons=reasons)


def _keep(shelf: dict[str, Any], code: str, term: Any, file: Path) -> None:
    if code in shelf:
        raise BadVocabulary(file, code, "stands in another file too")
    shelf[code] = term


def _finding(file: Path, code: str, fields: dict[str, Any]) -> FindingTerm:
    rest = {key: value for key, value in fields.items() if key not in ("scheme", "value", "meaning", "urgency")}
    urgency = Urgency(fields.get("urgency", "routine"))
    term: FindingTerm = _build(FindingTerm, file, code, rest, concept=_concept(file, code, fields), urgency=urgency)
    return term


def _measurement(file: Path, code: str, fields: dict[str, Any]) -> MeasurementTerm:
    rest = {key: value for key, value in fields.items() if key not in ("scheme", "value", "meaning")}
    term: MeasurementTerm = _build(MeasurementTerm, file, code, rest, concept=_concept(file, code, fields))
    return term


def _concept(file: Path, code: str, fields: dict[str, Any]) -> Concept:
    parts: dict[str, Any] = {key: fields[key] for key in ("scheme", "value", "meaning") if key in fields}
    concept: Concept = _build(Concept, file, code, parts, named=False)
    return concept


def _build(kind: Any, file: Path, code: str, fields: dict[str, Any], *, named: bool = True, **more: Any) -> Any:
    try:
        return kind(code=code, **fields, **more) if named else kind(**fields, **more)
    except TypeError as error:
        raise BadVocabulary(file, code, str(error).split("()", 1)[-1].strip()) from error
