"""DICOM files (PS3.10 7) as bytes: where the data set begins, its size and its hash, without parsing it."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

from core.errors import SumuError

#: Preamble, prefix, and the group length element (0002,0000) UL with its value.
_HEAD = 128 + 4 + 12


#: PS3.7 D.3.3.2: of Sumu's own software, from a UUID (PS3.5 B.2).
IMPLEMENTATION_UID = "2.25.331088841275704441316202602279447577632"
IMPLEMENTATION_VERSION = "SUMU"


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str) -> bytes:
    """Return preamble, prefix and file meta information (PS3.10 7.1) for a data set that came by C-STORE."""
    elements = (
        struct.pack("<HH2sHI2s", 2, 1, b"OB", 0, 2, b"\0\1"),
        _meta(0x0002, b"UI", sop_class_uid),
        _meta(0x0003, b"UI", sop_instance_uid),
        _meta(0x0010, b"UI", transfer_syntax_uid),
        _meta(0x0012, b"UI", IMPLEMENTATION_UID),
        _meta(0x0013, b"SH", IMPLEMENTATION_VERSION),
        _meta(0x0016, b"AE", source_ae_title),
    )
    body = b"".join(elements)
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body)) + body


def _meta(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")[:64]
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", 2, element, vr, len(value)) + value


class NotPart10(SumuError):
    """The bytes do not begin as PS3.10 7.1 says."""

    def __init__(self) -> None:
        super().__init__("The file does not begin with a DICOM preamble and group length.", remedy="Send it as a DICOM file.")


class DatasetDigest:
    """Size and SHA-256 of the data set in a Part 10 file that comes in pieces."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._head = b""
        self._skip: int | None = None
        #: Bytes of the data set seen so far.
        self.size = 0

    def update(self, piece: bytes) -> None:
        """Take the next piece of the file.

        Raises
        ------
        NotPart10
            If the file does not begin as one.
        """
        if self._skip is None:
            self._head += piece
            if len(self._head) < _HEAD:
                return
            piece, self._head = self._head, b""
            self._skip = _offset(piece)
        if self._skip >= len(piece):
            self._skip -= len(piece)
            return
        body = memoryview(piece)[self._skip :]
        self._skip = 0
        self._hash.update(body)
        self.size += len(body)

    @property
    def sha256(self) -> str:
        """Hexadecimal SHA-256 of the data set."""
        return self._hash.hexdigest()


def dataset_digest(path: Path) -> DatasetDigest:
    """Return size and hash of the data set in a file on disk.

    Raises
    ------
    NotPart10
        If it does not begin as a Part 10 file or ends before its data set.
    """
    digest = DatasetDigest()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    if digest._skip is None:
        raise NotPart10()
    return digest


def _offset(head: bytes) -> int:
    """Return where the data set begins: the meta information is always explicit little endian (PS3.10 7.1)."""
    if head[128:132] != b"DICM" or head[132:136] != b"\x02\x00\x00\x00" or head[136:138] != b"UL":
        raise NotPart10()
    return _HEAD + int.from_bytes(head[140:144], "little")
