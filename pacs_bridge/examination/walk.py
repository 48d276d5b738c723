"""Walks the elements of a data set (PS3.5 7) with an explicit stack, forward only, within limits.

Where two parsers might read two things from the same bytes the walk ends with :class:`Malformed`: an item or a sequence
without its delimiter, a length beyond its surroundings, a delimiter out of place. Tolerated, and counted: odd lengths, and
zeros behind the last element.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from pacs_bridge.examination.fragments import Fragments, walk_fragments
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Deadline, Malformed, tag_name
from pacs_bridge.examination.representations import EXPLICIT, IMPLICIT, UNKNOWN, Representation
from pacs_bridge.examination.transfer_syntaxes import TransferSyntax
from pacs_bridge.examination.window import PIECE, Window

ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
#: Begins the codes of ISO 2022, which are ASCII to look at.
_ESCAPE = b"\x1b"
UNDEFINED = 0xFFFFFFFF
#: Values up to this length are handed out.
KEPT_VALUE = 64 << 10
#: UN values up to this length are taken for what the dictionary knows.
_SHORT_OPAQUE = 1 << 10
#: Zeros that a disk's or a tape's blocks leave behind the last element.
_PADDING = 1 << 20
#: The clock is looked at once for so many elements.
_CLOCK_MASK = 0x1FFF
#: By big endian: tag, VR, short length, long length.
_EXPLICIT_HEAD = {False: Struct("<HH2sHL"), True: Struct(">HH2sHL")}
#: By big endian: tag, length.
_HEAD = {False: Struct("<HHL"), True: Struct(">HHL")}
#: An item's tag, by the order of its bytes: how unknown content betrays that it is a sequence.
_ITEM_MARKS = {b"\xfe\xff\x00\xe0": False, b"\xff\xfe\xe0\x00": True}


class Element(NamedTuple):
    """One element of the data set or of an item in it."""

    tag: int
    #: Empty where an implicit data set does not tell.
    vr: str
    length: int
    #: None where it is longer than ``KEPT_VALUE``, bulk, or a sequence.
    value: bytes | None
    #: The value is text, and not plain ASCII.
    foreign: bool


@dataclass(slots=True, kw_only=True)
class _Level:
    """The data set, a sequence, or an item that is being read."""

    #: The sequence's tag, for its items too.
    tag: int
    #: Offset behind its last byte, or behind that of the innermost level around it which has one.
    limit: int
    undefined: bool
    #: It holds items, no elements.
    is_sequence: bool
    implicit: bool
    big: bool
    #: It was entered on suspicion: UN or an unknown private value that begins like an item.
    suspicious: bool
    character_sets: bytes
    items: int = 0


class Walk:
    """One pass over one data set."""

    def __init__(
        self,
        window: Window,
        end: int,
        syntax: TransferSyntax,
        limits: Limits,
        deadline: Deadline,
        *,
        wanted: frozenset[int] = frozenset(),
    ) -> None:
        self._wanted = wanted
        self._window, self._syntax, self._limits, self._deadline = window, syntax, limits, deadline
        self._levels = [
            _Level(
                tag=0,
                limit=end,
                undefined=True,
                is_sequence=False,
                implicit=syntax.implicit,
                big=syntax.big_endian,
                suspicious=False,
                character_sets=b"",
            )
        ]
        self._suspicions = 0
        self._depth = 0
        #: Elements and items so far.
        self.elements = 0
        #: Deepest sequence so far.
        self.deepest = 0
        #: Bytes of all values but bulk.
        self.header_bytes = 0
        #: The compressed pixel data of the data set itself, once they were passed.
        self.fragments: Fragments | None = None
        #: Values of odd length, against PS3.5 7.1.1.
        self.odd_lengths = 0
        #: Zeros behind the last element.
        self.padding = 0

    @property
    def at_root(self) -> bool:
        """Whether the element just handed out belongs to the data set itself."""
        return len(self._levels) == 1

    @property
    def path(self) -> tuple[tuple[int, int], ...]:
        """Sequences and numbers of items (from 1) around the element just handed out."""
        return tuple((level.tag, level.items) for level in self._levels[1:] if level.is_sequence)

    @property
    def character_sets(self) -> bytes:
        """Value of the (0008,0005) that holds for the element just handed out (PS3.3 C.12.1.1.2)."""
        return self._levels[-1].character_sets

    @character_sets.setter
    def character_sets(self, value: bytes) -> None:
        self._levels[-1].character_sets = value

    def __iter__(self) -> Iterator[Element]:
        """Yield, in their order, the elements whose tags are wanted and the texts that are not plain ASCII, of items too.

        Raises
        ------
        Malformed
            If the data set breaks PS3.5 7.
        BeyondLimit
            If it is deeper, longer or more than the limits allow.
        """
        while self._levels:
            try:
                if self._levels[-1].is_sequence:
                    self._enter_item()
                elif self._levels[-1].implicit:
                    yield from self._implicit_elements()
                else:
                    yield from self._explicit_elements()
            except Malformed:
                if not self._suspicions:
                    raise
                self._leave_suspicion()

    def _explicit_elements(self) -> Iterator[Element]:
        window, levels, most, representations = self._window, self._levels, self._limits.elements, EXPLICIT
        level = levels[-1]
        unpack = _EXPLICIT_HEAD[level.big].unpack_from
        while True:
            if len(window.buffer) - window.position < 12:
                window.need(12)
            position, buffer = window.position, window.buffer
            left = min(level.limit - window.base, len(buffer)) - position
            if left < 8:
                self._close(level)
                return
            # The last element may be shorter than the longest header.
            group, number, code, length, long_length = (
                unpack(buffer, position) if len(buffer) - position >= 12 else unpack(buffer[position:] + bytes(4))
            )
            tag = group << 16 | number
            representation = representations.get(code)
            if representation is None or group <= 2 or group == 0xFFFE:
                self._exception(level, tag, code)
                return
            if representation.long:
                if left < 12:
                    raise Malformed(f"The data set ends inside the header of {tag_name(tag)}.")
                length = long_length
                position += 4
            window.position = position + 8
            self.elements += 1
            if self.elements > most or not self.elements & _CLOCK_MASK:
                self._check_count()
            element = self._element(level, tag, representation, length)
            if element is not None:
                yield element
            elif levels[-1] is not level:
                return

    def _implicit_elements(self) -> Iterator[Element]:
        window, levels, most, representations = self._window, self._levels, self._limits.elements, IMPLICIT
        level = levels[-1]
        unpack = _HEAD[level.big].unpack_from
        while True:
            if len(window.buffer) - window.position < 8:
                window.need(8)
            position, buffer = window.position, window.buffer
            if min(level.limit - window.base, len(buffer)) - position < 8:
                self._close(level)
                return
            group, number, length = unpack(buffer, position)
            tag = group << 16 | number
            if group <= 2 or group == 0xFFFE:
                self._exception(level, tag, b"")
                return
            window.position = position + 8
            self.elements += 1
            if self.elements > most or not self.elements & _CLOCK_MASK:
                self._check_count()
            element = self._element(level, tag, representations.get(tag, UNKNOWN), length)
            if element is not None:
                yield element
            elif levels[-1] is not level:
                return

    def _element(self, level: _Level, tag: int, representation: Representation, length: int) -> Element | None:
        """Pass one element's value, or enter it, and return what is handed out of it."""
        window = self._window
        if length == UNDEFINED:
            return self._undefined(level, tag, representation)
        end = window.base + window.position + length
        if end > level.limit:
            raise Malformed(f"{tag_name(tag)} claims {length} bytes, more than there are.")
        if length & 1:
            self.odd_lengths += 1
        if representation.sequence:
            self._enter(level, tag, end, implicit=level.implicit, big=level.big)
            return None
        if representation.opaque and length >= 8 and (mark := window.peek(4)) in _ITEM_MARKS:
            self._suspicions += 1
            self._enter(level, tag, end, implicit=True, big=_ITEM_MARKS[mark], suspicious=True)
            return None
        if representation.opaque and length <= _SHORT_OPAQUE:  # some write UN for elements that everybody knows
            known = IMPLICIT.get(tag, UNKNOWN)
            representation = representation if known.sequence else known
        value, foreign = None, False
        if representation.bulk or length > KEPT_VALUE:
            if not representation.bulk:
                self._count_bytes(tag, length)
            if not window.skip(length):
                raise Malformed(f"The data set ends inside {tag_name(tag)}.")
        else:
            self.header_bytes += length
            position = window.position
            value = window.buffer[position : position + length]
            if len(value) < length:
                if not window.need(length):
                    raise Malformed(f"The data set ends inside {tag_name(tag)}.")
                position = window.position
                value = window.buffer[position : position + length]
            window.position = position + length
            foreign = representation.text and (not value.isascii() or _ESCAPE in value)
        if (foreign or tag in self._wanted) and not self._suspicions:
            return Element(tag, representation.name, length, value, foreign)
        return None

    def _undefined(self, level: _Level, tag: int, representation: Representation) -> Element | None:
        """Take a length of FFFFFFFF (PS3.5 7.1.2, 7.5.1, A.4): a sequence, UN that is one, or fragments."""
        if representation.sequence:
            self._enter(level, tag, None, implicit=level.implicit, big=level.big)
            return None
        if representation.opaque:  # PS3.5 6.2.2, note 4: implicit little endian inside, whatever is around it
            self._enter(level, tag, None, implicit=True, big=False)
            return None
        if tag != PIXEL_DATA or level.implicit or level.big or representation.name not in {"OB", "OW"}:
            raise Malformed(
                f"{tag_name(tag)} has the undefined length, which its representation {representation.name} cannot have."
            )
        if self.at_root and not self._syntax.encapsulated:
            raise Malformed(f"{tag_name(tag)} comes in fragments, and the transfer syntax {self._syntax.uid} has none.")
        fragments = walk_fragments(self._window, level.limit, self._syntax, self._limits, self._deadline)
        if self.at_root:
            self.fragments = fragments
        if tag in self._wanted and not self._suspicions:
            return Element(tag, representation.name, UNDEFINED, None, False)
        return None

    def _enter(self, level: _Level, tag: int, end: int | None, *, implicit: bool, big: bool, suspicious: bool = False) -> None:
        self._depth += 1
        self.deepest = max(self.deepest, self._depth)
        if self._depth > self._limits.depth:
            raise BeyondLimit(f"Sequences lie more than {self._limits.depth} deep in each other, down to {tag_name(tag)}.")
        self._levels.append(
            _Level(
                tag=tag,
                limit=level.limit if end is None else end,
                undefined=end is None,
                is_sequence=True,
                implicit=implicit,
                big=big,
                suspicious=suspicious,
                character_sets=level.character_sets,
            )
        )

    def _enter_item(self) -> None:
        """Read an item's header in the innermost sequence, or the sequence's end (PS3.5 7.5)."""
        window, sequence = self._window, self._levels[-1]
        if window.at == sequence.limit and not sequence.undefined:
            self._leave_sequence()
            return
        window.need(8)
        if min(sequence.limit - window.base, len(window.buffer)) - window.position < 8:
            raise Malformed(f"The sequence {tag_name(sequence.tag)} ends without its delimiter.")
        group, number, length = _HEAD[sequence.big].unpack_from(window.buffer, window.position)
        tag = group << 16 | number
        window.position += 8
        if tag == SEQUENCE_END and sequence.undefined and length == 0:
            self._leave_sequence()
            return
        if tag != ITEM:
            raise Malformed(f"The sequence {tag_name(sequence.tag)} holds {tag_name(tag)} where an item must begin.")
        self.elements += 1
        if self.elements > self._limits.elements or not self.elements & _CLOCK_MASK:
            self._check_count()
        sequence.items += 1
        undefined = length == UNDEFINED
        limit = sequence.limit if undefined else window.at + length
        if limit > sequence.limit:
            raise Malformed(f"An item of {tag_name(sequence.tag)} claims {length} bytes, more than there are.")
        implicit = sequence.implicit
        if sequence.suspicious:  # some write the items of a UN as the data set around it is written
            implicit = window.peek(6)[4:] not in EXPLICIT
        self._levels.append(
            _Level(
                tag=sequence.tag,
                limit=limit,
                undefined=undefined,
                is_sequence=False,
                implicit=implicit,
                big=sequence.big,
                suspicious=False,
                character_sets=sequence.character_sets,
            )
        )

    def _leave_sequence(self) -> None:
        self._depth -= 1
        self._suspicions -= self._levels.pop().suspicious

    def _leave_suspicion(self) -> None:
        """Pass over a value that only looked like a sequence."""
        while not self._levels[-1].suspicious:
            self._depth -= self._levels.pop().is_sequence
        end = self._levels[-1].limit
        self._leave_sequence()
        self._window.piece = PIECE
        if not self._window.skip(end - self._window.at):
            raise Malformed("The data set ends inside a value.")

    def _close(self, level: _Level) -> None:
        """End a level of which fewer bytes are left than an element's header."""
        window = self._window
        if level is not self._levels[0]:
            if level.undefined or window.at != level.limit:
                raise Malformed(f"An item of {tag_name(level.tag)} ends inside an element or without its delimiter.")
        elif rest := window.peek(8):
            if rest.strip(b"\0"):
                raise Malformed("The data set ends inside the header of an element.")
            self.padding = len(rest)
        self._levels.pop()

    def _exception(self, level: _Level, tag: int, code: bytes) -> None:
        """Take what is no element: an item's end, zeros behind the data set; anything else is malformed."""
        window = self._window
        length = _HEAD[level.big].unpack_from(window.buffer, window.position)[2]
        if tag == ITEM_END and level.undefined and length == 0 and level is not self._levels[0]:
            window.position += 8
            self._levels.pop()
        elif tag == 0 and level is self._levels[0]:
            self.padding = self._pass_zeros()
            self._levels.pop()
        elif tag >> 16 in {0, 2, 0xFFFE}:
            raise Malformed(f"{tag_name(tag)} at byte {window.at} has no place in a data set there.")
        else:
            raise Malformed(f"{tag_name(tag)} at byte {window.at} has no value representation of PS3.5 ({code!r}).")

    def _pass_zeros(self) -> int:
        passed = 0
        while piece := self._window.peek(4096):
            passed += len(piece)
            if piece.strip(b"\0") or passed > _PADDING:
                raise Malformed(f"Bytes that are no element begin at byte {self._window.at}.")
            self._window.skip(len(piece))
        return passed

    def _count_bytes(self, tag: int, length: int) -> None:
        if length > self._limits.value_bytes:
            raise BeyondLimit(f"{tag_name(tag)} holds {length} bytes; {self._limits.value_bytes} are allowed for one value.")
        self.header_bytes += length
        self._check_count()

    def _check_count(self) -> None:
        self._deadline.check()
        if self.elements > self._limits.elements:
            raise BeyondLimit(f"It holds more than {self._limits.elements} elements and items.")
        if self.header_bytes > self._limits.header_bytes:
            raise BeyondLimit(f"Its header holds more than {self._limits.header_bytes} bytes beside the pixels.")
