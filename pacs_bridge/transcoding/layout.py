"""Where the parts of a Part 10 file lie (PS3.10 7, PS3.5 A.4): read by position, so that no pixel is in memory.

All transfer syntaxes that are transcoded are Explicit VR Little Endian, as are their targets; the elements of the header
can therefore be copied byte for byte.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.filereader import data_element_generator

from pacs_bridge.transcoding.errors import CannotTranscode

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_UNDEFINED = b"\xff\xff\xff\xff"
_PIXEL_DATA = 0x7FE00010
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
#: Longer values are stepped over, not read.
_SHORT = 4096

_NEEDED = [
    "SOPInstanceUID", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "PixelRepresentation",
    "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in a file."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes between its ends."""
        return self.end - self.start


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts of one file with encapsulated pixels."""

    header: Dataset
    #: Tag and place of every top-level element before the pixels.
    elements: tuple[tuple[int, Span], ...]
    #: The value of the first item (PS3.5 A.4): empty, or the offset of every frame.
    offsets: Span
    #: The values of the items that follow.
    fragments: tuple[Span, ...]
    #: Elements behind the pixels.
    rest: Span

    def place_of(self, tag: int) -> Span | None:
        """Return where an element before the pixels lies."""
        return next((span for found, span in self.elements if found == tag), None)


def read_layout(file: BinaryIO, path: Path) -> Layout:
    """Find the parts of ``file``, which is open at ``path``.

    Raises
    ------
    CannotTranscode
        If it is no Part 10 file, is cut short, or its pixels are not encapsulated.
    """
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_NEEDED))
        elements = _elements(file)
        offsets, *fragments = _items(file)
    # A broken file makes the parser trip over anything, nesting without end included.
    except Exception as error:
        raise CannotTranscode(path.name, f"{type(error).__name__}: {error}") from error
    if not fragments:
        raise CannotTranscode(path.name, "it has no frames")
    rest = Span(file.tell(), file.seek(0, os.SEEK_END))
    return Layout(header=header, elements=tuple(elements), offsets=offsets, fragments=tuple(fragments), rest=rest)


def _elements(file: BinaryIO) -> list[tuple[int, Span]]:
    """Return the elements before the pixels and leave ``file`` at the first item of the pixels."""
    file.seek(140)
    begin = 144 + int.from_bytes(file.read(4), "little")
    file.seek(begin)
    elements = []
    until_pixels = data_element_generator(file, False, True, lambda tag, vr, length: tag >= _PIXEL_DATA, _SHORT)
    for element in until_pixels:
        elements.append((int(element.tag), Span(begin, file.tell())))
        begin = file.tell()
    head = file.read(12)
    if head[:4] != b"\xe0\x7f\x10\x00" or head[8:] != _UNDEFINED:
        raise ValueError("the pixels are not encapsulated")
    return elements


def _items(file: BinaryIO) -> list[Span]:
    """Return the values of the items from here on and leave ``file`` behind their delimiter."""
    here = file.tell()
    size = file.seek(0, os.SEEK_END)
    items: list[Span] = []
    while True:
        file.seek(here)
        head = file.read(8)
        if head[:4] == _END:
            return items
        span = Span(here + 8, here + 8 + int.from_bytes(head[4:], "little"))
        if head[:4] != _ITEM or span.end > size:
            raise ValueError("the pixels end before their time")
        items.append(span)
        here = span.end
