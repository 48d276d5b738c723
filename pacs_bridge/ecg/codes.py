"""Codes of leads and measurements in the objects that are written here; the table is ``codes.toml``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydicom import Dataset

_TABLE = Path(__file__).with_name("codes.toml")
#: CID 3001: a lead that has no code of its own.
_UNSPECIFIED = 0


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class MeasurementCode:
    """What a printed measurement is called in an object."""

    value: str
    scheme: str
    meaning: str
    #: UCUM.
    unit: str
    #: Other codes of the same number.
    also: tuple[str, ...]
    #: Its meaning in other makers' words.
    words: re.Pattern[str]


@cache
def measurement_codes() -> dict[str, MeasurementCode]:
    """Return the code of each printed measurement, by its name in ``PrintedMeasurements``."""
    return {
        name: MeasurementCode(
            **row | {"also": tuple(row["also"]), "words": re.compile(row["words"], re.IGNORECASE)},
        )
        for name, row in _table()["measurements"].items()
    }


def unit_of(written: str) -> str:
    """Return the unit as it is written here, for whatever makers write; the same text for a unit that is not known."""
    units: dict[str, list[str]] = _table()["units"]
    return next((unit for unit, words in units.items() if written.strip().lower() in words), written)


def lead_code(name: str) -> Dataset:
    """Return the source of a channel (CID 3001)."""
    number: int = _table()["leads"].get(name, _UNSPECIFIED)
    return code_item(f"2:{number}", "MDC", f"Lead {name}" if number else "Unspecified lead")


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence (PS3.3 8)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
