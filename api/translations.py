"""Words of the pages in Chinese and English, read from Babel catalogs when the service starts.

The English sentence is its own message id. All ``*.po`` files of a language are read as one catalog, so that each part of
the web keeps its own file; nothing has to be compiled before a start.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from babel.messages.catalog import Message
from babel.messages.pofile import read_po

FOLDER = Path(__file__).parent / "web" / "translations"
LANGUAGES = ("zh", "en")
#: Babel's names for formats of times and numbers.
LOCALES = {"zh": "zh_Hans_CN", "en": "en_GB"}


@cache
def catalog(language: str) -> dict[str, str]:
    """Return every translated message of a language."""
    messages: dict[str, str] = {}
    for file in sorted((FOLDER / language / "LC_MESSAGES").glob("*.po")):
        with file.open("rb") as handle:
            for message in read_po(handle, locale=language):
                if message.id and message.string and not message.fuzzy:
                    for id_, string in _forms(message):
                        messages[id_] = string
    return messages


def _forms(message: Message) -> list[tuple[str, str]]:
    """Return a message's texts by their ids; a plural has two ids, and Chinese one text for both."""
    if isinstance(message.id, str):
        return [(message.id, str(message.string))]
    strings = [message.string] if isinstance(message.string, str) else list(message.string or message.id)
    return [(id_, strings[min(place, len(strings) - 1)]) for place, id_ in enumerate(message.id)]


def translate(language: str, message: str, **values: Any) -> str:
    """Return ``message`` in ``language`` with its ``%(name)s`` places filled."""
    translated = catalog(language).get(message, message)
    return translated % values if values else translated
