"""Files that kill or choke other receivers, made on the spot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from pydicom.uid import generate_uid

from pacs_bridge.part10 import file_head

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    """Return one element in explicit VR little endian (PS3.5 7.1.2)."""
    value += b" " * (len(value) % 2) if vr not in (b"UI", b"OB") else b"\0" * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + (struct.pack("<HI", 0, len(value)) if vr in _LONG else struct.pack("<H", len(value))) + value


def identity(instance: str, study: str | None = None) -> bytes:
    """Return the elements that name an instance, in the order of their tags."""
    return b"".join(
        (
            element(0x00080016, b"UI", CT.encode()), element(0x00080018, b"UI", instance.encode()),
            element(0x00080060, b"CS", b"CT"), element(0x00100010, b"PN", b"Hostile^File"), element(0x00100020, b"LO", b"H1"),
            element(0x0020000D, b"UI", (study or generate_uid()).encode()), element(0x0020000E, b"UI", generate_uid().encode()),
        )
    )  # fmt: skip


def write(path: Path, instance: str, pieces: Iterator[bytes], transfer_syntax: str = EXPLICIT) -> Path:
    """Write a Part 10 file of a data set that comes in pieces."""
    with path.open("wb") as file:
        file.write(file_head(CT, instance, transfer_syntax, "HOSTILE"))
        for piece in pieces:
            file.write(piece)
    return path


def nested(path: Path, depth: int) -> Path:
    """Sequences inside sequences, of undefined length (PS3.5 7.5.2)."""
    instance = generate_uid()
    opening = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return write(path, instance, iter((identity(instance), opening * depth, closing * depth)))


def deflate_bomb(path: Path, inflated: int) -> Path:
    """A small deflated data set (PS3.5 A.5) that inflates to ``inflated`` bytes of pixels."""
    instance, block = generate_uid(), 1 << 24

    def pieces() -> Iterator[bytes]:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        head = identity(instance) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, inflated)
        yield packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
        zeros = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)
        for _ in range(inflated // block):
            yield zeros
        yield packer.flush()

    return write(path, instance, pieces(), DEFLATED)


def image_bomb(path: Path, frames: int) -> Path:
    """An image of 65 535 × 65 535 and so many frames, with a handful of bytes."""
    instance = generate_uid()
    image = (
        element(0x00280002, b"US", b"\1\0"), element(0x00280004, b"CS", b"MONOCHROME2"),
        element(0x00280008, b"IS", str(frames).encode()), element(0x00280010, b"US", b"\xff\xff"),
        element(0x00280011, b"US", b"\xff\xff"), element(0x00280100, b"US", b"\x10\0"), element(0x00280101, b"US", b"\x10\0"),
        element(0x00280102, b"US", b"\x0f\0"), element(0x00280103, b"US", b"\0\0"), element(0x7FE00010, b"OW", bytes(64)),
    )  # fmt: skip
    return write(path, instance, iter((identity(instance), *image)))


def named(path: Path, instance: str) -> Path:
    """A tiny instance under any UID at all."""
    return write(path, instance, iter((identity(instance),)))


def truncated(path: Path) -> Path:
    """A data set that ends inside a value."""
    instance = generate_uid()
    whole = identity(instance) + element(0x00081030, b"LO", b"x" * 60)
    return write(path, instance, iter((whole[:-31],)))
