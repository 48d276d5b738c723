"""Text values as the detective looks at them: each different one once, without its padding, and with what it says."""

from __future__ import annotations

from collections.abc import Mapping

from pacs_bridge.character_sets.elements import TextElement
from pacs_bridge.character_sets.repertoires import Reading
from pacs_bridge.character_sets.verdict import DecodedValue


def distinct(elements: list[TextElement]) -> list[TextElement]:
    """Return one element for each different value: a name that stands five times speaks once."""
    return list({key_of(element): element for element in reversed(elements)}.values())[::-1]


def key_of(element: TextElement) -> tuple[str, bytes]:
    """Return what makes a value different from others: its VR and its bytes."""
    return element.vr, element.value


def trimmed(element: TextElement) -> bytes:
    """Return the value without its padding (PS3.5 6.2)."""
    return element.value.rstrip(b" \x00")


def decoded_values(
    elements: list[TextElement],
    chosen: Mapping[tuple[str, bytes], tuple[Reading | None, str]],
) -> tuple[DecodedValue, ...]:
    """Return every value as it was read; ``chosen`` is each different one's reading and its character set."""
    values = []
    for element in elements:
        reading, encoding = chosen[key_of(element)]
        if reading is not None:
            values.append(
                DecodedValue(
                    path=element.path,
                    vr=element.vr,
                    raw=element.value,
                    text=reading.text,
                    encoding=encoding,
                    truncated=reading.truncated,
                )
            )
    return tuple(values)
