"""What a verdict says of itself: a reason for the person, and the words and names that speak for it."""

from __future__ import annotations

from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.explanations import Explanation
from pacs_bridge.character_sets.pinyin_agreement import Agreement, agreement
from pacs_bridge.character_sets.plausibility import chinese_name, words_in
from pacs_bridge.character_sets.repertoires import Declared, read_as_declared
from pacs_bridge.character_sets.text_values import trimmed


def reason_for(elements: list[TextElement], sets: Declared, found: str) -> str:
    """Return why the bytes are not what is declared, in one sentence."""
    if sets.unknown:
        return f"'{sets.written}' is no defined term; the bytes are {found}."
    if sets.misspelt:
        return f"'{sets.written}' is not how the standard writes it; the bytes are {found}."
    if sets.written == found and "ISO 2022 IR 58" in sets.terms:
        return f"Declared is {found}, but escape sequences are missing, or characters are not of that set."
    if sets.written == found:
        return f"Declared is {found}, but a value ends inside a character."
    readable = all(read_as_declared(trimmed(element), sets, is_name=element.vr == "PN") for element in elements)
    said = sets.written or "no character set"
    if readable:
        return f"Declared is {said}, in which the bytes make no sense; in {found} they are text."
    if "ISO 2022 IR 58" in sets.terms:
        return f"Declared is {said}, but escape sequences are missing; the bytes are {found}."
    return f"Declared is {said}, in which the bytes cannot be read; they are {found}."


def evidence_of(elements: list[TextElement], best: Explanation) -> tuple[str, ...]:
    """Return what speaks for an explanation, at most eight lines."""
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


def sample_of(explanation: Explanation) -> tuple[str, ...]:
    """Return the first readings, for a person to look at."""
    return tuple(reading.text[:40] for reading in explanation.readings[:3] if reading)
