"""Splits a multipart/related body (RFC 2387) into its parts while it comes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from email.message import Message
from typing import ClassVar, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from api.refusals import N_, Refusal

#: A study of slides, or a day of a CT, stays far below; each part leaves a line in the answer.
MOST_PARTS = 20_000


class NotMultipart(Refusal):
    """Another media type than STOW-RS has."""

    status: ClassVar[int] = 415
    message_id = N_("The content type '%(type)s' is none of STOW-RS.")
    remedy_id = N_('Send multipart/related; type="application/dicom"; boundary=… (PS3.18 10.5).')


class BrokenMultipart(Refusal):
    """A body that is not multipart, or does not end as one."""

    status: ClassVar[int] = 400
    message_id = N_("The body is no whole multipart message: %(why)s.")
    remedy_id = N_("Check the boundary and the last line; instances that came whole are kept and not stored twice.")


class TooManyParts(Refusal):
    """More parts than one request may have."""

    status: ClassVar[int] = 413
    message_id = N_("A request may have %(most)s parts at most.")
    remedy_id = N_("Send the instances in several requests; those before are kept.")


class Parts(Protocol):
    """Who takes the parts."""

    def begin(self, headers: Mapping[str, str]) -> None:
        """Take the headers of the next part, their names in lower case."""

    def write(self, piece: memoryview) -> None:
        """Take some of its bytes."""

    def end(self) -> None:
        """Hear that it is whole."""


def boundary_of(content_type: str) -> str:
    """Return the boundary of ``multipart/related; type="application/dicom"``.

    Raises
    ------
    NotMultipart
        If it is something else: bulk data with metadata apart (PS3.18 8.7.3.3) is not taken.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    kind = header.get_param("type", "application/dicom")
    if header.get_content_type() != "multipart/related" or kind != "application/dicom" or not isinstance(boundary, str):
        raise NotMultipart(type=content_type[:128])
    if not boundary.isascii() or not 0 < len(boundary) <= 70:
        raise BrokenMultipart(why="the boundary is none")
    return boundary


def split(pieces: Iterable[bytes], boundary: str, parts: Parts) -> None:
    """Hand every part over as it comes.

    Raises
    ------
    BrokenMultipart, TooManyParts
        When that turns out; the parts before have been handed over.
    """
    splitter = _Splitter(boundary, parts)
    for piece in pieces:
        splitter.feed(piece)
    splitter.finish()


class _Splitter:
    def __init__(self, boundary: str, parts: Parts) -> None:
        self._parts, self._count, self._ended = parts, 0, False
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[str, str] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": lambda: parts.begin(self._headers),
                "on_part_data": lambda data, start, end: parts.write(memoryview(data)[start:end]),
                "on_part_end": parts.end,
                "on_end": self._end,
            },
            max_header_count=32,
        )

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise BrokenMultipart(why=str(error)[:128]) from error

    def finish(self) -> None:
        if not self._ended:
            raise BrokenMultipart(why="its last boundary is missing" if self._count else "it holds no part")

    def _begin(self) -> None:
        self._count += 1
        if self._count > MOST_PARTS:
            raise TooManyParts(most=MOST_PARTS)
        self._headers = {}

    def _header(self) -> None:
        name = self._name.decode("latin-1").strip().lower()
        self._headers[name] = self._value.decode("latin-1").strip()
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self._ended = True
