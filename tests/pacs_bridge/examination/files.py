"""Part 10 files written byte by byte, honest and hostile, in every encoding of PS3.5."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT, EXPLICIT, DEFLATED, BIG = (
    "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2",
)  # fmt: skip
JPEG, JPEG_2000, JPEG_XL, RLE, MPEG = (
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.102",
)  # fmt: skip
UNDEFINED = 0xFFFFFFFF
PIXELS = 0x7FE00010
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}


@dataclass(frozen=True)
class Encoding:
    """Writes elements."""

    implicit: bool = False
    big: bool = False

    @property
    def order(self) -> str:
        return ">" if self.big else "<"

    def head(self, tag: int, vr: str, length: int) -> bytes:
        place = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.implicit or tag >> 16 == 0xFFFE:
            return place + struct.pack(self.order + "L", length)
        if vr in _LONG:
            return place + vr.encode() + struct.pack(self.order + "HL", 0, length)
        return place + vr.encode() + struct.pack(self.order + "H", length)

    def element(self, tag: int, vr: str, value: bytes | str | int) -> bytes:
        if isinstance(value, int):
            value = struct.pack(self.order + "H", value)
        if isinstance(value, str):
            value = value.encode()
        value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
        return self.head(tag, vr, len(value)) + value

    def item(self, content: bytes = b"", *, undefined: bool = False) -> bytes:
        if undefined:
            return self.head(0xFFFEE000, "", UNDEFINED) + content + self.head(0xFFFEE00D, "", 0)
        return self.head(0xFFFEE000, "", len(content)) + content

    def sequence(self, tag: int, *items: bytes, undefined: bool = False, vr: str = "SQ") -> bytes:
        content = b"".join(items)
        if undefined:
            return self.head(tag, vr, UNDEFINED) + content + self.head(0xFFFEE0DD, "", 0)
        return self.head(tag, vr, len(content)) + content

    def nested(self, depth: int, *, undefined: bool, tag: int = 0x0040A730, vr: str = "SQ") -> bytes:
        """Sequences inside sequences, so many levels, written without recursion."""
        if undefined:
            opening = self.head(tag, vr, UNDEFINED) + self.head(0xFFFEE000, "", UNDEFINED)
            return opening * depth + (self.head(0xFFFEE00D, "", 0) + self.head(0xFFFEE0DD, "", 0)) * depth
        header = len(self.head(tag, vr, 0))
        step = header + 8
        return b"".join(
            self.head(tag, vr, step * left + 8) + self.head(0xFFFEE000, "", step * left) for left in range(depth - 1, -1, -1)
        )

    def identity(self, **other: str) -> bytes:
        uids = {"sop_class": CT, "instance": "1.2.3.4.5", "study": "1.2.3.4", "series": "1.2.3.4.1", **other}
        tags = {"sop_class": 0x00080016, "instance": 0x00080018, "study": 0x0020000D, "series": 0x0020000E}
        return b"".join(self.element(tag, "UI", uids[name]) for name, tag in tags.items() if uids[name])

    def image(
        self,
        rows: int,
        columns: int,
        frames: str | None = None,
        *,
        samples: int = 1,
        bits: int = 8,
        photometric: str = "MONOCHROME2",
    ) -> bytes:
        elements = [self.element(0x00280002, "US", samples), self.element(0x00280004, "CS", photometric)]
        if frames is not None:
            elements.append(self.element(0x00280008, "IS", frames))
        elements += [self.element(0x00280010, "US", rows), self.element(0x00280011, "US", columns)]
        return b"".join((*elements, self.element(0x00280100, "US", bits)))

    def fragments(self, *fragments: bytes, table: bytes = b"") -> bytes:
        parts = [self.head(PIXELS, "OB", UNDEFINED), self.item(table), *map(self.item, fragments)]
        return b"".join((*parts, self.head(0xFFFEE0DD, "", 0)))


LITTLE = Encoding()
ENCODINGS = {IMPLICIT: Encoding(implicit=True), EXPLICIT: LITTLE, BIG: Encoding(big=True)}


def file_head(
    syntax: str | None = EXPLICIT, *, instance: str = "1.2.3.4.5", sop_class: str = CT, preamble: bytes = b"", other: bytes = b""
) -> bytes:
    """Return preamble and file meta information (PS3.10 7.1)."""
    named = ((0x00020002, sop_class), (0x00020003, instance), (0x00020010, syntax))
    group = b"".join(LITTLE.element(tag, "UI", value) for tag, value in named if value) + other
    return preamble.ljust(128, b"\0") + b"DICM" + LITTLE.element(0x00020000, "UL", struct.pack("<L", len(group))) + group


def write(path: Path, data_set: bytes | Iterable[bytes], syntax: str = EXPLICIT, *, head: bytes | None = None) -> Path:
    """Write a file of a data set, whole or in pieces."""
    with path.open("wb") as file:
        file.write(file_head(syntax) if head is None else head)
        file.writelines([data_set] if isinstance(data_set, bytes) else data_set)
    return path


def deflated(data_set: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data_set) + packer.flush()


def deflate_bomb(path: Path, inflated: int, *, head: bytes | None = None) -> Path:
    """Write a deflated file whose pixels inflate to ``inflated`` bytes, from one compressed block of zeros written often."""
    block = 16 << 20
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    if head is None:
        head = LITTLE.identity() + LITTLE.image(65535, 65535) + LITTLE.head(PIXELS, "OW", min(inflated, UNDEFINED - 1))
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
    return write(path, (first, *[zeros] * (inflated // block), packer.flush()), DEFLATED)


def jpeg(rows: int, columns: int, *, before: bytes = b"", components: int = 1, marker: int = 0xC0) -> bytes:
    """Return the beginning of a JPEG stream whose frame header claims a size (ISO 10918-1 B.2.2)."""
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 8 + 3 * components, 8, rows, columns, components) + bytes(3 * components)
    return b"\xff\xd8" + before + frame + b"\xff\xda\0\x02" + bytes(16)


def jpeg_segment(size: int, marker: int = 0xE2) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, size + 2) + bytes(size)


def jpeg_2000(rows: int, columns: int, *, tile: int | None = None, components: int = 1) -> bytes:
    """Return the beginning of a JPEG 2000 code stream (ISO 15444-1 A.5.1)."""
    size = struct.pack(
        ">HHLLLLLLLLH", 38 + 3 * components, 0, columns, rows, 0, 0, tile or columns, tile or rows, 0, 0, components
    )
    return b"\xff\x4f\xff\x51" + size + b"\x07\x01\x01" * components + bytes(16)


def jpeg_xl(rows: int, columns: int) -> bytes:
    """Return the beginning of a JPEG XL code stream with sizes of thirty bits (ISO 18181-1 D.2)."""
    bits = 0 | 3 << 1 | (rows - 1) << 3 | 0 << 33 | 3 << 36 | (columns - 1) << 38
    return b"\xff\x0a" + bits.to_bytes(16, "little")
