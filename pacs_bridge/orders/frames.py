"""Messages out of a connection (MLLP: HL7 v2 Transport, Release 1), each within a size and a time."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

from core.errors import SumuError

BEGIN, END = b"\x0b", b"\x1c\x0d"
#: How a TLS handshake begins (RFC 8446 5.1: ContentType handshake).
TLS_BEGINS = b"\x16"
MOST_MESSAGE_BYTES = 256 * 1024
#: A message that has begun must be whole within this time, and an answer must be taken.
MESSAGE_SECONDS = 20.0
_READ_BYTES = 65536


class BrokenFrame(SumuError):
    """A peer sent something that is no MLLP."""

    def __init__(self, problem: str, remedy: str = "Send each message as <VT> message <FS><CR>.") -> None:
        super().__init__(problem, remedy=remedy)


def frames(connection: socket.socket, heard: Callable[[], None]) -> Iterator[bytes]:
    """Yield the messages of one connection until it ends; ``heard`` is called when bytes came.

    Raises
    ------
    BrokenFrame
        If what comes is no frame, too long, or too slow.
    OSError
        If the connection ends.
    """
    waiting = b""
    while True:
        begin = waiting.find(BEGIN)
        if waiting.startswith(TLS_BEGINS):
            raise BrokenFrame("The connection begins with TLS.", "Have it call orders.mllp_tls_port, or send without TLS.")
        if begin < 0:
            if waiting.strip(b"\r\n\x1c"):
                raise BrokenFrame("The connection does not begin a message with <VT>.")
            connection.settimeout(None)  # between messages a sender may be silent for as long as it likes
            waiting = _more(connection, heard)
            continue
        if waiting[:begin].strip(b"\r\n\x1c"):
            raise BrokenFrame("There are bytes between two messages.")
        deadline, buffer, looked = time.monotonic() + MESSAGE_SECONDS, bytearray(waiting[begin + 1 :]), 0
        while (end := buffer.find(END, looked)) < 0:
            if len(buffer) > MOST_MESSAGE_BYTES:
                raise BrokenFrame(f"A message is longer than {MOST_MESSAGE_BYTES >> 10} KiB.")
            looked = max(0, len(buffer) - 1)
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokenFrame(f"A message was not whole after {MESSAGE_SECONDS:g} seconds.")
            connection.settimeout(left)
            try:
                buffer += _more(connection, heard)
            except TimeoutError:
                continue
        if end > MOST_MESSAGE_BYTES:
            raise BrokenFrame(f"A message is longer than {MOST_MESSAGE_BYTES >> 10} KiB.")
        waiting = bytes(buffer[end + len(END) :])
        yield bytes(buffer[:end])


def _more(connection: socket.socket, heard: Callable[[], None]) -> bytes:
    data = connection.recv(_READ_BYTES)
    if not data:
        raise ConnectionAbortedError("the sender closed the connection")
    heard()
    return data
