"""Reads ``precedence.toml``: the written order in which statements of network and rules give way to each other."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from inference.ecg.rulebook import BadRulebook, Condition

FILE = Path(__file__).with_name("precedence.toml")


@dataclass(frozen=True, kw_only=True)
class Translation:
    """What a statement of the network is called here, and when it may be said."""

    scp: str
    code: str
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """Beside one of ``beside``, each of ``codes`` is said as ``code``."""

    codes: frozenset[str]
    code: str
    beside: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """One of the codes only."""

    codes: tuple[str, ...]
    keep: Literal["likeliest", "first"]


@dataclass(frozen=True, kw_only=True)
class Silence:
    """Where one of ``by`` is said, none of ``codes`` is."""

    by: frozenset[str]
    codes: frozenset[str]


Step = Replacement | Exclusion | Silence


@dataclass(frozen=True, kw_only=True)
class Normality:
    """What says that nothing is wrong: the network's word, the rules' word, and beside what they may stand."""

    network: str
    rules: str
    unremarkable: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Precedence:
    """Everything in ``precedence.toml``."""

    #: A shorter recording is not given to the network.
    shortest_seconds: float
    #: Codes that rules say only where the network was not asked.
    decides: frozenset[str]
    translations: tuple[Translation, ...]
    #: In the order of the file.
    steps: tuple[Step, ...]
    normality: Normality
    #: Codes in the order of the list.
    order: tuple[str, ...]


@cache
def precedence(file: Path = FILE) -> Precedence:
    """Read the order of precedence.

    Raises
    ------
    BadRulebook
        If a table is incomplete, or names a code that has no place in the order.
    """
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    try:
        read = Precedence(
            shortest_seconds=float(tables["network"]["shortest_seconds"]),
            decides=frozenset(tables["network"]["decides"]),
            translations=tuple(_translation(table) for table in tables["statement"]),
            steps=tuple(_step(table) for table in tables["step"]),
            normality=Normality(
                network=tables["normal"]["network"],
                rules=tables["normal"]["rules"],
                unremarkable=frozenset(tables["normal"]["unremarkable"]),
            ),
            order=tuple(tables["order"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRulebook(file, str(error)) from error
    homeless = sorted(_codes_of(read) - set(read.order))
    if homeless:
        raise BadRulebook(file, f"{', '.join(homeless)}: no place in the order")
    return read


def _translation(table: dict[str, Any]) -> Translation:
    return Translation(
        scp=table["scp"],
        code=table["code"],
        when=tuple(Condition(**condition) for condition in table.get("when", ())),
        unless=tuple(Condition(**condition) for condition in table.get("unless", ())),
    )


def _step(table: dict[str, Any]) -> Step:
    if "keep" in table:
        if table["keep"] not in ("likeliest", "first"):
            raise ValueError(f"keep = '{table['keep']}' is neither 'likeliest' nor 'first'")
        return Exclusion(codes=tuple(table["codes"]), keep=table["keep"])
    if "beside" in table:
        return Replacement(codes=frozenset(table["codes"]), code=table["code"], beside=frozenset(table["beside"]))
    return Silence(by=frozenset(table["by"]), codes=frozenset(table["codes"]))


def _codes_of(read: Precedence) -> set[str]:
    codes = (
        {translation.code for translation in read.translations} | {read.normality.network, read.normality.rules} | read.decides
    )
    for step in read.steps:
        codes |= set(step.codes)
        if isinstance(step, Replacement):
            codes |= {step.code} | step.beside
        if isinstance(step, Silence):
            codes |= step.by
    return codes
