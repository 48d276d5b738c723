"""Codes of leads and measurements in the objects that are written here; the table is ``codes.toml``."""

from __future__ import annotations

import tomllib
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


def measurement_codes() -> dict[str, dict[str, str]]:
    """Return value, scheme, meaning and unit of each printed measurement, by its name in ``PrintedMeasurements``."""
    codes: dict[str, dict[str, str]] = _table()["measurements"]
    return codes


def lead_code(name: str) -> Dataset:
    """Return the source of a channel (CID 3001)."""
    number: int = _table()["leads"].get(name, _UNSPECIFIED)
    return code_item(f"2:{number}", "MDC", f"Lead {name}" if number else "Unspecified lead")


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence (PS3.3 8)."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
