"""The head of a Part 10 file (PS3.10 7.1): the preamble, which may hide another format, and the file meta information."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from struct import unpack_from

from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Malformed, tag_name
from pacs_bridge.examination.representations import EXPLICIT

_PREAMBLE, _PREFIX = 128, b"DICM"
#: Preamble, prefix, and (0002,0000) UL with its value.
_GROUP_LENGTH_END = _PREAMBLE + 4 + 12
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
#: What a machine would run, open or unpack.
_OTHER_FORMATS = {
    b"MZ": "a Windows program", b"\x7fELF": "a Linux program", b"\xfe\xed\xfa": "a macOS program",
    b"\xce\xfa\xed\xfe": "a macOS program", b"\xcf\xfa\xed\xfe": "a macOS program",
    b"\xca\xfe\xba\xbe": "a Java or macOS program",
    b"L\0\0\0\x01\x14\x02\0": "a Windows shortcut", b"dex\n": "an Android program", b"\0asm": "a WebAssembly program",
    b"PK\x03\x04": "a ZIP archive", b"PK\x05\x06": "a ZIP archive", b"PK\x07\x08": "a ZIP archive", b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive", b"\x1f\x8b": "a gzip archive", b"MSCF": "a CAB archive",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"GIF8": "a GIF image", b"\x89PNG": "a PNG image", b"\xff\xd8\xff": "a JPEG image",
}  # fmt: skip
#: The same, in lower case, where spaces and a byte order mark may go before.
_OTHER_TEXTS = {b"#!": "a script", b"@echo": "a script", b"{\\rtf": "an RTF document"}
#: Readers of these find their beginning anywhere in the preamble.
_ANYWHERE = {b"%pdf": "a PDF document", b"<?php": "a PHP script"}
_MARKUP = re.compile(rb"<[!?/a-z]")
_ZIP_END, _ZIP_END_SIZE = b"PK\x05\x06", 22
_TAIL = _ZIP_END_SIZE + 0xFFFF


@dataclass(frozen=True, kw_only=True)
class FileHead:
    """What stands before the data set."""

    #: Values of group 0002, by tag.
    meta: dict[int, bytes]
    dataset_offset: int
    notes: list[str]


def read_head(handle: int, size: int, limits: Limits) -> FileHead:
    """Read preamble and file meta information of an open file of ``size`` bytes.

    Raises
    ------
    Malformed
        If the file is not as PS3.10 7.1 says, or is another format too.
    BeyondLimit
        If the file meta information is larger than the limits allow.
    """
    head = os.pread(handle, _GROUP_LENGTH_END, 0)
    if len(head) < _GROUP_LENGTH_END or head[128:132] != _PREFIX or head[132:140] != b"\2\0\0\0UL\4\0":
        raise Malformed("It does not begin as a DICOM file: preamble, 'DICM', and the group length (0002,0000).")
    notes = _check_preamble(head[:_PREAMBLE])
    _check_tail(handle, size)
    (length,) = unpack_from("<L", head, 140)
    if length > limits.meta_bytes:
        raise BeyondLimit(f"The file meta information claims {length} bytes; {limits.meta_bytes} are allowed.")
    group = os.pread(handle, length, _GROUP_LENGTH_END)
    if len(group) < length:
        raise Malformed("The file ends inside its file meta information.")
    return FileHead(meta=_elements(group), dataset_offset=_GROUP_LENGTH_END + length, notes=notes)


def _elements(group: bytes) -> dict[int, bytes]:
    meta: dict[int, bytes] = {}
    position = 0
    while position < len(group):
        if len(group) - position < 8:
            raise Malformed("The file meta information ends inside an element; its group length (0002,0000) is wrong.")
        number, element, code, length = unpack_from("<HH2sH", group, position)
        tag = number << 16 | element
        representation = EXPLICIT.get(code)
        if number != 2 or representation is None or representation.sequence:
            raise Malformed(f"{tag_name(tag)} has no place in the file meta information; its group length may be wrong.")
        position += 8
        if representation.long:
            if len(group) - position < 4:
                raise Malformed("The file meta information ends inside an element; its group length (0002,0000) is wrong.")
            (length,) = unpack_from("<L", group, position)
            position += 4
        if length > len(group) - position:
            raise Malformed(f"{tag_name(tag)} claims {length} bytes, more than the file meta information has.")
        if tag in meta:
            raise Malformed(f"{tag_name(tag)} stands twice in the file meta information.")
        meta[tag] = group[position : position + length]
        position += length
    return meta


def _check_preamble(preamble: bytes) -> list[str]:
    """Pass a preamble that no other program takes for its own format, and say what it holds.

    TIFF passes: PS3.10 7.1 names it as the use of a preamble, slides and scanners use it, and it runs nothing.
    """
    if not preamble.strip(b"\0"):
        return []
    if preamble.startswith(_TIFF):
        return ["The preamble makes it a TIFF file too."]
    text = preamble.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    names = [name for mark, name in _OTHER_FORMATS.items() if preamble.startswith(mark)]
    names += [name for mark, name in _OTHER_TEXTS.items() if text.startswith(mark)]
    names += [name for mark, name in _ANYWHERE.items() if mark in text]
    if names:
        raise Malformed(f"The preamble makes it {names[0]} too.")
    if _MARKUP.search(text):
        raise Malformed("The preamble makes it a page with markup too.")
    return ["The preamble is not empty."]


def _check_tail(handle: int, size: int) -> None:
    """Refuse a ZIP archive behind the data set; its readers begin at the end of the file (APPNOTE 4.3.16)."""
    tail = os.pread(handle, _TAIL, max(0, size - _TAIL))
    place = len(tail)
    while (place := tail.rfind(_ZIP_END, 0, place)) >= 0:
        if len(tail) - place >= _ZIP_END_SIZE:
            directory_size, directory_offset, comment = unpack_from("<LLH", tail, place + 12)
            if place + _ZIP_END_SIZE + comment == len(tail) and directory_size + directory_offset <= size:
                raise Malformed("It is a ZIP archive too.")
