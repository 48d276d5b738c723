"""One list out of what the rules and the network say, without contradictions, by the order of ``precedence.toml``.

What was taken away is kept beside the code that took it, so that a reader can see why it is not said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inference.ecg.precedence import Exclusion, Precedence, Replacement, Silence, Translation, precedence


@dataclass(frozen=True, kw_only=True)
class Said:
    """One statement of the list."""

    code: str
    #: The network's; None where only a rule over measurements says it.
    probability: float | None = None


@dataclass(frozen=True, kw_only=True)
class Interpretation:
    """What is said, and what is not and because of which other code."""

    said: tuple[Said, ...]
    silenced: Mapping[str, str]


def interpret(
    rules: Iterable[str],
    network: Mapping[str, float] | None,
    facts: Mapping[str, float],
    *,
    sex: str = "",
    order: Precedence | None = None,
) -> Interpretation:
    """Join the rules' codes with the network's statements, each over its operating point with its probability.

    ``network`` is None where it was not asked.
    ``facts`` are measurements and facts as the rules know them (``rules.toml``); they may forbid a statement of the network.
    """
    order = order or precedence()
    said: dict[str, float | None] = {code: None for code in rules if network is None or code not in order.decides}
    for translation in order.translations:
        probability = (network or {}).get(translation.scp)
        if probability is not None and _allowed(translation, facts, sex):
            said[translation.code] = max(probability, said.get(translation.code) or 0.0)
    silenced: dict[str, str] = {}
    for step in order.steps:
        match step:
            case Replacement():
                _replace(said, silenced, step)
            case Exclusion():
                _exclude(said, silenced, step)
            case Silence():
                cause = next((code for code in order.order if code in step.by and code in said), None)
                _drop(said, silenced, step.codes & said.keys(), cause)
    _settle_normality(said, silenced, order)
    places = {code: place for place, code in enumerate(order.order)}
    listed = sorted(said, key=lambda code: places.get(code, len(places)))
    return Interpretation(said=tuple(Said(code=code, probability=said[code]) for code in listed), silenced=silenced)


def _allowed(translation: Translation, facts: Mapping[str, float], sex: str) -> bool:
    return all(condition.holds(facts, sex) for condition in translation.when) and not any(
        condition.holds(facts, sex) for condition in translation.unless
    )


def _replace(said: dict[str, float | None], silenced: dict[str, str], step: Replacement) -> None:
    if step.beside & said.keys():
        for code in sorted(step.codes & said.keys()):
            said.pop(code)
            # The rate is measured, not the network's opinion.
            said[step.code] = None
            silenced[code] = step.code


def _exclude(said: dict[str, float | None], silenced: dict[str, str], step: Exclusion) -> None:
    present = [code for code in step.codes if code in said]
    if len(present) > 1:
        # What only a rule says has no probability and yields to the network; max keeps the first of equals.
        kept = present[0] if step.keep == "first" else max(present, key=lambda code: said[code] or 0.0)
        _drop(said, silenced, [code for code in present if code != kept], kept)


def _settle_normality(said: dict[str, float | None], silenced: dict[str, str], order: Precedence) -> None:
    normality = order.normality
    words = {normality.network, normality.rules}
    abnormal = [code for code in order.order if code in said and code not in normality.unremarkable | words]
    abnormal += [code for code in said if code not in order.order]
    if abnormal:
        _drop(said, silenced, words & said.keys(), abnormal[0])
    elif normality.network in said and normality.rules in said:
        _drop(said, silenced, [normality.rules], normality.network)
    else:
        # Nothing abnormal was found, but not everything was measured.
        _drop(said, silenced, {normality.network} & said.keys(), normality.network)


def _drop(said: dict[str, float | None], silenced: dict[str, str], codes: Iterable[str], cause: str | None) -> None:
    if cause is not None:
        for code in sorted(codes):
            del said[code]
            silenced[code] = cause
