"""How likely a text is as text: log10 of its chance under coarse models of names, examinations and scripts.

The character set in which the bytes read as the most likely text is the best explanation of them. All figures are
log10 of chances; those of letters come from the tables, those of this module judge how letters stand together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache

from pacs_bridge.character_sets.data_files import letters_by_share, table
from pacs_bridge.character_sets.pinyin_agreement import Agreement, agreement

#: One ASCII letter, digit or sign, the same in every explanation.
ASCII = -1.3
#: One byte of 0x80 and above, if it means nothing at all; and one ESC.
NOISE, NOISE_ESCAPE = -2.1, -6.0
#: A word of the vocabulary, whatever its length.
WORD = -3.0
#: A character that no table knows: in a table of GB2312 or Big5, and beyond the Basic Multilingual Plane.
RARE_CHARACTER = -6.3
#: A given-name character that no table knows.
RARE_GIVEN = -4.7
COMPOUND_SURNAME = -3.5
#: A second script in one value.
MIXED_SCRIPTS = -3.5
#: A lower-case Latin letter that touches a Chinese character, in a name and elsewhere.
TOUCHING_IN_NAME, TOUCHING = -2.0, -0.7
#: A capital after a small letter.
CAPITAL_INSIDE = -1.5
#: An accented letter after an accented letter, and after two of them; one that touches no plain letter.
ACCENT_AFTER_ACCENT, ACCENTS_IN_A_ROW, ACCENT_ALONE = -0.8, -1.8, -1.0
#: A letter of another script that touches a plain Latin letter; a sign in a name.
SCRIPT_TOUCHING, SIGN_IN_NAME = -1.0, -1.5
#: A surname at least so common is a sign of Chinese by itself, a rarer one with given-name characters at least so common.
COMMON_SURNAME, COMMON_GIVEN = -3.0, -3.7
#: One of the thirty surnames that half of the country bears, and a character that is not rare.
USUAL_SURNAME, USUAL_CHARACTER = -2.0, -4.5
#: Mean of characters of running Chinese text, and how many make a mean.
COMMON_TEXT, ENOUGH_CHARACTERS = -3.4, 6
#: Letters that nobody expects.
STRANGE = -5.0
#: Longer texts are judged by their beginning.
LONGEST_JUDGED = 600

_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
_SIGNS_OF_NAMES = "·\u3000•-'"
_SEPARATORS = re.compile(r"[\^ ·.•]+")


@dataclass(frozen=True, slots=True)
class _Place:
    script: str
    log10: float


def plausibility(text: str, *, is_name: bool) -> float:
    """Return log10 of the chance of a text."""
    text = text[:LONGEST_JUDGED]
    return _names(text) if is_name else _text(text, is_name=False)


def noise(value: bytes) -> float:
    """Return log10 of the chance of bytes that mean nothing."""
    value = value[: 2 * LONGEST_JUDGED]
    high = sum(byte >= 0x80 for byte in value)
    escapes = value.count(b"\x1b")
    return high * NOISE + escapes * NOISE_ESCAPE + (len(value) - high - escapes) * ASCII


def chinese_name(group: str) -> float | None:
    """Return log10 of the chance of one component group as a Chinese name, None where it is not two to four characters."""
    letters = _SEPARATORS.sub("", group)
    if not 2 <= len(letters) <= 4 or not _CHINESE.fullmatch(letters):
        return None
    best = None
    for size in (1, 2):
        family, given = letters[:size], letters[size:]
        chance = _surnames().get(family) if size == 1 else None
        if family in _compound_surnames() and given:
            chance = COMPOUND_SURNAME
        if chance is not None and len(given) <= 3:
            chance += sum(_given().get(letter, RARE_GIVEN) for letter in given)
            best = chance if best is None else max(best, chance)
    return best


def shows_chinese(text: str, *, is_name: bool) -> bool:
    """Tell whether a text shows that it is Chinese: a word, a likely name, one that sounds as its Latin group, common letters."""
    text = text[:LONGEST_JUDGED]
    if words_in(text):
        return True
    if is_name:
        names = text.split("\\")
        groups = [group for name in names for group in name.split("=")]
        return any(agreement(name)[0] is Agreement.SAME for name in names) or any(_is_likely_name(group) for group in groups)
    letters = "".join(_CHINESE.findall(text))
    if len(letters) < ENOUGH_CHARACTERS or len(letters) * 2 < len(text):
        return False
    return sum(_characters().get(letter, RARE_CHARACTER) for letter in letters) / len(letters) >= COMMON_TEXT


def _is_likely_name(group: str) -> bool:
    letters = _SEPARATORS.sub("", group)
    if chinese_name(group) is None:
        return False
    if letters[:2] in _compound_surnames():
        return True
    given = letters[1:]
    unusual = sum(_given().get(letter, RARE_GIVEN) < COMMON_GIVEN for letter in given)
    surname = _surnames().get(letters[0], RARE_CHARACTER)
    usual = all(_characters().get(letter, RARE_CHARACTER) >= USUAL_CHARACTER or letter in _given() for letter in given)
    if surname >= USUAL_SURNAME and len(given) <= 2 and usual:
        return True
    if unusual == 1 and len(given) == 2:
        return surname >= COMMON_SURNAME and all(letter in _given() for letter in given)
    return unusual == 0


def words_in(text: str) -> list[str]:
    """Return the words of the vocabulary of two letters and more that stand in a text."""
    return [word for run in _CHINESE.findall(text[:LONGEST_JUDGED]) for word, known in _segments(run) if known and len(word) > 1]


def _names(text: str) -> float:
    total = 0.0
    for number, name in enumerate(text.split("\\")):
        for place, group in enumerate(name.split("=")):
            total += ASCII * bool(number or place)
            as_text = _text(group, is_name=True)
            as_name = chinese_name(group)
            if as_name is not None:
                as_name += ASCII * sum(letter.isascii() for letter in group)
            total += as_text if as_name is None else max(as_text, as_name)
    return total


def _text(text: str, *, is_name: bool) -> float:
    if text.isascii():
        return ASCII * len(text)
    total = 0.0
    scripts: set[str] = set()
    touching = TOUCHING_IN_NAME if is_name else TOUCHING
    position = 0
    for run in _CHINESE.finditer(text):
        total += _other(text, position, run.start(), scripts, is_name=is_name)
        total += sum(WORD if known else _characters().get(piece, RARE_CHARACTER) for piece, known in _segments(run.group()))
        for neighbour in (run.start() - 1, run.end()):
            if 0 <= neighbour < len(text) and text[neighbour].isascii() and text[neighbour].islower():
                total += touching
        scripts.add("chinese")
        position = run.end()
    total += _other(text, position, len(text), scripts, is_name=is_name)
    # Japanese is written in kana and Chinese characters; Korean and Chinese stand side by side in a name's groups only.
    distinct = len(scripts - ({"kana"} if "chinese" in scripts else set()))
    return total + MIXED_SCRIPTS * max(0, distinct - 1)


def _other(text: str, start: int, end: int, scripts: set[str], *, is_name: bool) -> float:
    """Judge the stretch of a text that holds no Chinese characters."""
    total = 0.0
    accents = 0
    for position in range(start, end):
        letter = text[position]
        if letter < "\x80":
            total += ASCII
            accents = 0
            continue
        place = _place(letter)
        total += place.log10
        if not place.script:
            total += SIGN_IN_NAME if is_name and letter not in _SIGNS_OF_NAMES else 0.0
            accents = 0
            continue
        if place.script not in scripts:
            scripts.add(place.script)
            total += _entries()[place.script]
        before = text[position - 1] if position else " "
        after = text[position + 1] if position + 1 < len(text) else " "
        if letter.isupper() and before.islower():
            total += CAPITAL_INSIDE
        if place.script == "hangul":
            total += _korean().get(letter, place.log10) - place.log10
        if place.script != "latin":
            total += SCRIPT_TOUCHING * (_plain(before) + _plain(after))
            continue
        accents += 1
        if accents > 1:
            total += ACCENT_AFTER_ACCENT if accents == 2 else ACCENTS_IN_A_ROW
        elif not (_plain(before) or _plain(after)):
            total += ACCENT_ALONE
    return total


def _plain(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()


@lru_cache(maxsize=4096)
def _segments(run: str) -> tuple[tuple[str, bool], ...]:
    """Cut a run of Chinese characters into words of the vocabulary, the longest first, and single characters."""
    words, longest = _vocabulary()
    found: list[tuple[str, bool]] = []
    position = 0
    while position < len(run):
        for size in range(min(longest, len(run) - position), 1, -1):
            if run[position : position + size] in words:
                break
        else:
            size = 1
        piece = run[position : position + size]
        found.append((piece, piece in words))
        position += size
    return tuple(found)


@lru_cache(maxsize=8192)
def _place(letter: str) -> _Place:
    code = ord(letter)
    for script in table("scripts")["scripts"]:
        for row in script["ranges"]:
            if row["first"] <= code <= row["last"]:
                return _Place(script["name"], row["log10"])
    for row in table("scripts")["signs"][0]["ranges"]:
        if row["first"] <= code <= row["last"]:
            return _Place("", row["log10"])
    return _Place("", STRANGE)


@cache
def _entries() -> dict[str, float]:
    return {script["name"]: script["entry"] for script in table("scripts")["scripts"]}


@cache
def _characters() -> dict[str, float]:
    return letters_by_share("chinese_characters", "characters")


@cache
def _surnames() -> dict[str, float]:
    return letters_by_share("chinese_names", "surnames")


@cache
def _given() -> dict[str, float]:
    return letters_by_share("chinese_names", "given")


@cache
def _korean() -> dict[str, float]:
    return letters_by_share("korean_names", "syllables")


@cache
def _compound_surnames() -> frozenset[str]:
    return frozenset(table("chinese_names")["compound_surnames"])


@cache
def _vocabulary() -> tuple[frozenset[str], int]:
    words = frozenset(word for group in table("vocabulary").values() for word in group)
    return words, max(len(word) for word in words)
