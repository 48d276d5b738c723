"""One TCP or TLS connection of a device: bytes in pieces, with a deadline for everything that has begun."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterator

from core.errors import SumuError

#: Enough for requests; most connections never send an image. The larger one is taken when an image comes.
_FIRST_BUFFER_BYTES, _BUFFER_BYTES = 1 << 13, 1 << 18


class PeerGone(SumuError):
    """The device closed the connection, or the line broke."""

    def __init__(self) -> None:
        super().__init__("The connection was closed.", remedy="Nothing to do: the device sends again what was not acknowledged.")


class PeerSilent(SumuError):
    """Nothing, or too little, came for too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The device was silent for {seconds:.0f} s.", remedy="Check the line to it; it calls again by itself.")


class Wire:
    """Buffered reading from, and writing to, one connection. One thread uses it; any thread may :meth:`cut` it."""

    def __init__(self, connection: socket.socket, *, idle_seconds: float) -> None:
        self._socket, self._idle = connection, idle_seconds
        self._buffer = bytearray(_FIRST_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._deadline: float | None = None
        #: Since when it waits for the device, on the monotonic clock; None while it does not wait.
        self.waits_since: float | None = None

    def expect_within(self, seconds: float | None) -> None:
        """Set how long from now everything that is read next may take; None: each wait may last the idle time."""
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def exactly(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises
        ------
        PeerGone, PeerSilent
            If they do not come.
        """
        if count <= self._end - self._start:
            self._start += count
            return bytes(self._view[self._start - count : self._start])
        collected = bytearray()
        for piece in self.pieces(count):
            collected += piece
        return bytes(collected)

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Yield the next ``count`` bytes as they come. A piece is valid until the next one is asked for."""
        while count:
            if self._start == self._end:
                if count > len(self._buffer) < _BUFFER_BYTES:
                    self._buffer = bytearray(_BUFFER_BYTES)
                    self._view = memoryview(self._buffer)
                self._fill()
            size = min(count, self._end - self._start)
            piece = self._view[self._start : self._start + size]
            self._start += size
            count -= size
            yield piece

    def waiting(self) -> bool:
        """Return whether something has come that was not read yet."""
        if self._start != self._end or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        try:
            return bool(select.select([self._socket], [], [], 0)[0])
        except (OSError, ValueError):  # cut meanwhile
            return True

    def send(self, *pieces: bytes | memoryview) -> None:
        """Send all of it.

        Raises
        ------
        PeerGone, PeerSilent
            If the device does not take it.
        """
        try:
            self._socket.settimeout(self._idle)
            self._socket.sendall(b"".join(pieces) if len(pieces) > 1 else pieces[0])
        except TimeoutError:
            raise PeerSilent(self._idle) from None
        except OSError:
            raise PeerGone() from None

    def cut(self) -> None:
        """End the connection at once; whoever reads it learns that the peer is gone."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the socket back."""
        self.cut()
        self._socket.close()

    def _fill(self) -> None:
        wait = self._idle
        if self._deadline is not None:
            wait = min(wait, self._deadline - time.monotonic())
            if wait <= 0:
                raise PeerSilent(self._idle)
        self.waits_since = time.monotonic()
        try:
            self._socket.settimeout(wait)
            count = self._socket.recv_into(self._buffer)
        except TimeoutError:
            raise PeerSilent(wait) from None
        except OSError:
            raise PeerGone() from None
        self.waits_since = None
        if not count:
            raise PeerGone()
        self._start, self._end = 0, count
