"""Patient's names (PS3.5 6.2): as a person writes them, and in Latin letters for search."""

from __future__ import annotations

from pydicom.valuerep import PersonName
from pypinyin import Style, lazy_pinyin


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
    return " ".join(lazy_pinyin(written_name(name), style=Style.NORMAL)).lower().strip()


def _has_chinese(text: str) -> bool:
    return any("\u3400" <= letter <= "\u9fff" or "\U00020000" <= letter <= "\U0003ffff" for letter in text)
