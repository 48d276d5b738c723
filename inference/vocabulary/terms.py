"""Reads the word lists of the pre-reads and refuses a list that is incomplete."""

from __future__ import annotations

import json
import tomllib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
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


@dataclass(frozen=True, kw_only=True)
class EngineTerm:
    """What an added model's pre-read is called."""

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
    #: Of added models alone; pages know those of the house themselves.
    engines: Mapping[str, EngineTerm]


def vocabulary(folder: Path = FOLDER) -> Vocabulary:
    """Return the word lists of ``folder``; those of the house come with the words that added models brought.

    Raises
    ------
    BadVocabulary
        If a table is incomplete or a code stands in two files.
    """
    if folder != FOLDER or _brought_folder is None:
        return _shipped(folder)
    return _with_brought(_brought_folder, _changed_at(_brought_folder))


def of_the_house() -> Vocabulary:
    """Return the words that Sumu ships, without those of added models."""
    return _shipped(FOLDER)


def follow(brought: Path) -> None:
    """Let this process know the words in a folder of ``NAME.json``, which added models brought, now and as it changes."""
    global _brought_folder
    _brought_folder = brought


def words_from(file: Path, tables: Mapping[str, Any]) -> Vocabulary:
    """Return the words in the tables of one file.

    Raises
    ------
    BadVocabulary
        If a table is incomplete.
    """
    kinds: dict[str, dict[str, Any]] = {"finding": {}, "measurement": {}, "reason": {}, "engine": {}}
    if unknown := sorted(set(tables) - set(kinds)):
        raise BadVocabulary(file, unknown[0], f"is none of {', '.join(kinds)}")
    readers = (("finding", _finding), ("measurement", _measurement), ("reason", _reason), ("engine", _engine))
    for kind, read in readers:
        for code, fields in tables.get(kind, {}).items():
            if not isinstance(fields, dict):
                raise BadVocabulary(file, code, "is no table")
            kinds[kind][code] = read(file, code, fields)
    return Vocabulary(
        findings=kinds["finding"], measurements=kinds["measurement"], reasons=kinds["reason"], engines=kinds["engine"]
    )


#: Where added models left their words; None until a process says so.
_brought_folder: Path | None = None


@cache
def _shipped(folder: Path) -> Vocabulary:
    findings: dict[str, FindingTerm] = {}
    measurements: dict[str, MeasurementTerm] = {}
    reasons: dict[str, ReasonTerm] = {}
    for file in sorted(folder.glob("*.toml")):
        words = words_from(file, tomllib.loads(file.read_text(encoding="utf-8")))
        for shelf, terms in ((findings, words.findings), (measurements, words.measurements), (reasons, words.reasons)):
            for code, term in terms.items():
                _keep(shelf, code, term, file)
    return Vocabulary(findings=findings, measurements=measurements, reasons=reasons, engines={})


@lru_cache(maxsize=2)
def _with_brought(folder: Path, _: int) -> Vocabulary:
    """Return the house's words and the brought ones; no model changes a word of the house."""
    house = _shipped(FOLDER)
    brought = [words_from(file, json.loads(file.read_text(encoding="utf-8"))) for file in sorted(folder.glob("*.json"))]
    return Vocabulary(
        findings=dict(ChainMap(dict(house.findings), *(dict(one.findings) for one in brought))),
        measurements=dict(ChainMap(dict(house.measurements), *(dict(one.measurements) for one in brought))),
        reasons=dict(ChainMap(dict(house.reasons), *(dict(one.reasons) for one in brought))),
        engines=dict(ChainMap(*(dict(one.engines) for one in brought))),
    )


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _keep(shelf: dict[str, Any], code: str, term: Any, file: Path) -> None:
    if code in shelf:
        raise BadVocabulary(file, code, "stands in another file too")
    shelf[code] = term


def _finding(file: Path, code: str, fields: dict[str, Any]) -> FindingTerm:
    rest = {key: value for key, value in fields.items() if key not in ("scheme", "value", "meaning", "urgency")}
    if fields.get("urgency", "routine") not in tuple(Urgency):
        raise BadVocabulary(file, code, f"urgency is none of {', '.join(Urgency)}")
    urgency = Urgency(fields.get("urgency", "routine"))
    term: FindingTerm = _build(FindingTerm, file, code, rest, concept=_concept(file, code, fields), urgency=urgency)
    return term


def _measurement(file: Path, code: str, fields: dict[str, Any]) -> MeasurementTerm:
    rest = {key: value for key, value in fields.items() if key not in ("scheme", "value", "meaning")}
    term: MeasurementTerm = _build(MeasurementTerm, file, code, rest, concept=_concept(file, code, fields))
    return term


def _reason(file: Path, code: str, fields: dict[str, Any]) -> ReasonTerm:
    term: ReasonTerm = _build(ReasonTerm, file, code, fields)
    return term


def _engine(file: Path, code: str, fields: dict[str, Any]) -> EngineTerm:
    term: EngineTerm = _build(EngineTerm, file, code, fields)
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
