"""Words of the pages in Chinese and English, read from Babel catalogs when the service starts.

The English sentence is its own message id. All ``*.po`` files of a language are read as one catalog, so that each part of
the web keeps its own file; nothing has to be compiled before a start.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

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
                    messages[str(message.id)] = str(message.string)
    return messages


def translate(language: str, message: str, **values: Any) -> str:
    """Return ``message`` in ``language`` with its ``%(name)s`` places filled."""
    translated = catalog(language).get(message, message)
    return translated % values if values else translated
