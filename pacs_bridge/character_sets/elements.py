"""Where the elements of a Part 10 file lie, up to its pixel data, without reading what is not text.

A walk over the bytes with a list for a stack: nesting costs no recursion. It goes by offsets over a mapped file, so that
values of any size cost nothing.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from core.errors import SumuError
from pacs_bridge.character_sets.verdict import ElementPath

TEXT_VRS = frozenset(("PN", "LO", "SH", "ST", "LT", "UC", "UT"))
SPECIFIC_CHARACTER_SET = 0x00080005
ORIGINAL_ATTRIBUTES = 0x04000561
#: The first group whose elements are pixels (PS3.3 C.7.6.3): from here on nothing is read and nothing changed.
PIXEL_GROUP = 0x7FE0
#: Bounds for what a hostile file may cost: sequences in each other, elements, bytes of one text, bytes of all texts.
DEEPEST, MOST_ELEMENTS, LONGEST_TEXT, MOST_TEXT = 64, 1_000_000, 1 << 20, 4 << 20

_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
_UNDEFINED = 0xFFFFFFFF
#: Transfer syntaxes whose data set is deflated (PS3.5 A.5), JPIP with deflate among them.
DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
#: Of a deflated data set so many bytes are inflated to find its texts.
LARGEST_HEAD = 64 << 20

#: A mapped file, or its bytes.
Bytes = mmap.mmap | bytes


class UnreadableElements(SumuError):
    """The bytes do not follow PS3.5 7."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The data set cannot be walked: {problem}.", remedy="Look at the file with `dcmdump`.")


class TextElement(NamedTuple):
    """One text value as it stands in the file."""

    path: ElementPath
    vr: str
    value: bytes
    #: Specific Character Set in force, where it is not that of the data set but of an item around it.
    declared: str | None = None


class Span(NamedTuple):
    """Where one element lies; offsets in the file."""

    path: ElementPath
    tag: int
    vr: str
    start: int
    #: Offset of its length, which reaches up to the value.
    length_at: int
    value: int
    #: Behind the value, and behind the delimiter where its length is undefined.
    end: int
    #: Number of the sequence or item in ``Layout.containers`` that it lies in, -1 for the data set itself.
    container: int


@dataclass(slots=True)
class Container:
    """A sequence or an item."""

    path: ElementPath
    tag: int
    vr: str
    start: int
    #: Offset of its 32-bit length.
    length_at: int
    undefined: bool
    #: Number of the container around it.
    parent: int
    #: Behind its last byte, the delimiter included.
    end: int = 0
    #: Specific Character Set in force in an item, None: that of the data set.
    declared: str | None = None


@dataclass(slots=True)
class Layout:
    """A data set without its pixels."""

    transfer_syntax: str
    explicit: bool
    little: bool
    #: Offset of the data set, and of the first element of the pixel groups (or the end of the file).
    start: int
    tail: int
    declared: str = ""
    #: Elements that are no sequences, in the order of the file.
    spans: list[Span] = field(default_factory=list)
    containers: list[Container] = field(default_factory=list)

    def is_history(self, span: Span) -> bool:
        """Tell whether an element is a value of before, kept in Original Attributes Sequence with a character set of its own."""
        return span.path[0] == ORIGINAL_ATTRIBUTES and self.containers[span.container].declared is not None


