"""What a bitstream claims of itself, read before a decoder makes room for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: Width to height in a JPEG XL size header (ISO/IEC 18181-1, SizeHeader, field ratio).
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}

_START_OF_TILE_PART, _END_OF_CODESTREAM = b"\xff\x90", b"\xff\xd9"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Size of a picture; ``samples`` is None where the beginning of the bitstream does not tell."""

    rows: int
    columns: int
    samples: int | None = None

    def __str__(self) -> str:
        return f"{self.rows} x {self.columns}" + ("" if self.samples is None else f" x {self.samples}")


def jpeg_2000_claim(stream: bytes) -> Claim:
    """Return the size in the SIZ marker (ISO/IEC 15444-1 A.5.1).

    Raises
    ------
    ValueError
        If the stream does not begin as a JPEG 2000 codestream.
    """
    if stream[:4] != b"\xff\x4f\xff\x51" or len(stream) < 42:
        raise ValueError("it does not begin as a JPEG 2000 codestream")
    right, bottom, left, top = (int.from_bytes(stream[at : at + 4]) for at in (8, 12, 16, 20))
    return Claim(rows=bottom - top, columns=right - left, samples=int.from_bytes(stream[40:42]))


def jpeg_2000_is_whole(stream: bytes) -> bool:
    """Return whether the tile-parts follow each other to the end marker (ISO/IEC 15444-1 A.4).

    OpenJPH decodes what is there of a codestream cut short, and says nothing.
    """
    at = 2
    while at + 12 <= len(stream) and stream[at : at + 2] != _END_OF_CODESTREAM:
        if stream[at : at + 2] == _START_OF_TILE_PART:
            length = int.from_bytes(stream[at + 6 : at + 10])
            if length == 0:  # the last tile-part may leave its length open
                return stream.rstrip(b"\0").endswith(_END_OF_CODESTREAM)
            at += length if length >= 14 else len(stream)
        else:
            at += 2 + int.from_bytes(stream[at + 2 : at + 4])
    return stream[at : at + 2] == _END_OF_CODESTREAM


def jpeg_xl_claim(stream: bytes) -> Claim:
    """Return the size in the SizeHeader of a JPEG XL codestream, bare or in a container (ISO/IEC 18181-1 and -2).

    Raises
    ------
    ValueError
        If there is no codestream.
    """
    codestream = stream if stream[:2] == b"\xff\x0a" else _in_container(stream)
    if codestream[:2] != b"\xff\x0a" or len(codestream) < 12:
        raise ValueError("it holds no JPEG XL codestream")
    bits = _Bits(codestream[2:18])
    small = bits.take(1) == 1
    rows = 8 * (bits.take(5) + 1) if small else _long(bits)
    ratio = bits.take(3)
    if ratio:
        across, down = _RATIOS[ratio]
        return Claim(rows=rows, columns=rows * across // down)
    return Claim(rows=rows, columns=8 * (bits.take(5) + 1) if small else _long(bits))


def jpeg_claim(stream: bytes) -> tuple[int, Claim]:
    """Return the kind of the first frame header of a JPEG and its size (ITU-T T.81 B.2.2).

    Raises
    ------
    ValueError
        If there is none.
    """
    at = 2
    while stream[at : at + 1] == b"\xff" and at + 10 <= len(stream):
        kind, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4])
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            rows, columns = int.from_bytes(stream[at + 5 : at + 7]), int.from_bytes(stream[at + 7 : at + 9])
            return kind, Claim(rows=rows, columns=columns, samples=stream[at + 9])
        at += 2 + length
    raise ValueError("it is no JPEG")


def jpeg_is_whole(stream: bytes) -> bool:
    """Return whether a JPEG reaches its end marker; what is missing before it, a decoder paints grey and says nothing."""
    return stream.rstrip(b"\0").endswith(_END_OF_CODESTREAM)


def jpeg_colours(stream: bytes) -> str | None:
    """Return ``RGB`` or ``YCBCR`` where a JPEG of three components says itself which they are; None where it does not.

    It says so by the transform of Adobe's marker (ITU-T T.872 6.5.3), or by being a JFIF file (ITU-T T.871 7), whose colours
    are luma and chroma.
    """
    said, at = None, 2
    while stream[at : at + 1] == b"\xff" and at + 4 <= len(stream) and stream[at + 1] & 0xF0 != 0xC0:
        length = int.from_bytes(stream[at + 2 : at + 4])
        marker, value = stream[at + 1], stream[at + 4 : at + 2 + length]
        if marker == 0xEE and value.startswith(b"Adobe") and len(value) >= 12:
            return "YCBCR" if value[11] else "RGB"
        if marker == 0xE0 and value.startswith(b"JFIF\0"):
            said = "YCBCR"
        at += 2 + length
    return said


class _Bits:
    """Bits from the least significant of each byte on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken


def _long(bits: _Bits) -> int:
    return 1 + bits.take((9, 13, 18, 30)[bits.take(2)])


def _in_container(stream: bytes) -> bytes:
    """Return the beginning of the codestream, whole (jxlc) or in numbered parts (jxlp)."""
    begun = b""
    for kind, value in _boxes(stream):
        if kind == b"jxlc":
            return value
        if kind == b"jxlp":
            begun += value[4:]
    return begun


def _boxes(stream: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(stream):
        length, head = int.from_bytes(stream[at : at + 4]), 8
        if length == 1:
            length, head = int.from_bytes(stream[at + 8 : at + 16]), 16
        end = at + length if length else len(stream)
        if end < at + head:
            return
        # The size header lies in the first bytes; the rest of a box is not copied.
        yield stream[at + 4 : at + 8], stream[at + head : min(end, at + head + 32)]
        at = end
