"""Whether the characters of a name are read as its Latin letters say: the strongest witness for a character set."""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

from pypinyin import Style, pinyin

from pacs_bridge.character_sets.surname_readings import surname_readings

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]")


class Agreement(Enum):
    """What the two groups of a name say of each other."""

    SAME = "same"
    DIFFERENT = "different"
    #: There is nothing to compare.
    SILENT = "silent"


def agreement(name: str) -> tuple[Agreement, int]:
    """Compare the alphabetic and the ideographic group of one PN value; with the number of characters compared."""
    groups = name.split("=")
    if len(groups) < 2:
        return Agreement.SILENT, 0
    latin = re.sub("[^a-z]", "", groups[0].lower().replace("ü", "v"))
    characters = _CHINESE.findall(groups[1])
    if not characters or not latin or not groups[0].isascii():
        return Agreement.SILENT, 0
    return (Agreement.SAME if _readable_as("".join(characters), latin) else Agreement.DIFFERENT), len(characters)


@lru_cache(maxsize=4096)
def _readable_as(characters: str, latin: str) -> bool:
    # The family name comes first, or last where a device has turned the name round.
    orders = [characters] + [characters[size:] + characters[:size] for size in (1, 2) if len(characters) > size]
    return any(_reaches(order, latin) for order in orders)


def _reaches(characters: str, latin: str) -> bool:
    ends = {0}
    for character in characters:
        ends = {end + len(sound) for end in ends for sound in _sounds(character) if latin.startswith(sound, end)}
    return len(latin) in ends


@lru_cache(maxsize=8192)
def _sounds(character: str) -> frozenset[str]:
    plain = {sound for sound in pinyin(character, style=Style.NORMAL, heteronym=True, v_to_u=False)[0] if sound.isascii()}
    plain.update(surname_readings().get(character, ()))
    # Passports write lü as LYU, machines as LV or LU.
    return frozenset(plain | {sound.replace("v", "u") for sound in plain} | {sound.replace("v", "yu") for sound in plain})
