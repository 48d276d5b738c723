"""A file written anew with a few of its bytes replaced: everything else is copied by range, in chunks, in flat memory."""

from __future__ import annotations

import hashlib
import os
import struct
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pacs_bridge.character_sets.elements import Bytes, Layout, Span

CHUNK = 1 << 20
LARGEST_SHORT_VALUE = 0xFFFE

#: Bytes, or a range (start, end) of the file that is rewritten.
Piece = bytes | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Splice:
    """What comes in place of the bytes from start to end."""

    start: int
    end: int
    pieces: tuple[Piece, ...]

    @property
    def growth(self) -> int:
        """By how many bytes the file grows."""
        return length_of(self.pieces) - (self.end - self.start)


class TooLong(Exception):
    """A value outgrew the 16 bits that its VR has for the length (PS3.5 7.1.2)."""


class Rewriting:
    """The replacements in one data set, with all lengths around them kept right (PS3.5 7.5, and retired group lengths)."""

    def __init__(self, view: Bytes, layout: Layout) -> None:
        self._view = view
        self._layout = layout
        self._order = "<" if layout.little else ">"
        self._splices: list[Splice] = []
        self._container_growth: dict[int, int] = defaultdict(int)
        self._group_growth: dict[tuple[int, int], int] = defaultdict(int)

    def replace_value(self, span: Span, value: bytes) -> None:
        """Give an element another value.

        Raises
        ------
        TooLong
            If its length field cannot say the new length.
        """
        if span.value - span.length_at == 2:
            if len(value) > LARGEST_SHORT_VALUE:
                raise TooLong(f"({span.tag >> 16:04X},{span.tag & 0xFFFF:04X})")
            length = struct.pack(self._order + "H", len(value))
        else:
            length = struct.pack(self._order + "I", len(value))
        self._splices.append(Splice(span.length_at, span.value, (length,)))
        splice = Splice(span.value, span.end, (value,))
        self._splices.append(splice)
        self._grow(span.container, span.tag, splice.growth)

    def replace_root_element(self, tag: int, start: int, end: int, pieces: tuple[Piece, ...]) -> None:
        """Put other bytes in place of an element of the data set itself; start equals end where there was none."""
        splice = Splice(start, end, pieces)
        self._splices.append(splice)
        self._grow(-1, tag, splice.growth)

    def append_item(self, number: int, pieces: tuple[Piece, ...]) -> None:
        """Add an item at the end of the sequence with this number in ``Layout.containers``."""
        sequence = self._layout.containers[number]
        end = sequence.end - 8 if sequence.undefined else sequence.end
        self._splices.append(Splice(end, end, pieces))
        growth = length_of(pieces)
        self._container_growth[number] += growth
        self._grow(sequence.parent, sequence.tag, growth)

    def write(self, source: Path, target: Path) -> str:
        """Write the file and sync it; returns SHA-256 of its data set up to the pixels.

        Raises
        ------
        FileExistsError
            If the target exists.
        """
        layout = self._layout
        digest = hashlib.sha256()
        with source.open("rb") as reader, target.open("xb") as writer:
            position = 0
            for splice in sorted(self._splices + self._lengths(), key=lambda splice: (splice.start, splice.end)):
                for chunk in chunks(reader.fileno(), ((position, splice.start), *splice.pieces)):
                    writer.write(chunk)
                position = splice.end
            for chunk in chunks(reader.fileno(), ((position, layout.tail),)):
                writer.write(chunk)
            writer.flush()
            head_end = writer.tell()
            for chunk in chunks(reader.fileno(), ((layout.tail, os.fstat(reader.fileno()).st_size),)):
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        with target.open("rb") as reader:
            for chunk in chunks(reader.fileno(), ((layout.start, head_end),)):
                digest.update(chunk)
        return digest.hexdigest()

    def _grow(self, container: int, tag: int, growth: int) -> None:
        """Note that an element grew, in the group and in every container around it."""
        containers = self._layout.containers
        self._group_growth[(container, tag >> 16)] += growth
        while container >= 0:
            self._container_growth[container] += growth
            around = containers[container]
            if around.tag != 0xFFFEE000:
                self._group_growth[(around.parent, around.tag >> 16)] += growth
            container = around.parent

    def _lengths(self) -> list[Splice]:
        layout = self._layout
        splices = []
        for number, growth in self._container_growth.items():
            container = layout.containers[number]
            if growth and not container.undefined:
                body = container.end - (container.length_at + 4)
                splices.append(Splice(container.length_at, container.length_at + 4, (self._long(body + growth),)))
        if any(self._group_growth.values()):
            replaced = {splice.start for splice in self._splices if splice.start != splice.end}
            for span in layout.spans:
                growth = self._group_growth.get((span.container, span.tag >> 16), 0)
                if span.tag & 0xFFFF == 0 and growth and span.end - span.value == 4 and span.start not in replaced:
                    length = self._length_in(span.value) + growth
                    splices.append(Splice(span.value, span.end, (self._long(length),)))
        return splices

    def _length_in(self, offset: int) -> int:
        return int(struct.unpack(self._order + "I", self._view[offset : offset + 4])[0])

    def _long(self, number: int) -> bytes:
        return struct.pack(self._order + "I", number)


def chunks(descriptor: int, pieces: Iterable[Piece]) -> Iterable[bytes]:
    """Yield the bytes of pieces, ranges by ``CHUNK`` at a time."""
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        position, end = piece
        while position < end:
            chunk = os.pread(descriptor, min(CHUNK, end - position), position)
            if not chunk:
                raise EOFError("The file became shorter while it was read.")
            yield chunk
            position += len(chunk)


def length_of(pieces: Iterable[Piece]) -> int:
    """Return how many bytes pieces are."""
    return sum(len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
