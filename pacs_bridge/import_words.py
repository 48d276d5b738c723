"""What an import tells of a file, in Chinese: sentences of ``import_words.toml`` with their changing parts put in."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("import_words.toml")
_PLACE = re.compile(r"\{(\w+)\}")


def in_chinese(sentence: str) -> str:
    """Return a reason or a remedy in Chinese, or as it is where the list has no words for it."""
    for pattern, chinese in _phrases():
        found = pattern.fullmatch(sentence)
        if found:
            return chinese.format_map({name: in_chinese(value) for name, value in found.groupdict().items()})
    return sentence


@cache
def _phrases() -> list[tuple[re.Pattern[str], str]]:
    """Return the list in its own order: the first sentence that fits is the one."""
    listed: dict[str, str] = tomllib.loads(FILE.read_text(encoding="utf-8"))["phrases"]
    return [(_pattern(english), chinese) for english, chinese in listed.items()]


def _pattern(english: str) -> re.Pattern[str]:
    parts = _PLACE.split(english)
    return re.compile("".join(f"(?P<{part}>.+?)" if number % 2 else re.escape(part) for number, part in enumerate(parts)))
