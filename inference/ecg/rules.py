"""Statements out of measurements, by the thresholds of ``rules.toml``."""

from __future__ import annotations

from collections.abc import Sequence

from inference.ecg.measure import Measures
from inference.ecg.rulebook import Rulebook, Statement

NORMAL = "ecg_normal_measurements"
CHILD = "ecg_child_not_judged"


def statements_of(measures: Measures, rules: Rulebook, *, sex: str = "", age_years: int | None = None) -> tuple[str, ...]:
    """Return the codes of what can be stated, in the order of the rules.

    A child gets only what holds at all ages; an unknown age counts as grown up, for most devices leave it out.
    """
    child = age_years is not None and age_years < rules.adult_from_years
    made: list[Statement] = []
    for statement in rules.statements:
        if child and not statement.all_ages:
            continue
        if not {other.code for other in made} & set(statement.unless) and _holds(statement, measures, sex):
            made.append(statement)
    codes = [statement.code for statement in made]
    if child:
        return (*codes, CHILD)
    if _unremarkable(made, measures, rules):
        codes.append(NORMAL)
    return tuple(codes)


def _holds(statement: Statement, measures: Measures, sex: str) -> bool:
    facts = {**measures.facts, **measures.values}
    return any(all(condition.holds(facts, sex) for condition in every) for every in statement.when)


def _unremarkable(made: Sequence[Statement], measures: Measures, rules: Rulebook) -> bool:
    """A rhythm was named, nothing else was said, and everything that could have been abnormal was measured."""
    return bool(made) and all(statement.unremarkable for statement in made) and set(rules.normal_needs) <= measures.values.keys()
