"""Decides from an image's tags alone which network may look at it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)

from inference.engine import Outcome

MODALITIES = ("DX", "CR", "RG")
SOP_CLASSES = (
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
)
#: Documents and states that some devices file under the modality of their images.
NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.11.", "1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.104.")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why the network stays silent about an image."""

    outcome: Outcome
    #: A reason of the vocabulary.
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Words:
    chest: frozenset[str]
    #: Body parts for which there is no model.
    other: frozenset[str]
    #: Words by part of the limb network; ``any`` for words that name no part.
    limb: Mapping[str, frozenset[str]]
    frontal: frozenset[str]
    not_frontal: frozenset[str]
    not_frontal_words: tuple[str, ...]

    @property
    def limbs(self) -> frozenset[str]:
        """All words that name a limb."""
        return frozenset().union(*self.limb.values())


@dataclass(frozen=True, kw_only=True)
class NamedPart:
    """What the tags say of the body part."""

    chest: bool
    #: Whether they name a limb and nothing else.
    limb: bool
    #: Whether they name a part for which there is no model.
    other: bool
    #: Parts of the limb network that they may mean; empty where they leave it open.
    parts: frozenset[str]


def is_radiograph(header: Dataset) -> bool:
    """Return whether an instance is a plain radiograph, by SOP class and modality."""
    sop_class = str(header.get("SOPClassUID", ""))
    if sop_class.startswith(NO_IMAGES):
        return False
    return sop_class in SOP_CLASSES or str(header.get("Modality", "") or "").upper() in MODALITIES


def refusal(header: Dataset, adult_years: int) -> Refusal | None:
    """Return why the chest network must not look at an image, or None where the tags do not forbid it."""
    words = _words()
    parts = _body_parts(header)
    if parts and parts <= words.other | words.limbs:
        return Refusal(outcome=Outcome.NO_MODEL, reason="chest_no_model_for_body_part")
    age = age_in_years(header)
    if age is not None and age < adult_years:
        return Refusal(outcome=Outcome.DECLINED, reason="chest_not_adult")
    if str(header.get("PresentationIntentType", "") or "").upper() == "FOR PROCESSING":
        return Refusal(outcome=Outcome.DECLINED, reason="chest_for_processing")
    if _not_frontal(header, words):
        return Refusal(outcome=Outcome.DECLINED, reason="chest_not_frontal")
    return None


def limb_refusal(header: Dataset, grown_years: int) -> Refusal | None:
    """Return why the limb network must not look at an image, or None where the tags do not forbid it."""
    age = age_in_years(header)
    if age is not None and age < grown_years:
        return Refusal(outcome=Outcome.DECLINED, reason="limb_not_grown")
    if str(header.get("PresentationIntentType", "") or "").upper() == "FOR PROCESSING":
        return Refusal(outcome=Outcome.DECLINED, reason="chest_for_processing")
    return None


def named_part(header: Dataset) -> NamedPart:
    """Return what the tags say of the body part; a text of no known word counts as nothing said."""
    words, said = _words(), _body_parts(header)
    limb = bool(said) and said <= words.limbs
    parts = frozenset(part for part, names in words.limb.items() if part != "any" and said & names) if limb else frozenset()
    return NamedPart(chest=bool(said & words.chest), limb=limb, other=bool(said & words.other), parts=parts)


def age_in_years(header: Dataset) -> float | None:
    """Return the patient's age from Patient's Age, or from the dates of birth and study; None where neither tells."""
    age = re.fullmatch(r"(\d{1,3})([DWMY])", str(header.get("PatientAge", "") or "").strip().upper())
    if age:
        return int(age[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[2]]
    born = _date(header.get("PatientBirthDate"))
    seen = _date(header.get("StudyDate")) or _date(header.get("AcquisitionDate"))
    if born is None or seen is None or seen < born:
        return None
    return (seen - born).days / 365.25


def _body_parts(header: Dataset) -> frozenset[str]:
    """Return what the tags call the body part, plain; a text of no known word counts as nothing said."""
    said = {_plain(text) for text in _spellings(str(header.get("BodyPartExamined", "") or ""))}
    for item in header.get("AnatomicRegionSequence", None) or []:
        said |= {_plain(item.get("CodeMeaning", "")), _plain(item.get("CodeValue", ""), digits=True)}
    words = _words()
    return frozenset(said & (words.chest | words.other | words.limbs))


def _not_frontal(header: Dataset, words: _Words) -> bool:
    views = {_plain(text) for text in _spellings(str(header.get("ViewPosition", "") or ""))}
    if views & words.frontal:
        return False
    if views & words.not_frontal:
        return True
    meanings = [str(item.get("CodeMeaning", "")).lower() for item in header.get("ViewCodeSequence", None) or []]
    return any(word in meaning for meaning in meanings for word in words.not_frontal_words)


def _spellings(text: str) -> list[str]:
    """Return a code string as read and, where a device wrote Chinese bytes into it, as that (PS3.5 6.2 allows CS only ASCII)."""
    texts = [text]
    for character_set in ("utf-8", "gb18030"):
        with suppress(UnicodeError):
            texts.append(text.encode("latin-1").decode(character_set))
    return texts


def _plain(value: object, *, digits: bool = False) -> str:
    return re.sub(r"[^\w]|_" if digits else r"[^\w]|_|\d", "", str(value or "").upper())


def _date(value: object) -> date | None:
    try:
        return datetime.strptime(str(value or "").strip()[:8], "%Y%m%d").date()  # noqa: DTZ007 - DA has no zone
    except ValueError:
        return None


@cache
def _words() -> _Words:
    lists = tomllib.loads((Path(__file__).parent / "scope.toml").read_text(encoding="utf-8"))
    return _Words(
        chest=frozenset(lists["chest"]),
        other=frozenset(lists["other"]),
        limb={part: frozenset(names) for part, names in lists["limb"].items()},
        frontal=frozenset(lists["frontal"]),
        not_frontal=frozenset(lists["not_frontal"]),
        not_frontal_words=tuple(lists["not_frontal_words"]),
    )
