"""How each transfer syntax of PS3.5 lays out a data set."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom._uid_dict import UID_dictionary

_BASE = "1.2.840.10008.1.2"
#: Newer than pydicom's dictionary: JPEG XL (Supplement 232) and deflated frames (Supplement 244).
_NEWER = (f"{_BASE}.4.110", f"{_BASE}.4.111", f"{_BASE}.4.112", f"{_BASE}.8.1")
#: MIME, XML, streams over a network, Papyrus: not an encoding of a DICOM file.
_NO_FILES = (f"{_BASE}.6.", f"{_BASE}.7.", "1.2.840.10008.1.20")
_NATIVE = {_BASE, f"{_BASE}.1", f"{_BASE}.2"}
_DEFLATED = {f"{_BASE}.1.99", f"{_BASE}.4.95", f"{_BASE}.4.205"}
#: The pixels stay on a server (JPIP); the second and the fourth are deflated.
_ELSEWHERE = {f"{_BASE}.4.94", f"{_BASE}.4.95", f"{_BASE}.4.204", f"{_BASE}.4.205"}


@dataclass(frozen=True, kw_only=True)
class TransferSyntax:
    """One row of PS3.5 Annex A."""

    uid: str
    implicit: bool
    big_endian: bool
    deflated: bool
    #: Pixel data come in fragments (PS3.5 A.4).
    encapsulated: bool
    #: False where the pixels stay on a server (JPIP).
    holds_pixels: bool
    #: Many frames share one stream (MPEG family).
    video: bool
    #: Each frame begins with the header of a JPEG, JPEG 2000 or JPEG XL stream.
    still: bool
    rle: bool


def _row(uid: str) -> TransferSyntax:
    encapsulated = uid not in _NATIVE | _DEFLATED | _ELSEWHERE
    video = uid.startswith(f"{_BASE}.4.10")
    return TransferSyntax(
        uid=uid,
        implicit=uid == _BASE,
        big_endian=uid == f"{_BASE}.2",
        deflated=uid in _DEFLATED,
        encapsulated=encapsulated,
        holds_pixels=uid not in _ELSEWHERE,
        video=video,
        still=encapsulated and not video and uid.startswith(f"{_BASE}.4."),
        rle=uid == f"{_BASE}.5",
    )


#: Every transfer syntax in which an instance may lie on a disk, by its UID.
TRANSFER_SYNTAXES = {
    uid: _row(uid)
    for uid in (*(uid for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"), *_NEWER)
    if not uid.startswith(_NO_FILES)
}
