"""The body of a STOW-RS request as a thread reads it: pulled from the event loop, inflated within bounds, never held whole."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import IO, ClassVar, cast

import anyio
import zstandard
from anyio import from_thread
from starlette.requests import ClientDisconnect

from api.refusals import N_, Refusal

#: Longest silence of a sender in the middle of its body.
SILENT_SECONDS = 120.0
#: RFC 9659: a zstd content coding needs no larger window.
_WINDOW = 8 << 20
_PIECE = 1 << 18
#: Images shrink to a tenth, empty ones to a hundredth; what grows by more than this, beyond this size, is a bomb.
_MOST_GROWTH, _GROWTH_LOOKED_AT_FROM = 1000, 256 << 20


class BodyEnded(Refusal):
    """The body ends before it is whole."""

    status: ClassVar[int] = 400
    message_id = N_("The request's body ends in the middle.")
    remedy_id = N_("Send the request again; instances that came whole are kept and not stored twice.")


class BodyStalled(Refusal):
    """The sender fell silent in the middle of its body."""

    status: ClassVar[int] = 408
    message_id = N_("Nothing of the request's body came for %(seconds)s seconds.")
    remedy_id = N_("Send the request again; instances that came whole are kept and not stored twice.")


class UnknownCoding(Refusal):
    """A content coding that we do not inflate."""

    status: ClassVar[int] = 415
    message_id = N_("The content coding '%(coding)s' is not understood.")
    remedy_id = N_("Send the body as it is, or with Content-Encoding zstd or gzip.")


class UnreadableCoding(Refusal):
    """The body is not what its content coding says."""

    status: ClassVar[int] = 400
    message_id = N_("The body cannot be inflated as %(coding)s.")
    remedy_id = N_("Send it again; a zstd window may be 8 MiB at most.")


class GrowsTooMuch(Refusal):
    """An inflated body that no image makes."""

    status: ClassVar[int] = 413
    message_id = N_("The body inflates to more than %(times)s times its size.")
    remedy_id = N_("Send these instances without Content-Encoding.")


class PulledBody:
    """A request's body, read by a thread of the event loop's own."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream, self._rest = stream, b""
        #: Bytes that came over the line so far.
        self.came = 0

    def read(self, size: int = _PIECE) -> bytes:
        """Return the next bytes, at most ``size``; none at the end.

        Raises
        ------
        BodyEnded, BodyStalled
            If the sender went away or fell silent.
        """
        while not self._rest:
            piece = from_thread.run(self._next)
            if piece is None:
                return b""
            self._rest = piece
        piece, self._rest = self._rest[:size], self._rest[size:]
        self.came += len(piece)
        return piece

    async def _next(self) -> bytes | None:
        try:
            with anyio.fail_after(SILENT_SECONDS):
                return await anext(self._stream, None)
        except TimeoutError as error:
            raise BodyStalled(seconds=round(SILENT_SECONDS)) from error
        except ClientDisconnect as error:
            raise BodyEnded from error


def pieces_of(body: PulledBody, coding: str) -> Iterator[bytes]:
    """Return the body without its content coding (RFC 9110 8.4), in pieces of at most 256 KiB.

    Raises
    ------
    UnknownCoding, UnreadableCoding, GrowsTooMuch
        If it cannot or shall not be inflated.
    """
    grown = 0
    for piece in _inflated(body, coding.strip().lower()):
        grown += len(piece)
        if grown > _GROWTH_LOOKED_AT_FROM and grown > _MOST_GROWTH * body.came:
            raise GrowsTooMuch(times=_MOST_GROWTH)
        yield piece


def _inflated(body: PulledBody, coding: str) -> Iterator[bytes]:
    match coding:
        case "" | "identity":
            return iter(body.read, b"")
        case "zstd":
            return _from_zstd(body)
        case "gzip" | "x-gzip":
            return _from_gzip(body)
    raise UnknownCoding(coding=coding[:64])


def _from_zstd(body: PulledBody) -> Iterator[bytes]:
    source = cast(IO[bytes], body)  # it needs nothing of a file but read()
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(source, _PIECE, read_across_frames=True)
    try:
        while piece := reader.read(_PIECE):
            yield piece
    except zstandard.ZstdError as error:
        raise UnreadableCoding(coding="zstd") from error


def _from_gzip(body: PulledBody) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    full = False
    try:
        while not inflater.eof:
            came = inflater.unconsumed_tail
            if not came and not full and not (came := body.read(1 << 16)):
                return
            piece = inflater.decompress(came, _PIECE)
            full = len(piece) == _PIECE
            if piece:
                yield piece
    except zlib.error as error:
        raise UnreadableCoding(coding="gzip") from error
