"""Reads ``rules.toml``: every threshold of the ECG pre-read, each with its source, for a doctor to review."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import SumuError

FILE = Path(__file__).with_name("rules.toml")

_COMPARISONS = ("above", "at_least", "below", "at_most")


class BadRulebook(SumuError):
    """The rules cannot be used as they stand."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(f"{file.name}: {problem}.", remedy="Mend the table; the head of the file lists what it may hold.")


@dataclass(frozen=True, kw_only=True)
class QualityLimits:
    """When a lead or a recording is unfit."""

    shortest_seconds: float
    longest_seconds: float
    usable_share: float
    flat_uv: float
    clipped_seconds: float
    clipped_above_uv: float
    noise_above_hz: float
    noise_uv: float
    mains_uv: float
    wander_below_hz: float
    wander_uv: float
    wild_uv: float
    jumps_uv: float


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison of a fact; false when the fact could not be measured."""

    fact: str
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None
    #: ``M`` or ``F``: holds for this sex only; ``not_M``: for everybody else, unknown sex included.
    sex: str | None = None

    def holds(self, facts: Mapping[str, float], sex: str) -> bool:
        """Return whether the fact is known and lies where the condition wants it."""
        if self.sex is not None and (sex == "M" if self.sex == "not_M" else sex != self.sex):
            return False
        value = facts.get(self.fact)
        return value is not None and not (
            (self.above is not None and not value > self.above)
            or (self.at_least is not None and not value >= self.at_least)
            or (self.below is not None and not value < self.below)
            or (self.at_most is not None and not value <= self.at_most)
        )


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A code, and when it is said."""

    code: str
    #: Alternatives; each is a list of conditions that must all hold.
    when: tuple[tuple[Condition, ...], ...]
    #: Statements, already made, that forbid this one.
    unless: tuple[str, ...]
    source: str
    #: Said of children too, whose other limits differ.
    all_ages: bool = False
    #: A way of saying which rhythm it is: does not make the recording abnormal.
    unremarkable: bool = False


@dataclass(frozen=True, kw_only=True)
class Rulebook:
    """Everything in ``rules.toml``."""

    adult_from_years: int
    quality: QualityLimits
    #: In the order in which they are tried, with the critical values of one region first.
    statements: tuple[Statement, ...]
    #: What must have been measured before a recording may be called unremarkable.
    normal_needs: tuple[str, ...]


def regions(file: Path = FILE) -> tuple[str, ...]:
    """Names of the sets of critical values."""
    return tuple(tomllib.loads(file.read_text(encoding="utf-8"))["critical"])


@cache
def rulebook(region: str = "strictest", file: Path = FILE) -> Rulebook:
    """Read the rules with the critical values of a region.

    Raises
    ------
    BadRulebook
        If the region is unknown or a table is incomplete.
    """
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    if region not in tables["critical"]:
        raise BadRulebook(file, f"no critical values of '{region}'; there are {', '.join(tables['critical'])}")
    try:
        return Rulebook(
            adult_from_years=tables["adult_from_years"],
            quality=QualityLimits(**tables["quality"]),
            statements=tuple(_statement(table) for table in (*tables["critical"][region], *tables["statement"])),
            normal_needs=tuple(tables["normal_needs"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRulebook(file, str(error)) from error


def _statement(table: dict[str, Any]) -> Statement:
    alternatives = table["when"]
    if alternatives and isinstance(alternatives[0], dict):
        alternatives = [alternatives]
    rest = {key: value for key, value in table.items() if key not in ("when", "unless")}
    return Statement(
        when=tuple(tuple(_condition(condition) for condition in every) for every in alternatives),
        unless=tuple(table.get("unless", ())),
        **rest,
    )


def _condition(table: dict[str, Any]) -> Condition:
    if not any(comparison in table for comparison in _COMPARISONS):
        raise ValueError(f"the condition on '{table.get('fact')}' compares nothing")
    return Condition(**table)
