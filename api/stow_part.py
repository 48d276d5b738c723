"""One part of a STOW-RS request on its way into the spool: its head read, its data set written and hashed as it comes."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from datetime import datetime

from core.errors import SumuError
from pacs_bridge.edge.prediction import Prediction
from pacs_bridge.part10 import IMPLEMENTATION_UID, file_head
from pacs_bridge.receiving import TooLarge
from pacs_bridge.spool import ArrivingFile, Spool

#: Preamble, prefix, and the group length element (0002,0000) UL with its value (PS3.10 7.1).
_FIXED = 128 + 4 + 12
#: File meta information is a few hundred bytes.
_LARGEST_META = 1 << 16
#: A disk that fills while a large instance comes is noticed at these steps.
_LOOK_AT_DISK_EVERY = 64 << 20
#: Explicit representations whose length has four bytes (PS3.5 7.1.2).
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


class NotAnInstance(SumuError):
    """A part that is no DICOM file."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The part is no DICOM file: {why}.", remedy="Send each instance as a whole file (PS3.10 7).")


class Damaged(SumuError):
    """A part that is not what its sender says it is."""

    def __init__(self, said: str, came: str) -> None:
        super().__init__(
            f"The data set was damaged on its way: SHA-256 {came[:12]}… instead of {said[:12]}….",
            remedy="Send it again; if this stays, look at the sender's disk.",
        )


class UnknownPrediction(SumuError):
    """Pixels that were predicted in a way that we cannot undo."""

    def __init__(self, said: str) -> None:
        super().__init__(f"The prediction '{said[:64]}' is not understood.", remedy="Send the instance without prediction.")


def prediction_in(header: str) -> Prediction:
    """Return what a header says of predicted pixels.

    Raises
    ------
    UnknownPrediction
        If we cannot undo it.
    """
    try:
        return Prediction.parse(header)
    except ValueError as error:
        raise UnknownPrediction(header) from error


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """Which edge acknowledged an instance before us."""

    edge: str
    received_at: datetime

    def meta(self) -> bytes:
        """Return it as Private Information of the file meta information (PS3.10 7.1), so that the archive keeps it too."""
        creator = IMPLEMENTATION_UID.encode() + b"\0" * (len(IMPLEMENTATION_UID) % 2)
        told = json.dumps({"edge": self.edge, "received": self.received_at.isoformat()}).encode()
        told += b" " * (len(told) % 2)
        return (
            struct.pack("<HH2sH", 2, 0x0100, b"UI", len(creator)) + creator
            + struct.pack("<HH2sHI", 2, 0x0102, b"OB", 0, len(told)) + told
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the head of a part says that it is."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


class ArrivingPart:
    """A part while it comes. The part's own preamble and meta information are replaced by ours; the data set stays as it is."""

    def __init__(self, spool: Spool, *, source_ae_title: str, limit: int, forwarded: Forwarded | None = None) -> None:
        self._spool, self._source, self._limit, self._forwarded = spool, source_ae_title, limit, forwarded
        self._head = bytearray()
        self._file: ArrivingFile | None = None
        self._looked_at = 0
        #: Known once the head has come.
        self.identity: Identity | None = None

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises
        ------
        NotAnInstance
            If the head is none.
        pacs_bridge.receiving.TooLarge, pacs_bridge.spool.SpoolFull
            If there is more than its device may send, or than the disk takes.
        """
        if self._file is None:
            self._head += piece
            end = self._head_end()
            if end is None:
                return
            piece = memoryview(bytes(self._head))[end:]
            self.identity = _identity(bytes(self._head[:end]))
            self._file = self._begin(self.identity)
            self._head.clear()
        if self._file.size + len(piece) > self._limit:
            raise TooLarge(self._limit)
        self._file.write(piece)
        if self._file.size - self._looked_at > _LOOK_AT_DISK_EVERY:
            self._looked_at = self._file.size
            self._spool.check_space()

    def whole(self, said_sha256: str = "") -> ArrivingFile:
        """Return the file when the part has ended.

        Raises
        ------
        NotAnInstance
            If it ended before its data set.
        Damaged
            If its hash is not the one that its sender said.
        """
        if self._file is None or not self._file.size:
            raise NotAnInstance("it ends before its data set")
        if said_sha256 and self._file.sha256 != said_sha256.lower():
            raise Damaged(said_sha256, self._file.sha256)
        return self._file

    def close(self, *, drop: bool) -> None:
        """Close the file, and remove it when it is not wanted."""
        if self._file is not None:
            self._file.close(drop=drop)
            self._file = None

    def _begin(self, identity: Identity) -> ArrivingFile:
        head = file_head(identity.sop_class_uid, identity.sop_instance_uid, identity.transfer_syntax_uid, self._source)
        if self._forwarded is not None:
            head += self._forwarded.meta()
            head = head[: _FIXED - 4] + struct.pack("<I", len(head) - _FIXED) + head[_FIXED:]
        return self._spool.begin(head)

    def _head_end(self) -> int | None:
        """Return where the data set begins, once that much has come."""
        head = self._head
        if len(head) < _FIXED:
            return None
        if head[128:132] != b"DICM" or head[132:140] != b"\2\0\0\0UL\4\0":
            raise NotAnInstance("preamble, 'DICM' and the group length (0002,0000) are missing")
        length = int.from_bytes(head[140:144], "little")
        if length > _LARGEST_META:
            raise NotAnInstance("its meta information is larger than 64 KiB")
        return _FIXED + length if len(head) >= _FIXED + length else None


def _identity(head: bytes) -> Identity:
    """Read the three identifiers of the file meta information, which is explicit little endian (PS3.10 7.1)."""
    found, place = dict[int, str](), _FIXED
    while place + 8 <= len(head):
        group, element, vr = struct.unpack_from("<HH2s", head, place)
        if vr in _LONG:
            length, place = int.from_bytes(head[place + 8 : place + 12], "little"), place + 12
        else:
            length, place = int.from_bytes(head[place + 6 : place + 8], "little"), place + 8
        if group != 2 or place + length > len(head):
            raise NotAnInstance("its meta information is broken")
        if element in (0x0002, 0x0003, 0x0010):
            found[element] = head[place : place + length].rstrip(b"\0 ").decode("ascii", "replace")
        place += length
    if not found.get(0x0010):
        raise NotAnInstance("its meta information names no transfer syntax")
    for uid in found.values():
        if not _is_uid(uid):
            raise NotAnInstance(f"its meta information holds '{uid[:64]}', which is no UID")
    # Where class or instance is left out the data set tells, as after C-STORE.
    return Identity(
        sop_class_uid=found.get(0x0002, ""), sop_instance_uid=found.get(0x0003, ""), transfer_syntax_uid=found[0x0010]
    )


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and not set(text) - set("0123456789.")
