"""Codes of other systems' orders, read from ``codes.toml``."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from core.tables import Urgency
from pacs_bridge.orders.errors import NotReadable


def modality_of(code: str) -> str:
    """Return the DICOM modality of a code: a modality itself, or a diagnostic service section of HL7 table 0074.

    Raises
    ------
    NotReadable
        If it is neither; empty stays empty.
    """
    word = code.strip().upper()
    known: list[str] = _codes()["modalities"]
    if not word or word in known:
        return word
    section: str | None = _codes()["sections"].get(word)
    if section is None:
        raise NotReadable("modality", code, f"Send one of {', '.join(known)}.")
    return section


def modalities() -> list[str]:
    """Return the modalities that an order may ask for, the usual ones first."""
    return list(_codes()["modalities"])


def body_parts() -> dict[str, tuple[str, str]]:
    """Return the usual body parts, each with its Chinese and its English name."""
    return {code: (zh, en) for code, (zh, en) in _codes()["body_parts"].items()}


def urgency_of(priority: str) -> Urgency:
    """Return what a priority of HL7 (tables 0027, 0485) or FHIR means; an unknown or empty one is routine."""
    return Urgency(_codes()["priorities"].get(priority.strip().upper()[:16], Urgency.ROUTINE))


def codec_of(character_set: str) -> str | None:
    """Return the Python codec of a character set of HL7 table 0211; None for an unknown one."""
    codec: str | None = _codes()["character_sets"].get(character_set.strip().upper())
    return codec


@cache
def _codes() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "codes.toml").read_text(encoding="utf-8"))
