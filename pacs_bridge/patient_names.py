"""Patient's names (PS3.5 6.2): as a person writes them, in Latin letters, and as somebody who searches may type them."""

from __future__ import annotations

import re
import unicodedata

from pydicom.valuerep import PersonName
from pypinyin import Style, lazy_pinyin, pinyin

from pacs_bridge.character_sets.surname_readings import compound_surnames, surname_readings

#: More readings of one name than these are not kept: those of the surname come first.
MOST_READINGS = 8

#: What stands between the parts of a name: caret and equals of PN, spaces, and the dots of Mongolian, Uyghur and Tibetan names.
_SEPARATORS = re.compile(r"[\s^=·•‧・･.,，。、_/\\\-]+")
_CHINESE_RUN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")


def written_name(value: PersonName | str) -> str:
    """Return the name as its bearer writes it: the ideographic group, else the alphabetic one, without carets."""
    name = PersonName(value) if isinstance(value, str) else value
    group = (name.ideographic or name.alphabetic).replace("\x00", "")
    separator = "" if _has_chinese(group) else " "
    return separator.join(part for part in group.strip().split("^") if part).strip()


def latin_name(value: PersonName | str) -> str:
    """Return the name in lower-case Latin letters; pinyin without tones where the device sent Chinese alone."""
    name = PersonName(value) if isinstance(value, str) else value
    if name.alphabetic and not _has_chinese(name.alphabetic):
        return " ".join(part for part in name.alphabetic.split("^") if part).lower().strip()
    return " ".join(_syllables(written_name(name))).lower().strip()


def search_words(name: str, latin: str) -> str:
    """Return a text in which everything that may be typed to find the name stands as a part.

    Parameters
    ----------
    name, latin
        As ``written_name`` and ``latin_name`` give them.

    Returns
    -------
    str
        Words in lower case, separated by spaces: the name with and without its spaces and dots; where it is Chinese its
        pinyin without tones, by syllable and in one word, and its initials, for every usual reading of the surname; the
        Latin name, by part and in one word, in both orders, and its initials. Compare with ``normalise_query``.
    """
    words: dict[str, None] = {}
    for form in (normalise_query(name), normalise_query(latin)):
        parts = form.split()
        # Devices write the family name first or last.
        for order in (parts, parts[::-1]) if len(parts) == 2 else (parts,):
            words[" ".join(order)] = None
            words["".join(order)] = None
        if parts and not _has_chinese(form) and len(parts) > 1:
            words["".join(part[0] for part in parts)] = None
    for syllables in _readings(name):
        for spelling in _spellings(syllables):
            words[" ".join(spelling)] = None
            words["".join(spelling)] = None
        words["".join(syllable[0] for syllable in syllables)] = None
    return " ".join(word for word in words if word)


def normalise_query(text: str) -> str:
    """Return what somebody typed in the form of ``search_words``.

    Lower case, full-width letters made plain, accents and tone marks of Latin letters removed, every separator of name parts
    one space. Each word of it stands in the text of the name that is sought.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("u:", "v").replace("'", "").replace("’", "")
    decomposed = unicodedata.normalize("NFD", folded)
    kept: list[str] = []
    for letter in decomposed:
        # Vowels of Tibetan and breves of Cyrillic letters are marks too, and belong to the name.
        if unicodedata.combining(letter) and kept and "a" <= kept[-1] <= "z":
            continue
        kept.append(letter)
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFC", "".join(kept))).strip()


def _syllables(name: str) -> list[str]:
    """Return the pinyin of a name, its surname read as a surname; what is not Chinese stays."""
    readings = _readings(name)
    if readings:
        return readings[0]
    return [part for part in lazy_pinyin(name, style=Style.NORMAL) if part.strip()]


def _readings(name: str) -> list[list[str]]:
    """Return the readings of a Chinese name, the likeliest first; none if it is not written in Chinese characters alone."""
    characters = _SEPARATORS.sub("", name)
    if not _CHINESE_RUN.fullmatch(characters):
        return []
    # A name with a dot is one of another people in Chinese characters: it has no surname.
    size = 0 if "·" in name else 2 if characters[:2] in compound_surnames() and len(characters) > 2 else 1
    given = lazy_pinyin(characters[size:], style=Style.NORMAL) if characters[size:] else []
    return [[*family, *given] for family in _family_readings(characters[:size])] + _other_readings(characters, size, given)


def _family_readings(family: str) -> list[list[str]]:
    if not family:
        return [[]]
    usual = pinyin(family, style=Style.NORMAL, heteronym=True)
    if len(family) == 2:
        special = list(compound_surnames()[family])
        plain = lazy_pinyin(family, style=Style.NORMAL)
        return [special, plain] if special and special != plain else [plain]
    known = list(surname_readings().get(family, ()))
    others = [sound for sound in usual[0] if sound not in known and sound.isascii()]
    return [[sound] for sound in (known + others)[:MOST_READINGS]] or [[sound] for sound in usual[0][:1]]


def _other_readings(characters: str, size: int, given: list[str]) -> list[list[str]]:
    """Return readings in which one character of the given name has its second sound."""
    family = _family_readings(characters[:size])[0]
    readings = []
    for place, sounds in enumerate(pinyin(characters[size:], style=Style.NORMAL, heteronym=True)):
        other = next((sound for sound in sounds if sound != given[place] and sound.isascii()), None)
        if other is not None:
            readings.append([*family, *given[:place], other, *given[place + 1 :]])
    return readings[:MOST_READINGS]


def _spellings(syllables: list[str]) -> list[list[str]]:
    """Return a reading with ü as machines (v), those without the key (u) and passports (yu) write it."""
    if not any("v" in syllable for syllable in syllables):
        return [syllables]
    return [[syllable.replace("v", vowel) for syllable in syllables] for vowel in ("v", "u", "yu")]


def _has_chinese(text: str) -> bool:
    return any("\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff" for letter in text)
