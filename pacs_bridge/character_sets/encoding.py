"""Data elements as bytes (PS3.5 7.1), for the few that Sumu adds; values may be ranges of the file that is rewritten."""

from __future__ import annotations

import struct

from pacs_bridge.character_sets.elements import Layout
from pacs_bridge.character_sets.splicing import Piece, length_of

_LONG_VRS = frozenset(("OB", "SQ", "UC", "UN", "UT"))


def element(layout: Layout, tag: int, vr: str, value: bytes | tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Return an element in the file's own encoding; a value of odd length is padded with a space."""
    pieces = (value + b" " * (len(value) % 2),) if isinstance(value, bytes) else value
    order = "<" if layout.little else ">"
    length = length_of(pieces)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not layout.explicit:
        return (head + struct.pack(order + "I", length), *pieces)
    if vr in _LONG_VRS:
        return (head + vr.encode() + struct.pack(order + "HI", 0, length), *pieces)
    return (head + vr.encode() + struct.pack(order + "H", length), *pieces)


def item(layout: Layout, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Return an item of defined length (PS3.5 7.5)."""
    return (struct.pack("<HHI" if layout.little else ">HHI", 0xFFFE, 0xE000, length_of(pieces)), *pieces)


def tags(layout: Layout, numbers: list[int]) -> bytes:
    """Return tags as the value of an AT element."""
    order = "<HH" if layout.little else ">HH"
    return b"".join(struct.pack(order, number >> 16, number & 0xFFFF) for number in numbers)


def tags_in(layout: Layout, value: bytes) -> list[int]:
    """Return the tags that the value of an AT element names."""
    order = "<HH" if layout.little else ">HH"
    return [group << 16 | number for group, number in struct.iter_unpack(order, value)]
