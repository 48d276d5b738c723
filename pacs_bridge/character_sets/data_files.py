"""The package's tables: frequencies, names and defined terms lie in TOML beside the code, so that people can review them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def table(name: str) -> dict[str, Any]:
    """Return the table in ``<name>.toml``; read once."""
    return tomllib.loads((files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))


def letters_by_share(table_name: str, key: str) -> dict[str, float]:
    """Return log10 of the share of each letter in the bands under a key."""
    return {letter: band["log10"] for band in table(table_name)[key] for letter in band["letters"]}