@contextmanager
def mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a file for reading.

    Raises
    ------
    UnreadableElements
        If it is empty.
    """
    with path.open("rb") as file:
        try:
            view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise UnreadableElements("the file is empty") from error
        with view:
            yield view


def text_elements(path: Path) -> tuple[list[TextElement], str]:
    """Return every text value of a Part 10 file before its pixel data, and Specific Character Set of the data set.

    Raises
    ------
    UnreadableElements
        If the file cannot be walked, or exceeds ``DEEPEST``, ``MOST_ELEMENTS``, ``LONGEST_TEXT`` or ``MOST_TEXT``.
    """
    with mapped(path) as view:
        start, syntax = meta_information(view)
        head: Bytes = view
        if syntax in DEFLATED:
            head = view[:start] + _inflated_head(view, start)
        layout = walk(head)
        return text_of(head, layout), layout.declared


def text_of(view: Bytes, layout: Layout) -> list[TextElement]:
    """Return the text values of a walked file; what Original Attributes Sequence keeps of before is not among them.

    Raises
    ------
    UnreadableElements
        If the texts are larger than ``LONGEST_TEXT`` or ``MOST_TEXT``.
    """
    texts = []
    read = 0
    for span in layout.spans:
        if span.vr not in TEXT_VRS or layout.is_history(span):
            continue
        read += span.end - span.value
        if span.end - span.value > LONGEST_TEXT or read > MOST_TEXT:
            raise UnreadableElements("its texts are larger than a device writes")
        declared = None if span.container < 0 else layout.containers[span.container].declared
        texts.append(TextElement(span.path, span.vr, view[span.value : span.end], declared))
    return texts


def _inflated_head(view: mmap.mmap, start: int) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    room = LARGEST_HEAD
    try:
        for position in range(start, len(view), 1 << 20):
            pieces.append(engine.decompress(view[position : position + (1 << 20)], room))
            room -= len(pieces[-1])
            if room <= 0:
                break
    except zlib.error as error:
        raise UnreadableElements(f"it is deflated wrongly, {error}") from error
    return b"".join(pieces)


def walk(view: Bytes) -> Layout:
    """Walk a Part 10 file up to its pixel data; a deflated data set must be inflated already.

    Raises
    ------
    UnreadableElements
        If it cannot be walked.
    """
    start, syntax = meta_information(view)
    layout = Layout(
        transfer_syntax=syntax,
        explicit=syntax != "1.2.840.10008.1.2",
        little=syntax != "1.2.840.10008.1.2.2",
        start=start,
        tail=len(view),
    )
    try:
        _walk(view, layout)
    except (struct.error, IndexError) as error:
        raise UnreadableElements("it ends inside an element") from error
    return layout


def _walk(view: Bytes, layout: Layout) -> None:
    order = "<" if layout.little else ">"
    tag_of, short, long = (
        struct.Struct(order + "HH").unpack_from,
        struct.Struct(order + "H").unpack_from,
        struct.Struct(order + "I").unpack_from,
    )
    size = len(view)
    spans, containers = layout.spans, layout.containers
    stack: list[int] = []
    ends: list[int] = []  # where each container on the stack must end; the file's end where it is undefined
    implicit_from: list[bool] = [not layout.explicit]
    creators: dict[tuple[int, int], str] = {}
    items: dict[int, int] = {}
    path: ElementPath = ()
    current = -1
    limit = size
    position = layout.start
    while True:
        while stack and not containers[current].undefined and position >= limit:
            if position > limit:
                raise UnreadableElements("an element is longer than the item around it")
            current, limit, path = _leave(containers, stack, ends, implicit_from, position, size)
        if position >= size:
            if stack:
                raise UnreadableElements("a sequence does not end")
            return
        group, number = tag_of(view, position)
        if group == 0xFFFE:
            length = long(view, position + 4)[0]
            if len(containers) > MOST_ELEMENTS:
                raise UnreadableElements(f"it has more than {MOST_ELEMENTS} items")
            if number == 0xE000 and stack and containers[current].tag != 0xFFFEE000:
                item = items[current] = items.get(current, -1) + 1
                path = (*containers[current].path, item)
                containers.append(
                    Container(
                        path,
                        0xFFFEE000,
                        "",
                        position,
                        position + 4,
                        length == _UNDEFINED,
                        current,
                        declared=containers[current].declared,
                    )
                )
                position += 8
                current, limit = _enter(containers, stack, ends, implicit_from, position, length, limit, implicit_from[-1])
            elif number in (0xE00D, 0xE0DD) and stack:
                position += 8
                current, limit, path = _leave(containers, stack, ends, implicit_from, position, size)
            else:
                raise UnreadableElements("an item stands outside a sequence")
            continue
        if not stack and group >= PIXEL_GROUP:
            layout.tail = position
            return
        if stack and containers[current].tag != 0xFFFEE000:
            raise UnreadableElements("an element stands in a sequence outside its items")
        tag = group << 16 | number
        if implicit_from[-1]:
            vr = _implied_vr(tag, creators.get((current, tag >> 8 if group & 1 else 0), ""))
            length = long(view, position + 4)[0]
            length_at, value = position + 4, position + 8
        else:
            code = view[position + 4 : position + 6]
            vr = code.decode("latin_1")
            if code in _LONG_VRS:
                length = long(view, position + 8)[0]
                length_at, value = position + 8, position + 12
            else:
                if not (code.isalpha() and code.isupper()):
                    raise UnreadableElements(f"({group:04X},{number:04X}) has no VR")
                length = short(view, position + 6)[0]
                length_at, value = position + 6, position + 8
        if length == _UNDEFINED and vr != "SQ" and vr in ("OB", "OW"):
            end = _behind_fragments(view, value, long, tag_of)
        elif vr == "SQ" or length == _UNDEFINED:
            # PS3.5 6.2.2 note 2: an UN of undefined length is a sequence in implicit little endian.
            containers.append(
                Container(
                    (*path, tag),
                    tag,
                    vr,
                    position,
                    length_at,
                    length == _UNDEFINED,
                    current,
                    declared=_declared_in(containers, current),
                )
            )
            position = value
            current, limit = _enter(containers, stack, ends, implicit_from, value, length, limit, implicit_from[-1] or vr == "UN")
            continue
        else:
            end = value + length
            if end > limit:
                raise UnreadableElements(f"({group:04X},{number:04X}) is longer than what is around it")
            if group & 1 and number <= 0xFF:
                creators[(current, group << 8 | number)] = view[value:end].decode("latin_1").rstrip(" \x00")
            elif tag == SPECIFIC_CHARACTER_SET:
                written = view[value:end].decode("latin_1").rstrip(" \x00")
                if current < 0:
                    layout.declared = written
                else:
                    containers[current].declared = written
        if len(spans) + len(containers) > MOST_ELEMENTS:
            raise UnreadableElements(f"it has more than {MOST_ELEMENTS} elements")
        spans.append(Span((*path, tag), tag, vr, position, length_at, value, end, current))
        position = end


def _enter(
    containers: list[Container],
    stack: list[int],
    ends: list[int],
    implicit_from: list[bool],
    value: int,
    length: int,
    limit: int,
    implicit: bool,
) -> tuple[int, int]:
    if len(stack) >= 2 * DEEPEST:
        raise UnreadableElements(f"it nests deeper than {DEEPEST} sequences")
    stack.append(len(containers) - 1)
    end = limit if length == _UNDEFINED else value + length
    if end > limit:
        raise UnreadableElements("a sequence is longer than what is around it")
    ends.append(end)
    implicit_from.append(implicit)
    return stack[-1], end


def _leave(
    containers: list[Container], stack: list[int], ends: list[int], implicit_from: list[bool], position: int, size: int
) -> tuple[int, int, ElementPath]:
    containers[stack.pop()].end = position
    ends.pop()
    implicit_from.pop()
    if not stack:
        return -1, size, ()
    return stack[-1], ends[-1], containers[stack[-1]].path


def _declared_in(containers: list[Container], current: int) -> str | None:
    return None if current < 0 else containers[current].declared


def _behind_fragments(view: Bytes, position: int, long: object, tag_of: object) -> int:
    """Return where encapsulated pixel data inside an item ends (PS3.5 A.4)."""
    while True:
        group, number = tag_of(view, position)  # type: ignore[operator]
        length = long(view, position + 4)[0]  # type: ignore[operator]
        if group != 0xFFFE:
            raise UnreadableElements("a fragment is no item")
        if number == 0xE0DD:
            return position + 8
        position += 8 + int(length)


@lru_cache(maxsize=16384)
def _implied_vr(tag: int, creator: str) -> str:
    """Return the VR that the dictionary gives; UN where it knows none (PS3.5 A.1)."""
    group, number = tag >> 16, tag & 0xFFFF
    if number == 0:
        return "UL"
    try:
        if not group & 1:
            return dictionary_VR(tag)
        return "LO" if number <= 0xFF else private_dictionary_VR(tag, creator)
    except KeyError:
        return "UN"


def meta_information(view: Bytes) -> tuple[int, str]:
    """Return where the data set begins, and its transfer syntax (PS3.10 7.1).

    Raises
    ------
    UnreadableElements
        If the file does not begin as a Part 10 file.
    """
    if view[128:132] != b"DICM":
        raise UnreadableElements("there is no DICOM preamble")
    position, syntax = 132, ""
    try:
        while position < len(view) and view[position : position + 2] == b"\x02\x00":
            number, code = struct.unpack_from("<H2s", view, position + 2)
            if code in _LONG_VRS:
                length, value = struct.unpack_from("<I", view, position + 8)[0], position + 12
            else:
                length, value = struct.unpack_from("<H", view, position + 6)[0], position + 8
            if number == 0x0010:
                syntax = view[value : value + length].decode("latin_1").rstrip(" \x00")
            position = value + length
    except struct.error as error:
        raise UnreadableElements("it ends in its file meta information") from error
    if not syntax:
        raise UnreadableElements("it does not say its transfer syntax")
    return position, syntax
