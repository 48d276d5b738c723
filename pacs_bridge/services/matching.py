"""Attribute matching (PS3.4 C.2.2.2): what was asked for against what we have."""

from __future__ import annotations

import re
from collections.abc import Set
from fnmatch import fnmatchcase

from pydicom import DataElement, Dataset

from pacs_bridge.patient_names import normalise_query
from pacs_bridge.services.data_sets import as_text
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.sop_classes import IDENTIFIER_MISMATCH

#: PS3.4 C.2.2.2.4: representations in which ``*`` and ``?`` are wildcards.
WILDCARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
MOST_LETTERS, MOST_WILDCARDS, MOST_UIDS = 1024, 6, 10_000
#: They say how the request is written, not what is sought.
NO_KEYS = frozenset(("SpecificCharacterSet", "QueryRetrieveLevel", "TimezoneOffsetFromUTC"))
_LATEST_TIME = "235959999999"


def matches(asked: Dataset, held: Dataset, *, settled: Set[str] = frozenset()) -> bool:
    """Return whether ``held`` answers every key of ``asked``.

    A key that ``held`` does not know at all is passed over, as PS3.4 C.2.2.1.3 allows for optional keys. ``settled`` are
    the keywords that somebody else has matched, in items too.
    """
    return all(
        _matches(key, held[key.tag], settled)
        for key in asked
        if key.tag in held and key.keyword not in settled and key.keyword not in NO_KEYS and not is_universal(key)
    )


def is_universal(key: DataElement) -> bool:
    """Return whether a key matches everything (PS3.4 C.2.2.2.3): it has no value, or nothing but ``*``."""
    if key.VR == "SQ":
        return not key.value or all(is_universal(inner) for inner in key.value[0])
    text = as_text(key.value)
    return not text or (key.VR in WILDCARD_VRS and not text.strip("*"))


def check_keys(asked: Dataset) -> None:
    """Pass if every key is one that a person may have typed.

    Raises
    ------
    Refused
        If a pattern is so long, or has so many wildcards, that comparing with it takes a database minutes; or if there are
        more UIDs than it takes in one question.
    """
    for key in asked.iterall():
        if key.VR == "UI" and as_text(key.value).count("\\") >= MOST_UIDS:
            raise Refused(IDENTIFIER_MISMATCH, f"More than {MOST_UIDS} UIDs in one request.", remedy="Ask in several requests.")
        if key.VR in WILDCARD_VRS:
            text = as_text(key.value)
            if len(text) > MOST_LETTERS or text.count("*") > MOST_WILDCARDS:
                raise Refused(
                    IDENTIFIER_MISMATCH, f"The key {key.keyword or key.tag} is too long or has too many wildcards.",
                    remedy="Search with a simpler pattern.",
                )  # fmt: skip


def values_of(asked: Dataset, keyword: str) -> list[str]:
    """Return the values of a key: several for a list of UIDs, none for universal matching."""
    if keyword not in asked or is_universal(asked[keyword]):
        return []
    return [value for value in as_text(asked[keyword].value).split("\\") if value]


def day_range(wanted: str) -> tuple[str, str]:
    """Return the first and last day of a DA key (PS3.4 C.2.2.2.5.1), either of them empty where it is open."""
    first, dash, last = wanted.replace(".", "").replace(" ", "").partition("-")
    return (first, last) if dash else (first, first)


def time_range(wanted: str) -> tuple[str, str]:
    """Return the first and last moment of a TM key as twelve digits, either of them empty where it is open."""
    first, dash, last = wanted.replace(":", "").replace(" ", "").partition("-")
    last = last if dash else first
    return (first.replace(".", "").ljust(12, "0") if first else "", _latest(last.replace(".", "")) if last else "")


def in_range(value: str, bounds: tuple[str, str]) -> bool:
    """Return whether a value lies between two others that are compared as text; an empty bound is open."""
    first, last = bounds
    return bool(value) and value >= first and (not last or value <= last)


def _latest(digits: str) -> str:
    return digits + _LATEST_TIME[len(digits) :]


def _matches(key: DataElement, held: DataElement, settled: Set[str]) -> bool:
    if key.VR == "SQ":
        return any(matches(key.value[0], item, settled=settled) for item in held.value or [])
    wanted, offered = as_text(key.value), as_text(held.value)
    if key.VR == "UI":
        return bool(set(wanted.split("\\")) & set(offered.split("\\")))
    if key.VR == "DA":
        return in_range(offered.replace(".", ""), day_range(wanted))
    if key.VR == "TM":
        return in_range(time_range(offered)[0], time_range(wanted))
    if key.VR == "PN":
        patterns = ["".join(name_pieces(group)) for group in wanted.split("=") if group]
        return any(_like(form, pattern) for pattern in patterns for form in _name_forms(offered))
    choices = [choice for choice in wanted.split("\\") if choice]
    if key.VR in ("IS", "DS", "US", "UL", "SS", "SL"):
        return bool({_number(choice) for choice in choices} & {_number(value) for value in offered.split("\\")})
    if key.VR in WILDCARD_VRS:
        return any(_like(value, choice) for choice in choices for value in offered.split("\\"))
    return bool(set(choices) & set(offered.split("\\")))


def _like(value: str, wanted: str) -> bool:
    """Return whether a value fits a pattern of ``*`` and ``?``, in linear time whatever the pattern."""
    return fnmatchcase(value, wanted.replace("[", "[[]"))


def name_pieces(wanted: str) -> list[str]:
    """Return one group of a PN key as text between wildcards, in the form of ``patient_names.normalise_query``."""
    pieces = re.split(r"([*?])", wanted)
    out: list[str] = []
    for place, piece in enumerate(pieces):
        if piece in ("*", "?"):
            out.append(piece)
            continue
        text = normalise_query(piece)
        # The border between two parts of a name is a character for ``?``; for ``*`` it may be missing.
        if text and place and pieces[place - 1] == "?" and piece[0] in "^ ":
            text = " " + text
        if text and place + 1 < len(pieces) and pieces[place + 1] == "?" and piece[-1] in "^ ":
            text += " "
        out.append(text)
    return [piece for piece in out if piece]


def _name_forms(offered: str) -> set[str]:
    forms = {normalise_query(group) for group in offered.split("=")}
    return forms | {form.replace(" ", "") for form in forms if not form.isascii()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
