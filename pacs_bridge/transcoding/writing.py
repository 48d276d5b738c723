"""Writes the target file: the header's bytes as they are, then one frame after another, never the whole image."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from pacs_bridge.transcoding.description import PixelDescription
from pacs_bridge.transcoding.layout import EXTENDED_LENGTHS, EXTENDED_OFFSETS, Layout, Span

_CHUNK = 1 << 20
_PIXEL_DATA = b"\xe0\x7f\x10\x00"
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0" + bytes(4)
_PHOTOMETRIC, _PLANAR = 0x00280004, 0x00280006
#: The longest value that an element or a Basic Offset Table entry can name (PS3.5 7.1, A.4).
LONGEST = 0xFFFFFFFE


class TooLong(Exception):
    """The pixels do not fit into one native element."""


def write_header(source: BinaryIO, target: BinaryIO, layout: Layout, syntax: str, changes: dict[int, bytes]) -> None:
    """Write preamble, meta information and the elements before the pixels; only ``changes`` and the offsets differ."""
    write_meta(target, layout.header.preamble or bytes(128), layout.header.file_meta, syntax)
    for tag, span in layout.elements:
        if tag in changes:
            target.write(changes[tag])
        elif tag not in (EXTENDED_OFFSETS, EXTENDED_LENGTHS):
            copy(source, target, span)


def write_meta(target: BinaryIO, preamble: bytes, meta: FileMetaDataset, syntax: str) -> None:
    """Write preamble and meta information (PS3.10 7.1) with another transfer syntax."""
    meta.TransferSyntaxUID = UID(syntax)
    coded = DicomBytesIO()
    write_file_meta_info(coded, meta, enforce_standard=True)
    target.write(preamble + b"DICM" + coded.getvalue())


def changed_elements(photometric: str | None, *, by_pixel: bool) -> dict[int, bytes]:
    """Return the elements, coded, that decoding makes different (PS3.3 C.7.6.3.1.2, C.7.6.3.1.3)."""
    changes = {}
    if photometric is not None:
        value = photometric.encode("ascii") + b" " * (len(photometric) % 2)
        changes[_PHOTOMETRIC] = struct.pack("<HH2sH", 0x0028, 0x0004, b"CS", len(value)) + value
    if by_pixel:
        changes[_PLANAR] = struct.pack("<HH2sHH", 0x0028, 0x0006, b"US", 2, 0)
    return changes


def write_native(target: BinaryIO, pixels: PixelDescription, frames: Iterable[bytes]) -> None:
    """Write frames as one element (PS3.5 8.1.1, A.2).

    Raises
    ------
    TooLong
        If they need 4 GiB or more.
    """
    size = (pixels.frame_bits * pixels.frames + 7) // 8
    padded = size + size % 2
    if padded > LONGEST:
        raise TooLong
    kind = b"OW" if pixels.bits_allocated > 8 else b"OB"
    target.write(_PIXEL_DATA + kind + bytes(2) + struct.pack("<I", padded))
    for frame in frames if pixels.frame_bits % 8 == 0 else _joined(frames, pixels.frame_bits):
        target.write(frame)
    target.write(bytes(padded - size))


def write_encapsulated(target: BinaryIO, pixels: PixelDescription, frames: Iterable[bytes]) -> None:
    """Write one fragment a frame; the offsets before them are filled in at the end (PS3.5 A.4, PS3.3 C.7.6.3.1.8)."""
    extended = pixels.frames > 1 and pixels.frames * (pixels.frame_bytes + pixels.frame_bytes // 8 + 4096) > LONGEST
    if extended:
        room = 8 * pixels.frames
        offsets_at = _reserve(target, 0x0001, room)
        lengths_at = _reserve(target, 0x0002, room)
    target.write(_PIXEL_DATA + b"OB" + bytes(2) + b"\xff" * 4)
    basic = 4 * pixels.frames if pixels.frames > 1 and not extended else 0
    target.write(_ITEM + struct.pack("<I", basic))
    basic_at = target.tell()
    target.write(bytes(basic))
    begin = target.tell()
    offsets, lengths = [], []
    for frame in frames:
        offsets.append(target.tell() - begin)
        lengths.append(len(frame))
        target.write(_ITEM + struct.pack("<I", len(frame) + len(frame) % 2) + frame + bytes(len(frame) % 2))
    target.write(_END)
    end = target.tell()
    if extended:
        _fill(target, offsets_at, struct.pack(f"<{len(offsets)}Q", *offsets))
        _fill(target, lengths_at, struct.pack(f"<{len(lengths)}Q", *lengths))
    elif basic:
        _fill(target, basic_at, struct.pack(f"<{len(offsets)}I", *offsets))
    target.seek(end)


def copy(source: BinaryIO, target: BinaryIO, span: Span) -> None:
    """Copy a run of bytes."""
    source.seek(span.start)
    left = span.size
    while left:
        piece = source.read(min(left, _CHUNK))
        if not piece:
            raise EOFError("the file became shorter while it was read")
        target.write(piece)
        left -= len(piece)


def _reserve(target: BinaryIO, element: int, room: int) -> int:
    target.write(struct.pack("<HH2sHI", 0x7FE0, element, b"OV", 0, room))
    at = target.tell()
    target.write(bytes(room))
    return at


def _fill(target: BinaryIO, at: int, value: bytes) -> None:
    target.seek(at)
    target.write(value)


def _joined(frames: Iterable[bytes], frame_bits: int) -> Iterator[bytes]:
    """Yield frames of single bits without the padding between them (PS3.5 8.1.1)."""
    left = np.zeros(0, np.uint8)
    for frame in frames:
        bits = np.concatenate([left, np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[:frame_bits]])
        whole = len(bits) // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        left = bits[whole:]
    yield np.packbits(left, bitorder="little").tobytes()
