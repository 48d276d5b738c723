"""Whole data sets in Explicit VR Little Endian: inflated (PS3.5 A.5), or from big endian (PS3.5 A.3, 7.3), every value kept.

Both keep all lengths inside the data set, so that it is written as it is read, and no more than a piece of it is in memory.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

import numpy as np

from pacs_bridge.examination.limits import Limits

_CHUNK = 1 << 20
_UNDEFINED = 0xFFFFFFFF
#: The group of items and delimiters, which have no VR (PS3.5 7.5).
_ITEMS = 0xFFFE
#: Bytes of one number in a value (PS3.5 7.3), by VR; the values of all others are bytes and text.
_WORDS = {
    "AT": 2, "FD": 8, "FL": 4, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8, "UL": 4, "US": 2, "UV": 8,
}  # fmt: skip
_BYTES = frozenset(
    ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "OB", "PN", "SH", "ST", "TM", "UC", "UI", "UN", "UR", "UT")
)
#: Their length has four bytes, behind two that are reserved (PS3.5 7.1.2).
_LONG = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))


class NotReadable(Exception):
    """A data set is not what its transfer syntax says; the message is the end of a sentence."""


def inflate(source: BinaryIO, target: BinaryIO, *, most_bytes: int = Limits().inflated_bytes) -> None:
    """Write the inflated rest of ``source``.

    Raises
    ------
    NotReadable
        If it cannot be inflated, ends before its time, or becomes longer than ``most_bytes``.
    """
    inflater, written = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not inflater.eof:
            deflated = inflater.unconsumed_tail or source.read(_CHUNK)
            if not deflated:
                raise NotReadable("its deflated data set ends before its time")
            written += target.write(inflater.decompress(deflated, _CHUNK))
            if written > most_bytes:
                raise NotReadable(f"inflated it has more than {most_bytes >> 20} MiB")
    except zlib.error as error:
        raise NotReadable(f"it cannot be inflated ({error})") from error


def turn_to_little_endian(source: BinaryIO, target: BinaryIO, size: int) -> None:
    """Write the rest of ``source``, which is ``size`` bytes of Explicit VR Big Endian.

    Sequences and items need no care of their own: their contents follow their heads as elements do, however deep they lie.

    Raises
    ------
    NotReadable
        If its elements do not fill it, or one of them is of no VR of the standard.
    """
    left = size
    while left:
        head = _exactly(source, 8)
        group, element = int.from_bytes(head[:2]), int.from_bytes(head[2:4])
        vr = head[4:6].decode("latin-1")
        turned = head[1::-1] + head[3:1:-1]
        left -= 8
        if group == _ITEMS:
            target.write(turned + head[:3:-1])
            continue
        if vr in _LONG:
            length = int.from_bytes(coded := _exactly(source, 4))
            target.write(turned + head[4:6] + bytes(2) + coded[::-1])
            left -= 4
        else:
            length = int.from_bytes(head[6:8])
            target.write(turned + head[4:6] + head[:5:-1])
        if vr == "SQ":
            continue
        word = _WORDS.get(vr, 1 if vr in _BYTES else 0)
        if not word or length == _UNDEFINED or length % word or length > left:
            raise NotReadable(f"the element ({group:04X},{element:04X}) of the VR {vr!r} and {length} bytes has no place in it")
        _copy(source, target, length, word)
        left -= length


def _copy(source: BinaryIO, target: BinaryIO, length: int, word: int) -> None:
    while length:
        piece = _exactly(source, min(length, _CHUNK))
        target.write(piece if word == 1 else np.frombuffer(piece, f">u{word}").byteswap().tobytes())
        length -= len(piece)


def _exactly(source: BinaryIO, count: int) -> bytes:
    piece = source.read(count)
    if len(piece) != count:
        raise NotReadable("it ends in the middle of an element")
    return piece
