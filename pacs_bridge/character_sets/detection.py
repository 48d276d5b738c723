"""The detective: which character set explains the bytes of all text values of an instance best.

Every character set that the bytes allow is an explanation. Its weight is the chance of the decoded texts (names are
judged as names, other texts as examinations), times how often devices declare the one and write the other, times what
this device did before; "none of these" is an explanation too. What takes all but a hundredth of the weight is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, lru_cache

from pacs_bridge.character_sets.data_files import table
from pacs_bridge.character_sets.device_statistics import DeviceStatistics
from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.pinyin_agreement import Agreement, agreement
from pacs_bridge.character_sets.plausibility import LONGEST_JUDGED, chinese_name, noise, plausibility, shows_chinese, words_in
from pacs_bridge.character_sets.repertoires import (
    ESCAPE,
    GB18030_TWICE,
    Declared,
    Reading,
    escapes_in,
    parse_declared,
    plain_sets,
    read,
    read_as_declared,
    read_by_escapes,
    read_with_extensions,
    single_byte_sets,
    term_of_escape,
)
from pacs_bridge.character_sets.verdict import REPAIR_CONFIDENCE, Candidate, DecodedValue, Finding, Verdict

#: "None of these sets", against 0 for the declared one (log10).
NOISE_PRIOR = -3.0
#: A character read as its Latin letters say: of some four hundred syllables this one.
SAME_SOUND, OTHER_SOUND = 2.0, -1.5
#: A value cut inside a character at the limit of its VR, and elsewhere.
CUT_AT_LIMIT, CUT_ELSEWHERE = -1.0, -3.0
#: A value is of another set than the rest only if that is so much likelier.
LEAST_DISSENT = 4.0
#: The most that a declaration may lose and still be called right, when nothing else is sure.
AGREES_CONFIDENCE = 0.97
#: Texts, not names, that are so much likelier than bytes that mean nothing need no name and no word to be called Chinese.
CLEARLY_TEXT = 8.0
#: An instance with more different values that are not ASCII is left alone: no device writes it.
MOST_JUDGED = 5000
#: A character of GBK that GB2312 lacks: devices set to simplified Chinese seldom write one.
BEYOND_GB2312 = -1.0

#: The sets that a finding may name against the declaration. The others are read to hold a finding back: which of the scripts
#: of one byte a letter is meant, bytes alone do not tell.
_NAMEABLE = frozenset(("GB18030", "ISO_IR 192", "Big5", GB18030_TWICE))
#: Sets whose texts must show a sign of Chinese before they are named.
_CHINESE_SETS = frozenset(("GB18030", "Big5", GB18030_TWICE))
_LIMITS = {"SH": 16, "LO": 64, "PN": 64}
_AS_DECLARED = "as declared"
#: Devices from the West write their own texts so, beside the names that they are given.
_OF_WESTERN_DEVICES = "ISO_IR 100"


@dataclass(frozen=True, slots=True)
class _Explanation:
    """One character set over all values of a data set."""

    encoding: str
    readings: tuple[Reading | None, ...]
    scores: tuple[float, ...]
    prior: float
    #: A finding may name it: it is declared, called by escape sequences, or one of ``_NAMEABLE`` whose texts show what they are.
    nameable: bool
    #: The texts are what one reads who follows the declaration.
    as_declared: bool

    @property
    def complete(self) -> bool:
        return None not in self.readings

    @property
    def weight(self) -> float:
        return self.prior + sum(self.scores)


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
    if len(_distinct(elements)) > MOST_JUDGED:
        return _undecided(written, f"There are more than {MOST_JUDGED} different texts that are not ASCII.", ())
    explanations = _explanations(elements, sets, statistics)
    nothing = NOISE_PRIOR + sum(noise(_trimmed(element)) for element in _distinct(elements))
    complete = sorted((e for e in explanations if e.complete), key=lambda e: e.weight, reverse=True)
    shares = _shares([e.weight for e in complete] + [nothing])
    candidates = tuple(
        Candidate(encoding=e.encoding, confidence=share, sample=_sample(e))
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
    if best.as_declared and sets.family == "chinese" and not _shows_chinese(_distinct(elements), best.readings):
        return _undecided(written, "A value ends inside a character, and nothing shows that the text is Chinese.", candidates)
    prose = any(element.vr != "PN" for element in elements)
    named = best.nameable or (prose and best.encoding in _CHINESE_SETS and best.weight - nothing >= CLEARLY_TEXT)
    if confidence < REPAIR_CONFIDENCE or not named:
        return _undecided(written, "No character set explains the bytes well enough.", candidates)
    return _decided(elements, written, best, confidence, Finding.DISAGREES, _reason(elements, sets, best.encoding), candidates)


def _by_rule(elements: list[TextElement], written: str, sets: Declared, rule: str) -> Verdict:
    readings = tuple(_read_in(rule, element) for element in elements)
    if None in readings:
        return _undecided(written, f"The operator's rule says {rule}, but not every value can be read in it.", ())
    texts = tuple(reading.text for reading in readings if reading)
    as_declared = [read_as_declared(_trimmed(element), sets, is_name=element.vr == "PN") for element in elements]
    holds = tuple(reading.text if reading else None for reading in as_declared) == texts
    return Verdict(
        finding=Finding.AGREES if holds else Finding.DISAGREES,
        declared=written,
        found=written if holds else rule,
        confidence=1.0,
        values=_values(elements, dict(zip(map(_key, elements), zip(readings, [rule] * len(readings), strict=True), strict=True))),
        reason="" if holds else f"An operator ruled that this device's bytes are {rule}.",
        evidence=(f"Operator's rule: {rule}.",),
        candidates=(),
    )


def _explanations(elements: list[TextElement], sets: Declared, statistics: DeviceStatistics | None) -> list[_Explanation]:
    distinct = _distinct(elements)
    readers: dict[str, Callable[[TextElement], Reading | None]] = {
        _AS_DECLARED: lambda element: read_as_declared(_trimmed(element), sets, is_name=element.vr == "PN")
    }
    priors = {_AS_DECLARED: 0.0}
    escapes = [code for element in distinct for code in escapes_in(element.value)]
    if escapes:
        name = _name_of_escapes(sets, escapes)
        upper = next((code for code in escapes if code.startswith(b"$)")), None)
        readers[name] = lambda element: read_by_escapes(_trimmed(element), sets, upper)
        priors[name] = -1.0
    for encoding, prior in table("priors")[sets.family].items():
        readers[encoding] = lambda element, encoding=encoding: _read_in(encoding, element)  # type: ignore[misc]
        priors[encoding] = prior
    found: dict[tuple[str | None, ...], _Explanation] = {}
    for encoding, reader in readers.items():
        readings = tuple(reader(element) for element in distinct)
        if not any(readings):
            continue
        name = ("\\".join(sets.terms) if sets.misspelt else sets.written) if encoding == _AS_DECLARED else encoding
        prior = priors[encoding] + (statistics.shift(sets.written, name) if statistics else 0.0)
        # Sets that give the same texts are one explanation; the declared one, which comes first, stands for it.
        texts = tuple(reading.text if reading else None for reading in readings)
        if texts in found:
            continue
        simplified = name in ("GB18030", "GBK")
        scores = tuple(
            _score(element, reading, simplified=simplified) if reading else 0.0
            for element, reading in zip(distinct, readings, strict=True)
        )
        found[texts] = _Explanation(
            name, readings, scores, prior, _nameable(encoding, distinct, readings), encoding == _AS_DECLARED
        )
    return list(found.values())


def _nameable(encoding: str, elements: list[TextElement], readings: tuple[Reading | None, ...]) -> bool:
    if not any(reading is not None and not reading.text.isascii() for reading in readings):
        return False  # all that is not ASCII is a character cut off: no more than a stray byte
    if encoding in _CHINESE_SETS:
        return _shows_chinese(elements, readings)
    return encoding in _NAMEABLE or encoding not in _rivals()


def _shows_chinese(elements: list[TextElement], readings: tuple[Reading | None, ...]) -> bool:
    return any(
        shows_chinese(reading.text, is_name=element.vr == "PN")
        for element, reading in zip(elements, readings, strict=True)
        if reading is not None
    )


@cache
def _gb2312() -> frozenset[str]:
    pairs = (bytes((lead, trail)) for lead in range(0xB0, 0xF8) for trail in range(0xA1, 0xFF))
    return frozenset("".join(pair.decode("gb2312", "ignore") for pair in pairs))


@cache
def _rivals() -> frozenset[str]:
    return frozenset(encoding for row in table("priors").values() for encoding in row) - _NAMEABLE


def _score(element: TextElement, reading: Reading, *, simplified: bool) -> float:
    score = _chance(reading.text[:LONGEST_JUDGED], element.vr == "PN", simplified)
    if reading.truncated:
        limit = _LIMITS.get(element.vr)
        last = element.value.split(b"\\")[-1]
        score += CUT_AT_LIMIT if limit and limit - 1 <= len(last) <= limit else CUT_ELSEWHERE
    return score


@lru_cache(maxsize=8192)
def _chance(text: str, is_name: bool, simplified: bool) -> float:
    """Weigh one text; the instances of a series repeat theirs."""
    score = plausibility(text, is_name=is_name)
    if simplified:
        score += BEYOND_GB2312 * sum("\u3400" <= letter <= "\u9fff" and letter not in _gb2312() for letter in text)
    for name in text.split("\\") if is_name else ():
        outcome, characters = agreement(name)
        if outcome is Agreement.SAME:
            score += SAME_SOUND * characters
        elif outcome is Agreement.DIFFERENT:
            score += OTHER_SOUND
    return score


def _dissent(best: _Explanation, explanations: list[_Explanation]) -> bool:
    """Tell whether a single value speaks strongly for another set than the rest."""
    return any(
        other.readings[number] is not None and other.scores[number] - score >= LEAST_DISSENT
        for other in explanations
        if other is not best and (other.nameable or other.encoding == _OF_WESTERN_DEVICES)
        for number, score in enumerate(best.scores)
    )


def _by_value(elements: list[TextElement], written: str, sets: Declared, explanations: list[_Explanation]) -> Verdict | None:
    """Read each value in the set that explains it alone, or return None where one value leaves a doubt."""
    distinct = _distinct(elements)
    chosen: dict[tuple[str, bytes], tuple[Reading, str]] = {}
    least = 1.0
    for number, element in enumerate(distinct):
        able = sorted(
            (e for e in explanations if e.readings[number] is not None), key=lambda e: e.prior + e.scores[number], reverse=True
        )
        if not able:
            return None
        shares = _shares([e.prior + e.scores[number] for e in able] + [NOISE_PRIOR + noise(_trimmed(element))])
        reading = able[0].readings[number]
        cut_off = reading is None or (reading.truncated and reading.text.isascii())
        if shares[0] < REPAIR_CONFIDENCE or reading is None or cut_off or not able[0].nameable:
            return None
        least = min(least, shares[0])
        chosen[_key(element)] = (reading, able[0].encoding)
    encodings = [encoding for _, encoding in chosen.values()]
    names = sorted(set(encodings), key=encodings.count, reverse=True)
    return Verdict(
        finding=Finding.DISAGREES,
        declared=written,
        found=next((name for name in names if name != written), names[0]),
        confidence=least,
        values=_values(elements, chosen),
        reason=f"The values are in different character sets: {', '.join(name or 'none' for name in names)}.",
        evidence=tuple(f"{reading.text} ({encoding or 'as declared'})" for reading, encoding in chosen.values()),
        candidates=(),
    )


def _decided(
    elements: list[TextElement],
    written: str,
    best: _Explanation,
    confidence: float,
    finding: Finding,
    reason: str,
    candidates: tuple[Candidate, ...] = (),
) -> Verdict:
    chosen = {
        _key(element): (reading, best.encoding)
        for element, reading in zip(_distinct(elements), best.readings, strict=True)
        if reading is not None
    }
    return Verdict(
        finding=finding,
        declared=written,
        found=best.encoding,
        confidence=confidence,
        values=_values(elements, chosen),
        reason=reason,
        evidence=_evidence(_distinct(elements), best),
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


def _evidence(elements: list[TextElement], best: _Explanation) -> tuple[str, ...]:
    lines = []
    for element, reading in zip(elements, best.readings, strict=True):
        if reading is None:
            continue
        if reading.truncated:
            lines.append(f"'{reading.text}' ends inside a character.")
        if element.vr != "PN":
            lines += [f"'{word}' is a word of examinations." for word in words_in(reading.text)[:2]]
            continue
        for name in reading.text.split("\\"):
            if agreement(name)[0] is Agreement.SAME:
                lines.append(f"'{name}': the characters sound as the Latin letters.")
            lines += [f"'{group}' is a Chinese name." for group in name.split("=") if chinese_name(group) is not None]
    return tuple(lines[:8]) or (f"'{best.readings[0].text if best.readings[0] else ''}' is likely text.",)


def _reason(elements: list[TextElement], sets: Declared, found: str) -> str:
    if sets.unknown:
        return f"'{sets.written}' is no defined term; the bytes are {found}."
    if sets.misspelt:
        return f"'{sets.written}' is not how the standard writes it; the bytes are {found}."
    if sets.written == found and "ISO 2022 IR 58" in sets.terms:
        return f"Declared is {found}, but escape sequences are missing, or characters are not of that set."
    if sets.written == found:
        return f"Declared is {found}, but a value ends inside a character."
    readable = all(read_as_declared(_trimmed(element), sets, is_name=element.vr == "PN") for element in elements)
    said = sets.written or "no character set"
    if readable:
        return f"Declared is {said}, in which the bytes make no sense; in {found} they are text."
    if "ISO 2022 IR 58" in sets.terms:
        return f"Declared is {said}, but escape sequences are missing; the bytes are {found}."
    return f"Declared is {said}, in which the bytes cannot be read; they are {found}."


def _name_of_escapes(sets: Declared, escapes: list[bytes]) -> str:
    """Return the declaration that the escape sequences would need."""
    terms = [sets.terms[0] if sets.terms[0].startswith(("ISO_IR", "ISO 2022")) and sets.terms[0] in _with_extensions() else ""]
    for code in escapes:
        term = term_of_escape(code)
        if term not in terms and term != "ISO 2022 IR 6":
            terms.append(term)
    return "\\".join(terms)


def _with_extensions() -> tuple[str, ...]:
    return tuple(term.replace("ISO_IR", "ISO 2022 IR") for term in single_byte_sets())


def _read_in(encoding: str, element: TextElement) -> Reading | None:
    return read(_trimmed(element), encoding) if encoding in plain_sets() else read_with_extensions(_trimmed(element), encoding)


def _values(
    elements: list[TextElement],
    chosen: dict[tuple[str, bytes], tuple[Reading | None, str]] | dict[tuple[str, bytes], tuple[Reading, str]],
) -> tuple[DecodedValue, ...]:
    values = []
    for element in elements:
        reading, encoding = chosen[_key(element)]
        if reading is not None:
            values.append(
                DecodedValue(
                    path=element.path,
                    vr=element.vr,
                    raw=element.value,
                    text=reading.text,
                    encoding=encoding,
                    truncated=reading.truncated,
                )
            )
    return tuple(values)


def _distinct(elements: list[TextElement]) -> list[TextElement]:
    """Return one element for each different value: a name that stands five times speaks once."""
    return list({_key(element): element for element in reversed(elements)}.values())[::-1]


def _key(element: TextElement) -> tuple[str, bytes]:
    return element.vr, element.value


def _trimmed(element: TextElement) -> bytes:
    """Return the value without its padding (PS3.5 6.2)."""
    return element.value.rstrip(b" \x00")


def _shares(weights: list[float]) -> list[float]:
    """Turn weights (log10) into shares of 1."""
    highest = max(weights)
    parts = [10 ** (weight - highest) for weight in weights]
    return [part / sum(parts) for part in parts]


def _sample(explanation: _Explanation) -> tuple[str, ...]:
    return tuple(reading.text[:40] for reading in explanation.readings[:3] if reading)
