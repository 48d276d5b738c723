"""Large instances that an edge brings in pieces: a line that breaks every half hour still brings a slide of gigabytes."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from api.refusals import N_, Refusal
from api.stow_answer import OUT_OF_RESOURCES, Outcome
from api.stow_door import Reception, StowDoor
from api.stow_sender import Sender, origin_of
from pacs_bridge.edge import words
from pacs_bridge.receiving import TooLarge

#: What nobody has added to for so long is removed; the edge begins that instance anew.
FORGOTTEN_SECONDS = 14 * 86400
_BLOCK = 1 << 20


class NoSuchHash(Refusal):
    """The address names no SHA-256."""

    status: ClassVar[int] = 400
    message_id = N_("The address names no SHA-256.")
    remedy_id = N_("Send pieces under the SHA-256 of the data set, in hexadecimal.")


class OtherOffset(Refusal):
    """A piece that does not begin where we are."""

    status: ClassVar[int] = 409
    message_id = N_("We hold %(held)s bytes; the piece begins at %(offset)s.")
    remedy_id = N_("Ask how many bytes are held and go on from there.")


class UnderWay(Refusal):
    """Somebody is writing the same instance."""

    status: ClassVar[int] = 503
    message_id = N_("Another connection is bringing this instance.")
    remedy_id = N_("Try again when that connection has ended.")


class Pieces:
    """Files that grow piece by piece, one for each instance of an edge."""

    def __init__(self, door: StowDoor) -> None:
        self._door = door
        self._folder = door.settings.spool / "pieces"

    def held(self, sender: Sender, sha256: str) -> int:
        """Return how many bytes of the file we hold."""
        path = self._path(sender, sha256)
        return path.stat().st_size if path.exists() else 0

    def add(
        self,
        sender: Sender,
        sha256: str,
        pieces: Iterable[bytes | memoryview],
        *,
        offset: int,
        whole: int,
        headers: Mapping[str, str],
    ) -> Outcome | None:
        """Append a piece; when the file is whole, make the instance durable and return what became of it.

        What comes before a break stays.

        Raises
        ------
        OtherOffset, UnderWay
            If it does not begin where we are, or another thread is at it.
        pacs_bridge.receiving.TooLarge, pacs_bridge.spool.SpoolFull
            If the instance is larger than allowed, or the disk is full.
        """
        limit = self._door.settings.node.max_instance_bytes
        if whole > limit + _BLOCK:
            raise TooLarge(limit)
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(sender, sha256)
        with _alone(path) as handle:
            held = os.fstat(handle).st_size
            if held != offset:
                raise OtherOffset(held=held, offset=offset)
            self._door.spool.check_space()
            if named := headers.get(words.ASSOCIATION.lower(), ""):  # a study waits while its large instance is on the way
                self._door.associations.of(sender, named, origin_of(headers, sender, self._door.devices).device.ae_title)
            room = min(whole - held, words.LARGEST_PIECE)
            try:
                for piece in pieces:
                    if len(piece) > room:
                        raise TooLarge(words.LARGEST_PIECE)
                    room -= len(piece)
                    while len(piece) > (written := os.write(handle, piece)):
                        piece = piece[written:]
            finally:
                os.fdatasync(handle)
            if os.fstat(handle).st_size < whole:
                return None
            outcome = self._take_in(path, sender, {**headers, words.SHA256.lower(): sha256})
            if outcome.failure != OUT_OF_RESOURCES:
                path.unlink(missing_ok=True)
            return outcome

    def forget(self) -> None:
        """Remove what nobody goes on with."""
        if not self._folder.is_dir():
            return
        for path in self._folder.iterdir():
            if path.stat().st_mtime < time.time() - FORGOTTEN_SECONDS:
                path.unlink(missing_ok=True)

    def _take_in(self, path: Path, sender: Sender, headers: Mapping[str, str]) -> Outcome:
        reception = Reception(self._door, sender)
        try:
            reception.begin(headers)
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    reception.write(memoryview(block))
            reception.end()
        finally:
            reception.close()
        return reception.outcomes[0]

    def _path(self, sender: Sender, sha256: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise NoSuchHash
        return self._folder / f"{sender.device.id}-{sha256}"


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnderWay from error
        yield handle
    finally:
        os.close(handle)
