"""How surnames are read: 单 is shan, 曾 is zeng, 尉迟 is yu chi."""

from __future__ import annotations

from functools import cache

from pacs_bridge.character_sets.data_files import table


@cache
def surname_readings() -> dict[str, tuple[str, ...]]:
    """Return the readings of single-character surnames that differ from usual reading or need saying; ü is ``v``."""
    return {name: tuple(readings) for name, readings in table("surname_readings")["single"].items()}


@cache
def compound_surnames() -> dict[str, tuple[str, ...]]:
    """Return the compound surnames, each with the syllables of its reading; empty where the usual reading holds."""
    special = table("surname_readings")["compound"]
    return {name: tuple(special.get(name, [""])[0].split()) for name in table("chinese_names")["compound_surnames"]}
