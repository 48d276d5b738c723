"""The character sets that the bytes of an instance allow, each of them an explanation with its weight.

The weight is the chance of the decoded texts (names are judged as names, other texts as examinations), times how often
devices declare the one and write the other, times what this device did before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache

from pacs_bridge.character_sets.data_files import table
from pacs_bridge.character_sets.device_statistics import DeviceStatistics
from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.pinyin_agreement import Agreement, agreement
from pacs_bridge.character_sets.plausibility import LONGEST_JUDGED, plausibility, shows_chinese
from pacs_bridge.character_sets.repertoires import (
    GB18030_TWICE,
    Declared,
    Reading,
    escapes_in,
    plain_sets,
    read,
    read_as_declared,
    read_by_escapes,
    read_with_extensions,
    single_byte_sets,
    term_of_escape,
)
from pacs_bridge.character_sets.text_values import distinct, trimmed

#: A character read as its Latin letters say: of some four hundred syllables this one.
SAME_SOUND, OTHER_SOUND = 2.0, -1.5
#: A value cut inside a character at the limit of its VR, and elsewhere.
CUT_AT_LIMIT, CUT_ELSEWHERE = -1.0, -3.0
#: A character of GBK that GB2312 lacks: devices set to simplified Chinese seldom write one.
BEYOND_GB2312 = -1.0

#: The sets that a finding may name against the declaration. The others are read to hold a finding back: which of the scripts
#: of one byte a letter is meant, bytes alone do not tell.
_NAMEABLE = frozenset(("GB18030", "ISO_IR 192", "Big5", GB18030_TWICE))
#: Sets whose texts must show a sign of Chinese before they are named.
CHINESE_SETS = frozenset(("GB18030", "Big5", GB18030_TWICE))
_LIMITS = {"SH": 16, "LO": 64, "PN": 64}
_AS_DECLARED = "as declared"


@dataclass(frozen=True, slots=True)
class Explanation:
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
        """Whether it reads every value."""
        return None not in self.readings

    @property
    def weight(self) -> float:
        """Of all values together (log10)."""
        return self.prior + sum(self.scores)


def explain(elements: list[TextElement], sets: Declared, statistics: DeviceStatistics | None) -> list[Explanation]:
    """Return what explains at least one of the values; sets that give the same texts are one."""
    values = distinct(elements)
    readers: dict[str, Callable[[TextElement], Reading | None]] = {
        _AS_DECLARED: lambda element: read_as_declared(trimmed(element), sets, is_name=element.vr == "PN")
    }
    priors = {_AS_DECLARED: 0.0}
    escapes = [code for element in values for code in escapes_in(element.value)]
    if escapes:
        name = _name_of_escapes(sets, escapes)
        upper = next((code for code in escapes if code.startswith(b"$)")), None)
        readers[name] = lambda element: read_by_escapes(trimmed(element), sets, upper)
        priors[name] = -1.0
    for encoding, prior in table("priors")[sets.family].items():
        readers[encoding] = lambda element, encoding=encoding: read_in(encoding, element)  # type: ignore[misc]
        priors[encoding] = prior
    found: dict[tuple[str | None, ...], Explanation] = {}
    for encoding, reader in readers.items():
        readings = tuple(reader(element) for element in values)
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
            for element, reading in zip(values, readings, strict=True)
        )
        found[texts] = Explanation(name, readings, scores, prior, _nameable(encoding, values, readings), encoding == _AS_DECLARED)
    return list(found.values())


def any_shows_chinese(elements: list[TextElement], readings: tuple[Reading | None, ...]) -> bool:
    """Return whether one of the readings is Chinese for certain."""
    return any(
        shows_chinese(reading.text, is_name=element.vr == "PN")
        for element, reading in zip(elements, readings, strict=True)
        if reading is not None
    )


def read_in(encoding: str, element: TextElement) -> Reading | None:
    """Return a value in one character set; None where its bytes are none of it."""
    return read(trimmed(element), encoding) if encoding in plain_sets() else read_with_extensions(trimmed(element), encoding)


def _nameable(encoding: str, elements: list[TextElement], readings: tuple[Reading | None, ...]) -> bool:
    if not any(reading is not None and not reading.text.isascii() for reading in readings):
        return False  # all that is not ASCII is a character cut off: no more than a stray byte
    if encoding in CHINESE_SETS:
        return any_shows_chinese(elements, readings)
    return encoding in _NAMEABLE or encoding not in _rivals()


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
