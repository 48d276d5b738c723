"""DICOM files (PS3.10 7) as bytes: where the data set begins, its size and its hash, without parsing it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from core.errors import SumuError

#: Preamble, prefix, and the group length element (0002,0000) UL with its value.
_HEAD = 128 + 4 + 12


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
