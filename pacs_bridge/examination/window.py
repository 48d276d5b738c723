"""Forward-only, buffered reading of a data set: from the file, or inflated on the way, never whole in memory."""

from __future__ import annotations

import os
import zlib
from typing import Protocol

from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Deadline, Malformed

#: Bytes that are read at once where headers are dense.
PIECE = 64 << 10
#: Bytes of deflated input at once: at most 16 MiB of output wait inside zlib's reach.
_PACKED_PIECE = 16 << 10
#: CRC-32 and length, which old toolkits leave behind the stream (RFC 1952 2.3.1).
_TRAILER = 8
#: An end of file that is not known before it is reached.
ENDLESS = 1 << 62


class Source(Protocol):
    """Where a window's bytes come from."""

    #: Offset behind the last byte, or ``ENDLESS``.
    end: int

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end."""

    def skip(self, count: int) -> int:
        """Pass over bytes and return how many there were."""

    def finish(self) -> None:
        """Raise :class:`Malformed` if more follows where nothing may."""


class FileSource:
    """The data set as it lies in the file; skipping costs nothing."""

    def __init__(self, handle: int, at: int, end: int) -> None:
        self._handle, self._at, self.end = handle, at, end

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        piece = os.pread(self._handle, min(size, self.end - self._at), self._at)
        self._at += len(piece)
        return piece

    def skip(self, count: int) -> int:
        """Pass over bytes and return how many there were."""
        passed = min(count, self.end - self._at)
        self._at += passed
        return passed

    def finish(self) -> None:
        """Nothing can follow the end of the file."""


class InflatedSource:
    """A deflated data set (PS3.5 A.5, RFC 1951 without a zlib header), inflated piece by piece within the limits."""

    end = ENDLESS

    def __init__(self, handle: int, at: int, end: int, limits: Limits, deadline: Deadline) -> None:
        self._file = FileSource(handle, at, end)
        self._size = end - at
        self._limits, self._deadline = limits, deadline
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._packed = b""
        self._read = 0
        #: Bytes inflated so far.
        self.total = 0

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end of the stream."""
        while not self._inflater.eof:
            self._deadline.check()
            if not self._packed:
                self._packed = self._file.read(_PACKED_PIECE)
                self._read += len(self._packed)
            no_input = not self._packed
            try:
                plain = self._inflater.decompress(self._packed, size)
            except zlib.error as error:
                raise Malformed(f"The deflated data set is damaged at byte {self.total}: {error}.") from error
            self._packed = self._inflater.unconsumed_tail
            self.total += len(plain)
            self._check()
            if plain:
                return plain
            if no_input and not self._inflater.eof:
                raise Malformed(f"The deflated data set breaks off after {self.total} inflated bytes.")
        return b""

    def skip(self, count: int) -> int:
        """Inflate and forget."""
        passed = 0
        while passed < count:
            piece = self.read(min(PIECE, count - passed))
            if not piece:
                break
            passed += len(piece)
        return passed

    def finish(self) -> None:
        """Raise :class:`Malformed` if more follows the stream than a padding byte, or the checksum and length of gzip."""
        left = len(self._inflater.unused_data) + self._size - self._read
        if left > _TRAILER:
            raise Malformed(f"{left} bytes follow the end of the deflated data set.")

    def _check(self) -> None:
        limits = self._limits
        if self.total > limits.inflated_bytes:
            raise BeyondLimit(f"The deflated data set inflates to more than {limits.inflated_bytes} bytes.")
        if self.total > limits.inflated_free_bytes and self.total > limits.inflated_ratio * self._read:
            raise BeyondLimit(f"The deflated data set inflates to more than {limits.inflated_ratio} times its size.")


class Window:
    """A moving view into a source.

    ``buffer[position:]`` is what was read and not yet passed; ``base`` is the source's offset of ``buffer[0]``.
    """

    __slots__ = ("_source", "base", "buffer", "piece", "position")

    def __init__(self, source: Source, base: int) -> None:
        self._source = source
        self.buffer, self.position, self.base = b"", 0, base
        #: How many bytes are read ahead.
        self.piece = PIECE

    @property
    def at(self) -> int:
        """Offset of the next byte."""
        return self.base + self.position

    def need(self, count: int) -> bool:
        """Have at least ``count`` bytes in the buffer, and return whether there are so many left."""
        missing = count - (len(self.buffer) - self.position)
        if missing <= 0:
            return True
        pieces = [self.buffer[self.position :]]
        while missing > 0:
            piece = self._source.read(max(self.piece, missing))
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        self.base += self.position
        self.buffer, self.position = b"".join(pieces), 0
        return missing <= 0

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end, and stay."""
        self.need(count)
        return self.buffer[self.position : self.position + count]

    def skip(self, count: int) -> bool:
        """Pass over bytes and return whether there were so many."""
        there = len(self.buffer) - self.position
        if count <= there:
            self.position += count
            return True
        passed = self._source.skip(count - there)
        self.base += len(self.buffer) + passed
        self.buffer, self.position = b"", 0
        return passed == count - there
