"""The names of the twelve leads in three coding schemes, and the arithmetic between them."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

#: The order in which leads stand on paper.
LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

#: ISO 11073-91064 (SCP-ECG) 5.6.3-9; CID 3001 writes the same numbers as MDC ``2:n``, ISO 11073-10101 as 131072 + n.
_LEAD_NUMBERS = {
    1: "I", 2: "II", 3: "V1", 4: "V2", 5: "V3", 6: "V4", 7: "V5", 8: "V6", 61: "III", 62: "aVR", 63: "aVL", 64: "aVF",
}  # fmt: skip
_MDC_LEAD_BLOCK = 2 << 16
_BY_UPPER_NAME = {name.upper(): name for name in LEADS}


def with_derived_leads(
    leads: dict[str, npt.NDArray[np.float64]],
) -> tuple[dict[str, npt.NDArray[np.float64]], tuple[str, ...]]:
    """Add II, III, aVR, aVL and aVF where two limb leads give them; name the added ones."""
    known = dict(leads)
    if "II" not in known and {"I", "III"} <= known.keys():
        known["II"] = known["I"] + known["III"]
    if {"I", "II"} <= known.keys():
        one, two = known["I"], known["II"]
        for name, samples in (("III", two - one), ("aVR", -(one + two) / 2), ("aVL", one - two / 2), ("aVF", two - one / 2)):
            known.setdefault(name, samples)
    return known, tuple(name for name in LEADS if name in known and name not in leads)


def source_words(channel: Dataset) -> str:
    """Return what a channel says of its source, for a person to read."""
    words = [
        f"{source.get('CodeValue', '')} {source.get('CodeMeaning', '')}" for source in channel.get("ChannelSourceSequence") or ()
    ]
    return (words or [str(channel.get("ChannelLabel") or "")])[0].strip() or "nothing"


def lead_of(channel: Dataset) -> str | None:
    """Return the lead that a channel holds, by its source code or, where the code says nothing, by its words."""
    for source in channel.get("ChannelSourceSequence") or []:
        name = _lead_by_code(str(source.get("CodeValue", ""))) or _lead_by_words(str(source.get("CodeMeaning", "")))
        if name:
            return name
    return _lead_by_words(str(channel.get("ChannelLabel") or ""))


def _lead_by_code(value: str) -> str | None:
    if match := re.fullmatch(r"(?:5\.6\.3-9-|2:)(\d+)", value):
        return _LEAD_NUMBERS.get(int(match[1]))
    if value.isdigit():
        return _LEAD_NUMBERS.get(int(value) - _MDC_LEAD_BLOCK)
    return _BY_UPPER_NAME.get(value.upper().removeprefix("MDC_ECG_LEAD_"))


def _lead_by_words(words: str) -> str | None:
    found = {_BY_UPPER_NAME[word.upper()] for word in re.findall(r"[A-Za-z]+\d?", words) if word.upper() in _BY_UPPER_NAME}
    return found.pop() if len(found) == 1 else None
