"""Examines one file: bounded in memory and time, without recursion, and with a reason for everything that is refused."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from pacs_bridge.examination.examined import KEPT_TAGS, Examined, TextElement
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.part10_head import FileHead, read_head
from pacs_bridge.examination.pixels import Image, check_pixels
from pacs_bridge.examination.poisoned import Deadline, Malformed, MediaDirectory, Poisoned, tag_name
from pacs_bridge.examination.transfer_syntaxes import TRANSFER_SYNTAXES, TransferSyntax
from pacs_bridge.examination.walk import PIXEL_DATA, UNDEFINED, Walk
from pacs_bridge.examination.window import FileSource, InflatedSource, Source, Window

_MEDIA_CLASS, _MEDIA_INSTANCE, _TRANSFER_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_NAMES = {
    _MEDIA_CLASS: "MediaStorageSOPClassUID", _MEDIA_INSTANCE: "MediaStorageSOPInstanceUID", _TRANSFER_SYNTAX: "TransferSyntaxUID",
    _SOP_CLASS: "SOPClassUID", _SOP_INSTANCE: "SOPInstanceUID", _STUDY: "StudyInstanceUID", _SERIES: "SeriesInstanceUID",
}  # fmt: skip
_CHARACTER_SET = 0x00080005
_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS = 0x00280002, 0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280100
_IMAGE_TAGS = frozenset({_SAMPLES, _PHOTOMETRIC, _FRAMES, _ROWS, _COLUMNS, _BITS})
_FLOAT_PIXELS, _DOUBLE_PIXELS = 0x7FE00008, 0x7FE00009
_PIXELS = frozenset({PIXEL_DATA, _FLOAT_PIXELS, _DOUBLE_PIXELS})
#: Everything that the examination keeps of the data set itself.
_WANTED = KEPT_TAGS | _IMAGE_TAGS | _PIXELS
#: One kept value; what needs more than this is no identifier, name, date or description.
_LONGEST_KEPT = 16 << 10
#: (0008,0005): the longest defined term has 16 bytes, and three of them are many.
_LONGEST_CHARACTER_SETS = 256
_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_DEVICE_REMEDY = "Have the device's service engineer correct its DICOM settings, then send again."


def examine(path: Path, limits: Limits | None = None) -> Examined:
    """Examine a Part 10 file (PS3.10 7).

    Memory stays below some MiB whatever the file's size; pixels and other bulk are passed over, never read.

    Raises
    ------
    Poisoned
        If no parser may see the file, with the reason: :class:`Malformed`, :class:`BeyondLimit`, :class:`MediaDirectory`.
    OSError
        If the file cannot be opened or read; of the file itself that says nothing.
    """
    limits = limits or Limits()
    try:
        # A link may point anywhere, and opening a pipe would wait for its other end.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            raise Malformed("It is no regular file.") from error
        raise
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise Malformed("It is no regular file.")
        return _Examination(handle, about.st_size, limits).result()
    finally:
        os.close(handle)


class _Examination:
    """One open file."""

    def __init__(self, handle: int, size: int, limits: Limits) -> None:
        self._handle, self._size, self._limits = handle, size, limits
        self._deadline = Deadline(limits.seconds)
        self._values: dict[int, bytes] = {}
        self._lengths: dict[int, int] = {}
        self._texts: list[TextElement] = []
        self._texts_left_out = 0
        self._text_bytes_left = limits.kept_text_bytes

    def result(self) -> Examined:
        head = read_head(self._handle, self._size, self._limits)
        notes = head.notes
        if _text(head.meta.get(_MEDIA_CLASS, b"")) == _MEDIA_DIRECTORY:
            raise MediaDirectory()
        syntax = _transfer_syntax(head)
        source: Source
        if syntax.deflated:
            source = InflatedSource(self._handle, head.dataset_offset, self._size, self._limits, self._deadline)
            window = Window(source, 0)
        else:
            source = FileSource(self._handle, head.dataset_offset, self._size)
            window = Window(source, head.dataset_offset)
        walk = Walk(window, source.end, syntax, self._limits, self._deadline, wanted=_WANTED)
        self._take(walk)
        source.finish()
        if walk.odd_lengths:
            notes.append(f"{walk.odd_lengths} values have an odd length.")
        if walk.padding:
            notes.append(f"{walk.padding} zeros follow the data set.")
        uids = {tag: _uid(tag, self._values.get(tag), notes) for tag in (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)}
        _check_meta(head, uids, notes)
        image = self._image(walk, syntax)
        notes += check_pixels(image, syntax, self._limits)
        return Examined(
            sop_class_uid=uids[_SOP_CLASS],
            sop_instance_uid=uids[_SOP_INSTANCE],
            study_instance_uid=uids[_STUDY],
            series_instance_uid=uids[_SERIES],
            transfer_syntax_uid=syntax.uid,
            character_sets=_character_sets(self._values.get(_CHARACTER_SET, b"")),
            frames=image.frames,
            rows=image.rows,
            columns=image.columns,
            values={tag: value for tag, value in self._values.items() if tag in KEPT_TAGS},
            texts=tuple(self._texts),
            texts_left_out=self._texts_left_out,
            dataset_offset=head.dataset_offset,
            dataset_size=self._size - head.dataset_offset,
            elements=walk.elements,
            depth=walk.deepest,
            notes=tuple(notes),
        )

    def _take(self, walk: Walk) -> None:
        """Walk the data set and keep what is wanted of it."""
        for element in walk:
            tag, vr, length, value, foreign = element
            if tag in _WANTED:
                if walk.at_root:
                    self._keep(tag, length, value)
                if tag == _CHARACTER_SET:
                    if value is None or length > _LONGEST_CHARACTER_SETS:
                        raise Malformed(f"{tag_name(tag)} holds {length} bytes, which no list of character sets needs.")
                    walk.character_sets = value
            if foreign and value is not None:
                self._keep_text(walk, tag, vr, value)

    def _keep(self, tag: int, length: int, value: bytes | None) -> None:
        if tag in self._lengths:
            raise Malformed(f"{tag_name(tag)} stands twice in the data set.")
        self._lengths[tag] = length
        if tag not in _PIXELS:
            if value is None or length > _LONGEST_KEPT:
                raise Malformed(f"{tag_name(tag)} holds {length} bytes, or bytes of a wrong kind.")
            self._values[tag] = value

    def _keep_text(self, walk: Walk, tag: int, vr: str, value: bytes) -> None:
        if len(value) > self._text_bytes_left:
            self._texts_left_out += 1
            return
        # An empty text costs memory too.
        self._text_bytes_left -= len(value) + 64
        self._texts.append(
            TextElement(path=walk.path, tag=tag, vr=vr, value=value, character_sets=_character_sets(walk.character_sets))
        )

    def _image(self, walk: Walk, syntax: TransferSyntax) -> Image:
        native = [length for tag in _PIXELS if (length := self._lengths.get(tag, UNDEFINED)) != UNDEFINED]
        return Image(
            rows=self._number(_ROWS, syntax),
            columns=self._number(_COLUMNS, syntax),
            samples=self._number(_SAMPLES, syntax),
            bits=self._number(_BITS, syntax),
            frames=_frames(self._values.get(_FRAMES, b"")),
            photometric=_text(self._values.get(_PHOTOMETRIC, b"")),
            native_bytes=min(native, default=None),
            fragments=walk.fragments,
        )

    def _number(self, tag: int, syntax: TransferSyntax) -> int | None:
        """Return an US; where a device writes more than one, or another length, they must be one number."""
        value = self._values.get(tag, b"")
        if not value:
            return None
        if len(value) != 2:
            raise Malformed(f"{tag_name(tag)} holds {len(value)} bytes, and is a number of two.")
        return int.from_bytes(value, "big" if syntax.big_endian else "little")


def _text(value: bytes) -> str:
    return value.decode("latin-1").strip("\0 ")


def _character_sets(value: bytes) -> tuple[str, ...]:
    return tuple(part.strip() for part in _text(value).split("\\")) if value else ()


def _uid(tag: int, value: bytes | None, notes: list[str]) -> str:
    """Return a UID (PS3.5 9.1); leading zeros pass, because many devices write them and they harm nobody."""
    name = _NAMES[tag]
    uid = _text(value or b"")
    if not uid:
        raise Poisoned(f"{name} {tag_name(tag)} is missing.", remedy=_DEVICE_REMEDY)
    if len(uid) > 64 or not _UID.fullmatch(uid):
        raise Poisoned(f"{name} {tag_name(tag)} '{ascii(uid[:80])[1:-1]}' is no UID.", remedy=_DEVICE_REMEDY)
    if any(len(part) > 1 and part[0] == "0" for part in uid.split(".")):
        notes.append(f"{name} has a part with a leading zero.")
    return uid


def _transfer_syntax(head: FileHead) -> TransferSyntax:
    uid = _uid(_TRANSFER_SYNTAX, head.meta.get(_TRANSFER_SYNTAX), head.notes)
    syntax = TRANSFER_SYNTAXES.get(uid)
    if syntax is None:
        raise Poisoned(
            f"The transfer syntax {uid} is unknown, so nobody can say where its elements begin.",
            remedy="Have the device send Explicit VR Little Endian (1.2.840.10008.1.2.1).",
        )
    return syntax


def _check_meta(head: FileHead, uids: dict[int, str], notes: list[str]) -> None:
    """Compare the file meta information, or the C-STORE command that it was written from, with the data set."""
    for meta_tag, tag in ((_MEDIA_CLASS, _SOP_CLASS), (_MEDIA_INSTANCE, _SOP_INSTANCE)):
        value = head.meta.get(meta_tag)
        if not value:
            notes.append(f"{_NAMES[meta_tag]} is missing.")
        elif (uid := _uid(meta_tag, value, [])) != uids[tag]:
            raise Poisoned(
                f"{_NAMES[tag]} is {uids[tag]} in the data set and {uid} in the file meta information or the command.",
                remedy=_DEVICE_REMEDY,
            )


def _frames(value: bytes) -> int:
    """Return NumberOfFrames; none, or an empty one, is one frame."""
    text = _text(value)
    if not text:
        return 1
    if not re.fullmatch(r"\+?[0-9]{1,12}", text):
        raise Malformed(f"NumberOfFrames (0028,0008) '{ascii(text[:20])[1:-1]}' is no number.")
    return max(1, int(text))
