"""Bytes to text in one character set, strictly: what the set does not allow is no text (PS3.5 6.1, PS3.3 C.12.1.1.2)."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache

from pacs_bridge.character_sets.data_files import table

ESCAPE = b"\x1b"

#: GB18030 bytes that a gateway took for ISO_IR 100 and wrote down in ISO_IR 192.
GB18030_TWICE = "GB18030 in ISO_IR 192"

#: Controls that text may hold are TAB, LF, FF and CR (PS3.5 6.1.3); ESC belongs to code extensions. NUL comes as padding.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\ufffd]")


@dataclass(frozen=True, slots=True)
class Reading:
    """One value read in one character set."""

    text: str
    #: The bytes end inside a character, which is left out of the text.
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Declared:
    """Specific Character Set (0008,0005) as a device wrote it."""

    #: As written, values separated by a backslash; empty where none is.
    written: str
    #: Defined terms after misspellings are read as what they mean; ``ISO_IR 6`` is an empty term.
    terms: tuple[str, ...]
    #: Terms that the standard does not know and that stand for nothing we know.
    unknown: tuple[str, ...]
    #: Written in a way that the standard does not know.
    misspelt: bool

    @property
    def family(self) -> str:
        """The row of ``priors.toml``."""
        names = {term for term in self.terms if term}
        if self.unknown or not names or names == {"ISO 2022 IR 6"}:
            return "none"
        if names & {"GB18030", "GBK", "ISO 2022 IR 58"}:
            return "chinese"
        for name in ("ISO_IR 192", "ISO_IR 100"):
            if names == {name}:
                return name
        return "ISO_IR 100" if names == {"ISO 2022 IR 100"} else "other"


@dataclass(frozen=True, slots=True)
class _Extension:
    term: str
    escape: bytes
    upper: bool
    width: int
    codec: str
    prefix: bytes


@cache
def parse_declared(written: str) -> Declared:
    """Parse Specific Character Set as written; spaces at the ends of a term do not count."""
    terms, unknown, misspelt = [], [], False
    for word in written.split("\\"):
        plain = word.strip(" \x00")
        term = table("repertoires")["misspellings"].get(plain.upper(), plain)
        misspelt = misspelt or term != plain
        if term in ("ISO_IR 6", ""):
            term = ""
        elif term not in _codecs() and term not in _terms_of_extensions():
            unknown.append(term)
        terms.append(term)
    return Declared(written=written, terms=tuple(terms), unknown=tuple(unknown), misspelt=misspelt)


def read(value: bytes, character_set: str) -> Reading | None:
    """Read bytes in a set without code extensions, or return None where they are not of that set."""
    if ESCAPE in value:
        return None
    if character_set == GB18030_TWICE:
        try:
            return read(value.decode("utf_8").encode("latin_1"), "GB18030")
        except UnicodeError:
            return None
    codec = _codecs()[character_set]
    if codec not in _MAY_END_EARLY:
        try:
            text = value.decode(codec)
        except UnicodeDecodeError:
            return None
        return None if _FORBIDDEN.search(text) else Reading(text)
    decoder = codecs.getincrementaldecoder(codec)("strict")
    try:
        text = decoder.decode(value)
    except UnicodeDecodeError:
        return None
    return None if _FORBIDDEN.search(text) else Reading(text, truncated=bool(decoder.getstate()[0]))


def read_as_declared(value: bytes, sets: Declared, *, is_name: bool) -> Reading | None:
    """Read bytes exactly as the declaration tells, or return None where they do not follow it."""
    first = sets.terms[0]
    if sets.unknown:
        return None
    if first in table("repertoires")["multi_byte"]:
        return read(value, first)
    extensions = [_of_escape()[code] for code in _of_escape() if _of_escape()[code].term in sets.terms or code == b"(B"]
    upper = _initial_upper(first)
    if len(sets.terms) == 1 and not first.startswith("ISO 2022"):
        extensions = []
    return _follow_escapes(value, upper, extensions, resets=_DELIMITERS_OF_NAMES if is_name else _DELIMITERS)


def read_by_escapes(value: bytes, sets: Declared, upper_escape: bytes | None) -> Reading | None:
    """Read bytes by the escape sequences in them, whatever is declared, and without the returns that PS3.5 6.1.2.5.3 asks for.

    Parameters
    ----------
    upper_escape
        The escape sequence (without ESC) whose set stands in G1 where none was given yet; None: what the first term says.
    """
    upper = _of_escape()[upper_escape] if upper_escape else _initial_upper(sets.terms[0])
    return _follow_escapes(value, upper, list(_of_escape().values()), resets=frozenset(), lenient=True)


def read_with_extensions(value: bytes, written: str) -> Reading | None:
    """Read bytes in a set with code extensions, such as ``\\ISO 2022 IR 58``, whose escape sequences may be missing."""
    sets = parse_declared(written)
    upper = next((code for code in _of_escape() if code.startswith(b"$)") and _of_escape()[code].term in sets.terms), None)
    return read_by_escapes(value, sets, upper)


def escapes_in(value: bytes) -> list[bytes]:
    """Return the escape sequences that the standard knows, without ESC, in the order in which they stand."""
    found = []
    for piece in value.split(ESCAPE)[1:]:
        code = next((code for code in _of_escape() if piece.startswith(code)), None)
        if code is not None:
            found.append(code)
    return found


def term_of_escape(code: bytes) -> str:
    """Return the defined term that an escape sequence (without ESC) belongs to."""
    return _of_escape()[code].term


def plain_sets() -> frozenset[str]:
    """Return the names of all sets without code extensions."""
    return frozenset((*_codecs(), GB18030_TWICE))


def is_known(written: str) -> bool:
    """Tell whether text can be read in what is written: a set without code extensions, or defined terms with them."""
    return written in plain_sets() or not parse_declared(written).unknown


def single_byte_sets() -> tuple[str, ...]:
    """Return the defined terms of one byte a character."""
    return tuple(table("repertoires")["single_byte"])


_MAY_END_EARLY = {"utf_8", "gb18030", "gbk", "big5hkscs", "euc_kr"}
_DELIMITERS = frozenset(b"\\\r\n\f\t")
_DELIMITERS_OF_NAMES = _DELIMITERS | frozenset(b"^=")


@cache
def _codecs() -> dict[str, str]:
    return {**table("repertoires")["single_byte"], **table("repertoires")["multi_byte"]}


@cache
def _of_escape() -> dict[bytes, _Extension]:
    return {
        row["escape"].encode(): _Extension(
            row["term"],
            row["escape"].encode(),
            row["half"] == "G1",
            row["width"],
            row["codec"],
            bytes.fromhex(row.get("prefix", "")),
        )
        for row in table("repertoires")["code_extensions"]
    }


@cache
def _terms_of_extensions() -> frozenset[str]:
    return frozenset(extension.term for extension in _of_escape().values())


def _initial_upper(term: str) -> _Extension | None:
    """Return what stands in G1 at the start; a set of several bytes must be called by its escape sequence first."""
    term = term.replace("ISO_IR", "ISO 2022 IR")
    return next((e for e in _of_escape().values() if e.term == term and e.upper and e.width == 1), None)


def _follow_escapes(
    value: bytes, initial: _Extension | None, extensions: list[_Extension], *, resets: frozenset[int], lenient: bool = False
) -> Reading | None:
    ascii_ = _of_escape()[b"(B"]
    lower, upper = ascii_, initial
    pieces: list[str] = []
    position, size, truncated = 0, len(value), False
    while position < size:
        byte = value[position]
        if byte == 0x1B:
            extension = next((e for e in extensions if value.startswith(e.escape, position + 1)), None)
            if extension is None:
                return None
            lower, upper = (lower, extension) if extension.upper else (extension, upper)
            position += 1 + len(extension.escape)
            continue
        active = upper if byte >= 0x80 else lower
        if active is None:
            return None
        end = position + 1
        if active.width == 2 and byte > 0x20:
            end = position + 2
            if end > size:
                truncated = True
                break
        elif byte in resets:
            lower, upper = ascii_, initial
        else:
            while end < size and value[end] != 0x1B and value[end] not in resets and (value[end] >= 0x80) == (byte >= 0x80):
                if active.width == 2:
                    break
                end += 1
        raw = value[position:end]
        if active.width == 2 and not active.upper and byte > 0x20:
            raw = active.prefix + bytes(code | 0x80 for code in raw)
        # Devices call GB2312 and then write characters of GBK, whose second byte may be under 0x80.
        codec = "gb18030" if lenient and active.codec == "gb2312" else active.codec
        try:
            pieces.append(raw.decode(codec))
        except UnicodeDecodeError:
            return None
        position = end
    text = "".join(pieces)
    return None if _FORBIDDEN.search(text) else Reading(text, truncated)
