"""Small Part 10 files with text bytes as a device might write them, wrong declarations among them."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from pacs_bridge.character_sets.elements import TextElement

EXPLICIT, IMPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"
DEFLATED, JPEG_BASELINE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.50"

_LONG = {"SQ", "OB", "OW", "UT", "UC", "UN"}
_UNDEFINED = 0xFFFFFFFF


@dataclass
class Writer:
    """Encodes elements in one transfer syntax."""

    syntax: str = EXPLICIT
    parts: list[bytes] = field(default_factory=list)

    @property
    def order(self) -> str:
        return ">" if self.syntax == BIG_ENDIAN else "<"

    def element(self, tag: int, vr: str, value: bytes, *, length: int | None = None) -> bytes:
        if length is None:
            value += (b"\x00" if vr in ("UI", "OB") else b" ") * (len(value) % 2)
            length = len(value)
        head = struct.pack(self.order + "HH", tag >> 16, tag & 0xFFFF)
        if self.syntax == IMPLICIT:
            return head + struct.pack("<I", length) + value
        if vr in _LONG:
            return head + vr.encode() + struct.pack(self.order + "HI", 0, length) + value
        return head + vr.encode() + struct.pack(self.order + "H", length) + value

    def item(self, body: bytes, *, undefined: bool) -> bytes:
        mark = struct.pack(self.order + "HH", 0xFFFE, 0xE000)
        if not undefined:
            return mark + struct.pack(self.order + "I", len(body)) + body
        return mark + struct.pack(self.order + "I", _UNDEFINED) + body + struct.pack(self.order + "HHI", 0xFFFE, 0xE00D, 0)

    def sequence(self, tag: int, items: list[bytes], *, undefined: bool) -> bytes:
        body = b"".join(self.item(item, undefined=undefined) for item in items)
        if not undefined:
            return self.element(tag, "SQ", body)
        return self.element(tag, "SQ", body + struct.pack(self.order + "HHI", 0xFFFE, 0xE0DD, 0), length=_UNDEFINED)


def part10(path: Path, syntax: str, dataset: bytes) -> Path:
    """Write a Part 10 file around an encoded data set."""
    meta = Writer()
    body = meta.element(0x00020002, "UI", b"1.2.840.10008.5.1.4.1.1.7")
    body += meta.element(0x00020003, "UI", b"2.25.1") + meta.element(0x00020010, "UI", syntax.encode())
    if syntax == DEFLATED:
        engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        dataset = engine.compress(dataset) + engine.flush()
        dataset += b"\x00" * (len(dataset) % 2)
    group = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(body))
    path.write_bytes(bytes(128) + b"DICM" + group + body + dataset)
    return path


def pixels(writer: Writer) -> bytes:
    """Return pixel data as the transfer syntax has it."""
    if writer.syntax != JPEG_BASELINE:
        return writer.element(0x7FE00010, "OW", bytes(range(256)) * 16)
    fragments = [b"", b"\xff\xd8" + b"\xce\xb0" * 100 + b"\xff\xd9"]
    body = b"".join(writer.item(fragment, undefined=False) for fragment in fragments)
    return writer.element(0x7FE00010, "OB", body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), length=_UNDEFINED)


def value(vr: str, text: bytes, tag: int = 0x00100010) -> TextElement:
    """Return one text value."""
    return TextElement((tag,), vr, text)
