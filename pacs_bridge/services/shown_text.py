"""Text as a device can show it: in its own character set, and in pinyin where that has no place for a character."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pypinyin import lazy_pinyin

from pacs_bridge.character_sets.surname_readings import compound_surnames
from pacs_bridge.services.data_sets import TEXT_VRS, as_text

#: PS3.5 6.1.2.3: without Specific Character Set, and as first of several, it is ISO 646.
_ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
_EXTENSIONS = ("ISO 2022 IR 58", "ISO 2022 IR 149", "ISO 2022 IR 87", "ISO 2022 IR 159")
#: PS3.5 6.2: characters that a value may have.
_LENGTHS = {"SH": 16, "LO": 64, "CS": 16, "AE": 16, "ST": 1024, "LT": 10240}


def character_set_for(identifier: Dataset, device_character_set: str) -> str:
    """Return the Specific Character Set of answers: UTF-8 where the device asks in it, else what it can show."""
    asked = identifier.get("SpecificCharacterSet")
    if asked == "ISO_IR 192":
        return "ISO_IR 192"
    # A set of several bytes with code extensions stands second (PS3.5 6.1.2.4).
    return f"\\{device_character_set}" if device_character_set in _EXTENSIONS else device_character_set


def declare(answer: Dataset, character_set: str) -> None:
    """Write Specific Character Set (0008,0005) into an answer; text in ISO 646 alone needs none (PS3.3 C.12.1.1.2)."""
    if character_set in _ASCII:
        return
    terms = character_set.split("\\")
    answer.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]


def shown(text: str, character_set: str) -> str:
    """Return ``text`` with everything that ``character_set`` cannot hold in pinyin, plain letters or question marks."""
    pieces: list[str] = []
    for foreign, run in groupby(text, lambda letter: not _holds(letter, character_set)):
        written = "".join(run)
        pieces.append(_spelled(written, character_set) if foreign else written)
    return "".join(pieces).strip()


def show(answer: Dataset, character_set: str) -> None:
    """Make every text of an answer, of items too, one that the device can show, and declare its character set."""
    for element in answer.iterall():
        if element.VR in TEXT_VRS and element.value:
            element.value = shown_value(element.keyword, as_text(element.value), character_set)
    declare(answer, character_set)


def shown_value(keyword: str, text: str, character_set: str) -> str:
    """Return text for an element, no longer than its representation allows (PS3.5 6.2)."""
    length = _LENGTHS.get(dictionary_VR(keyword) if keyword else "", 1 << 16)
    parts = re.split(r"([\^=])", text) if keyword and dictionary_VR(keyword) == "PN" else [text]
    return "".join(shown(part, character_set) for part in parts)[:length].strip()


def person_name(name: str, latin: str, character_set: str = "ISO_IR 192") -> str:
    """Return a patient's row as a PN value (PS3.5 6.2.1): Latin letters first, then the characters where they can be shown.

    Parameters
    ----------
    name, latin
        As :mod:`pacs_bridge.patient_names` gives them: 欧阳修 and ``ou yang xiu``.
    """
    if not any(_is_chinese(letter) for letter in name):
        written = name if all(_holds(letter, character_set) for letter in name) else latin.upper()
        family, _, given = written.partition(" ")
        return shown(f"{family}^{given}".rstrip("^"), character_set)
    characters = "".join(name.split())
    size = 0 if "·" in characters else 2 if characters[:2] in compound_surnames() and len(characters) > 2 else 1
    syllables = latin.upper().split()
    # The device's own spelling has its parts, and pinyin made from the characters one syllable for each of them.
    first = max(size, 1) if len(syllables) == len(characters) else 1
    alphabetic = f"{' '.join(syllables[:first])}^{' '.join(syllables[first:])}".rstrip("^")
    parts = [part for part in (characters[:size], characters[size:]) if part]
    if not any(_holds(letter, character_set) for letter in characters if _is_chinese(letter)):
        return shown(alphabetic, character_set)
    ideographic = "^".join(shown(part, character_set) for part in parts)
    return f"{shown(alphabetic, character_set)}={ideographic}"


def _spelled(foreign: str, character_set: str) -> str:
    """Return letters that a character set does not hold in others that it does; pinyin stands by itself between spaces."""
    if any(_is_chinese(letter) for letter in foreign):
        return f" {' '.join(lazy_pinyin(foreign, errors=lambda rest: _plain(rest, character_set)))} "
    return _plain(foreign, character_set)


def _plain(letters: str, character_set: str) -> str:
    decomposed = unicodedata.normalize("NFKD", letters)
    kept = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return "".join(letter if _holds(letter, character_set) else "?" for letter in kept)


def _is_chinese(letter: str) -> bool:
    return "\u3400" <= letter <= "\u9fff" or "\uf900" <= letter <= "\ufaff" or "\U00020000" <= letter <= "\U0003ffff"


def _holds(letter: str, character_set: str) -> bool:
    if letter.isascii():
        return True
    for codec in _codecs(character_set):
        try:
            letter.encode(codec)
        except UnicodeEncodeError:
            continue
        return True
    return False


@cache
def _codecs(character_set: str) -> tuple[str, ...]:
    # pydicom calls GB2312 by a codec name of its own.
    return tuple(
        "gb2312" if term.endswith("IR 58") else python_encoding[term]
        for term in character_set.split("\\")
        if term not in _ASCII and term in python_encoding
    )
