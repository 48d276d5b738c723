"""The detective: which character set explains the bytes of all text values of an instance best.

Every character set that the bytes allow is an explanation, with its weight; "none of these" is an explanation too. What
takes all but a hundredth of the weight is found.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from pacs_bridge.character_sets.device_statistics import DeviceStatistics
from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.explanations import CHINESE_SETS, Explanation, any_shows_chinese, explain, read_in
from pacs_bridge.character_sets.plausibility import noise
from pacs_bridge.character_sets.repertoires import ESCAPE, Declared, Reading, parse_declared, read_as_declared
from pacs_bridge.character_sets.text_values import decoded_values, distinct, key_of, trimmed
from pacs_bridge.character_sets.verdict import REPAIR_CONFIDENCE, Candidate, Finding, Verdict
from pacs_bridge.character_sets.wording import evidence_of, reason_for, sample_of

#: "None of these sets", against 0 for the declared one (log10).
NOISE_PRIOR = -3.0
#: A value is of another set than the rest only if that is so much likelier.
LEAST_DISSENT = 4.0
#: The most that a declaration may lose and still be called right, when nothing else is sure.
AGREES_CONFIDENCE = 0.97
#: Texts, not names, that are so much likelier than bytes that mean nothing need no name and no word to be called Chinese.
CLEARLY_TEXT = 8.0
#: An instance with more different values that are not ASCII is left alone: no device writes it.
MOST_JUDGED = 5000
#: Devices from the West write their own texts so, beside the names that they are given.
_OF_WESTERN_DEVICES = "ISO_IR 100"


def detect(elements: Iterable[TextElement], declared: str, *, statistics: DeviceStatistics | None = None) -> Verdict:
    """Compare Specific Character Set (0008,0005) with the bytes of all text values (PS3.5 6.1, PS3.3 C.12.1.1.2).

    Parameters
    ----------
    elements
        Every PN, LO, SH, ST, LT, UC and UT of the data set, those of nested items too, as ``text_elements`` gives them.
    declared
        Specific Character Set of the data set as written, values separated by a backslash; empty where none is.
    statistics
        What the device did before, and an operator's rule for it.
    """
    suspicious = [element for element in elements if not element.value.isascii() or ESCAPE in element.value]
    if not suspicious:
        return _plain(declared)
    groups: dict[str, list[TextElement]] = {}
    for element in suspicious:
        groups.setdefault(declared if element.declared is None else element.declared, []).append(element)
    verdicts = [_judge(group, said, statistics) for said, group in groups.items()]
    return verdicts[0] if len(verdicts) == 1 and declared in groups else _together(verdicts, declared)


@lru_cache(maxsize=256)
def _plain(declared: str) -> Verdict:
    return Verdict(
        finding=Finding.PLAIN,
        declared=declared,
        found=declared,
        confidence=1.0,
        values=(),
        reason="",
        evidence=("Every text is ASCII.",),
        candidates=(),
    )


def _together(verdicts: list[Verdict], declared: str) -> Verdict:
    """Join the verdicts on items that declare character sets of their own; one that is undecided decides."""
    order = [Finding.UNDECIDED, Finding.DISAGREES, Finding.AGREES]
    worst = min(verdicts, key=lambda verdict: (order.index(verdict.finding), verdict.confidence))
    undecided = worst.finding is Finding.UNDECIDED
    return Verdict(
        finding=worst.finding,
        declared=declared,
        found=worst.found,
        confidence=min(verdict.confidence for verdict in verdicts),
        values=() if undecided else tuple(value for verdict in verdicts for value in verdict.values),
        reason=worst.reason,
        evidence=tuple(line for verdict in verdicts for line in verdict.evidence),
        candidates=worst.candidates,
    )


def _judge(elements: list[TextElement], written: str, statistics: DeviceStatistics | None) -> Verdict:
    sets = parse_declared(written)
    if statistics is not None and statistics.rule is not None:
        return _by_rule(elements, written, sets, statistics.rule)
    if len(distinct(elements)) > MOST_JUDGED:
        return _undecided(written, f"There are more than {MOST_JUDGED} different texts that are not ASCII.", ())
    explanations = explain(elements, sets, statistics)
    nothing = NOISE_PRIOR + sum(noise(trimmed(element)) for element in distinct(elements))
    complete = sorted((e for e in explanations if e.complete), key=lambda e: e.weight, reverse=True)
    shares = _shares([e.weight for e in complete] + [nothing])
    candidates = tuple(
        Candidate(encoding=e.encoding, confidence=share, sample=sample_of(e))
        for e, share in zip(complete[:4], shares, strict=False)
    )
    if not complete or _dissent(complete[0], explanations):
        mixed = _by_value(elements, written, sets, explanations)
        if mixed is not None:
            return mixed
        return _undecided(
            written,
            "The values are not all in one character set." if complete else "No character set that Sumu knows reads all values.",
            candidates,
        )
    best, confidence = complete[0], shares[0]
    cut = any(reading.truncated for reading in best.readings if reading)
    if best.as_declared and not sets.unknown and not sets.misspelt and not cut:
        rivals = _shares([e.weight for e in complete if e is best or e.nameable])
        if rivals[0] >= AGREES_CONFIDENCE:
            return _decided(elements, written, best, max(confidence, rivals[0]), Finding.AGREES, "")
        return _undecided(written, "Other character sets read the bytes nearly as well as the declared one.", candidates)
    if best.as_declared and sets.family == "chinese" and not any_shows_chinese(distinct(elements), best.readings):
        return _undecided(written, "A value ends inside a character, and nothing shows that the text is Chinese.", candidates)
    prose = any(element.vr != "PN" for element in elements)
    named = best.nameable or (prose and best.encoding in CHINESE_SETS and best.weight - nothing >= CLEARLY_TEXT)
    if confidence < REPAIR_CONFIDENCE or not named:
        return _undecided(written, "No character set explains the bytes well enough.", candidates)
    return _decided(elements, written, best, confidence, Finding.DISAGREES, reason_for(elements, sets, best.encoding), candidates)


def _by_rule(elements: list[TextElement], written: str, sets: Declared, rule: str) -> Verdict:
    readings = tuple(read_in(rule, element) for element in elements)
    if None in readings:
        return _undecided(written, f"The operator's rule says {rule}, but not every value can be read in it.", ())
    texts = tuple(reading.text for reading in readings if reading)
    as_declared = [read_as_declared(trimmed(element), sets, is_name=element.vr == "PN") for element in elements]
    holds = tuple(reading.text if reading else None for reading in as_declared) == texts
    return Verdict(
        finding=Finding.AGREES if holds else Finding.DISAGREES,
        declared=written,
        found=written if holds else rule,
        confidence=1.0,
        values=decoded_values(
            elements, dict(zip(map(key_of, elements), zip(readings, [rule] * len(readings), strict=True), strict=True))
        ),
        reason="" if holds else f"An operator ruled that this device's bytes are {rule}.",
        evidence=(f"Operator's rule: {rule}.",),
        candidates=(),
    )


def _dissent(best: Explanation, explanations: list[Explanation]) -> bool:
    """Tell whether a single value speaks strongly for another set than the rest."""
    return any(
        other.readings[number] is not None and other.scores[number] - score >= LEAST_DISSENT
        for other in explanations
        if other is not best and (other.nameable or other.encoding == _OF_WESTERN_DEVICES)
        for number, score in enumerate(best.scores)
    )


def _by_value(elements: list[TextElement], written: str, sets: Declared, explanations: list[Explanation]) -> Verdict | None:
    """Read each value in the set that explains it alone, or return None where one value leaves a doubt."""
    chosen: dict[tuple[str, bytes], tuple[Reading, str]] = {}
    least = 1.0
    for number, element in enumerate(distinct(elements)):
        able = sorted(
            (e for e in explanations if e.readings[number] is not None), key=lambda e: e.prior + e.scores[number], reverse=True
        )
        if not able:
            return None
        shares = _shares([e.prior + e.scores[number] for e in able] + [NOISE_PRIOR + noise(trimmed(element))])
        reading = able[0].readings[number]
        cut_off = reading is None or (reading.truncated and reading.text.isascii())
        if shares[0] < REPAIR_CONFIDENCE or reading is None or cut_off or not able[0].nameable:
            return None
        least = min(least, shares[0])
        chosen[key_of(element)] = (reading, able[0].encoding)
    encodings = [encoding for _, encoding in chosen.values()]
    names = sorted(set(encodings), key=encodings.count, reverse=True)
    return Verdict(
        finding=Finding.DISAGREES,
        declared=written,
        found=next((name for name in names if name != written), names[0]),
        confidence=least,
        values=decoded_values(elements, chosen),
        reason=f"The values are in different character sets: {', '.join(name or 'none' for name in names)}.",
        evidence=tuple(f"{reading.text} ({encoding or 'as declared'})" for reading, encoding in chosen.values()),
        candidates=(),
    )


def _decided(
    elements: list[TextElement],
    written: str,
    best: Explanation,
    confidence: float,
    finding: Finding,
    reason: str,
    candidates: tuple[Candidate, ...] = (),
) -> Verdict:
    chosen = {
        key_of(element): (reading, best.encoding)
        for element, reading in zip(distinct(elements), best.readings, strict=True)
        if reading is not None
    }
    return Verdict(
        finding=finding,
        declared=written,
        found=best.encoding,
        confidence=confidence,
        values=decoded_values(elements, chosen),
        reason=reason,
        evidence=evidence_of(distinct(elements), best),
        candidates=candidates,
    )


def _undecided(written: str, reason: str, candidates: tuple[Candidate, ...]) -> Verdict:
    return Verdict(
        finding=Finding.UNDECIDED,
        declared=written,
        found="",
        confidence=candidates[0].confidence if candidates else 0.0,
        values=(),
        reason=reason,
        evidence=tuple(f"{c.encoding or 'none'}: {', '.join(c.sample)}" for c in candidates),
        candidates=candidates,
    )


def _shares(weights: list[float]) -> list[float]:
    """Turn weights (log10) into shares of 1."""
    highest = max(weights)
    parts = [10 ** (weight - highest) for weight in weights]
    return [part / sum(parts) for part in parts]
