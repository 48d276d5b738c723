"""HL7 v2 messages as text (ER7, HL7 v2.5 2.6): read without a recursion, an evaluation or a guess.

The bytes are decoded first and split after: the second byte of a GBK character may be a delimiter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import SumuError
from pacs_bridge.orders.codes import codec_of

#: More segments than these are no order.
MOST_SEGMENTS = 1000
_ESCAPE = re.compile(r"X[0-9A-Fa-f]{2,512}|[EFHNRST]|\.br|\.sp\d{0,2}")


class NotHl7(SumuError):
    """Bytes that are no message."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"This is no HL7 v2 message that can be read: {problem}.", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class Delimiters:
    """The characters of MSH-1 and MSH-2."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str


class Segment:
    """One line of a message; every part that is not there is empty."""

    def __init__(self, text: str, delimiters: Delimiters, codec: str) -> None:
        fields = text.split(delimiters.field)
        self.name = fields[0]
        # MSH-1 is the delimiter itself, so that its fields are counted like those of others.
        self._fields = [self.name, delimiters.field, *fields[1:]] if self.name == "MSH" else fields
        self._delimiters, self._codec = delimiters, codec

    def field(self, number: int) -> str:
        """Return a field as written, the first of its repetitions included."""
        return self._fields[number] if number < len(self._fields) else ""

    def repetitions(self, number: int) -> list[list[str]]:
        """Return the components of each repetition of a field, escapes resolved; subcomponents past the first are dropped.

        The null value, two quotation marks, is empty.
        """
        return [
            [
                self._plain(component.split(self._delimiters.subcomponent, 1)[0])
                for component in repetition.split(self._delimiters.component)
            ]
            for repetition in self.field(number).split(self._delimiters.repetition)
        ]

    def part(self, number: int, component: int = 1) -> str:
        """Return one component of a field's first repetition."""
        parts = self.repetitions(number)[0]
        return parts[component - 1].strip() if component <= len(parts) else ""

    def _plain(self, text: str) -> str:
        """Return text with its escape sequences resolved (2.7); what is none is kept as it stands."""
        escape = self._delimiters.escape
        if text == '""':
            return ""
        if escape not in text:
            return text
        pieces = text.split(escape)
        plain, inside = [pieces[0]], True
        for number, piece in enumerate(pieces[1:], start=1):
            if inside and number < len(pieces) - 1 and _ESCAPE.fullmatch(piece):
                plain.append(self._resolved(piece))
                inside = False
            elif inside:
                plain.append(escape + piece)
            else:
                plain.append(piece)
                inside = True
        return "".join(plain)

    def _resolved(self, sequence: str) -> str:
        marks = self._delimiters
        if sequence[0] == "X":
            return bytes.fromhex(sequence[1 : len(sequence) - (len(sequence) - 1) % 2]).decode(self._codec, "replace")
        signs = {
            "E": marks.escape, "F": marks.field, "R": marks.repetition, "S": marks.component, "T": marks.subcomponent,
            "H": "", "N": "",
        }  # fmt: skip
        return signs.get(sequence, "\n")


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message in its segments."""

    segments: tuple[Segment, ...]
    delimiters: Delimiters
    #: As declared in MSH-18, or taken from the settings.
    character_set: str
    codec: str

    @property
    def header(self) -> Segment:
        """MSH."""
        return self.segments[0]


def read_message(data: bytes, *, usual_character_set: str) -> Message:
    """Return the message in some bytes.

    Parameters
    ----------
    data
        Without the frame of MLLP.
    usual_character_set
        What the bytes are in where MSH-18 is empty.

    Raises
    ------
    NotHl7
        If it does not begin with MSH, has no delimiters, or is not in the character set that it names.
    """
    data = data.strip(b"\r\n ")
    if len(data) < 8 or not data.startswith(b"MSH"):
        raise NotHl7("it does not begin with MSH", "Send ER7 (the form with bars), one message in each MLLP frame.")
    marks = data[3:8].decode("latin-1")
    if len(set(marks)) < 5 or any(mark.isalnum() or not mark.isprintable() for mark in marks):
        raise NotHl7("MSH-1 and MSH-2 are not five different signs", r"Begin it with MSH|^~\&|")
    character_set, codec = _character_set(data, marks[0], usual_character_set)
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        raise NotHl7(
            f"byte {error.start} is not {character_set}",
            "Say in MSH-18 what it is written in (UNICODE UTF-8 or GB 18030-2000), or set orders.character_set.",
        ) from error
    delimiters = Delimiters(field=marks[0], component=marks[1], repetition=marks[2], escape=marks[3], subcomponent=marks[4])
    lines = [line for line in re.split(r"[\r\n]+", text, maxsplit=MOST_SEGMENTS) if line]
    if len(lines) > MOST_SEGMENTS:
        raise NotHl7(f"it has more than {MOST_SEGMENTS} segments", "Send one message for each request.")
    return Message(
        segments=tuple(Segment(line, delimiters, codec) for line in lines),
        delimiters=delimiters,
        character_set=character_set,
        codec=codec,
    )


def _character_set(data: bytes, bar: str, usual: str) -> tuple[str, str]:
    """Return the declared character set and its codec; the header may hold Chinese before MSH-18."""
    header = re.split(rb"[\r\n]", data, maxsplit=1)[0]
    declared = [_declared(header, bar, codec) for codec in ("latin-1", "gb18030", "utf-8")]
    for word in declared:
        codec = codec_of(word)
        if codec is not None and _declared(header, bar, codec) == word:
            return word, codec
    if declared[0]:
        raise NotHl7(
            f"MSH-18 names the character set '{declared[0][:32]}'", "Send UNICODE UTF-8 or GB 18030-2000, and name it there."
        )
    codec = codec_of(usual)
    if codec is None:
        raise NotHl7(f"the setting orders.character_set is '{usual}'", "Set it to UNICODE UTF-8 or GB 18030-2000.")
    return usual, codec


def _declared(header: bytes, bar: str, codec: str) -> str:
    fields = header.decode(codec, "replace").split(bar)
    return fields[17].split("~")[0].strip() if len(fields) > 17 else ""


def escaped(text: str, delimiters: Delimiters) -> str:
    """Return text as a field may hold it (2.7); line ends become spaces."""
    signs = {
        delimiters.escape: "E", delimiters.field: "F", delimiters.repetition: "R", delimiters.component: "S",
        delimiters.subcomponent: "T",
    }  # fmt: skip
    return "".join(
        f"{delimiters.escape}{signs[letter]}{delimiters.escape}" if letter in signs else " " if letter in "\r\n" else letter
        for letter in text
    )
