"""Data sets of requests and answers: bytes in, a data set out, within bounds; and back."""

from __future__ import annotations

import re
import struct
import warnings
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence

from pacs_bridge.character_sets.repertoires import read_with_extensions
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import Deadline, Poisoned
from pacs_bridge.examination.transfer_syntaxes import TRANSFER_SYNTAXES
from pacs_bridge.examination.walk import Walk
from pacs_bridge.examination.window import Window
from pacs_bridge.services.refusals import Refused, unable
from pacs_bridge.services.sop_classes import EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from pacs_bridge.upper_layer.association import Message

#: Representations to which Specific Character Set applies (PS3.5 6.1.2.2).
TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
GB2312 = "ISO 2022 IR 58"
#: The first byte that lies in G1.
_CALL = re.compile(rb"[\x80-\xff]")
#: What a request may be before pydicom, whose recursion ends the thread, opens it. A request for the commitment of 65 000
#: instances has 200 000 elements.
_LIMITS = Limits(depth=8, elements=1_000_000, header_bytes=16 << 20, seconds=10)


class _Bytes:
    """A request as the examination's source."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded, self._at, self.end = encoded, 0, len(encoded)

    def read(self, size: int) -> bytes:
        piece = self._encoded[self._at : self._at + size]
        self._at += len(piece)
        return piece

    def skip(self, count: int) -> int:
        passed = min(count, self.end - self._at)
        self._at += passed
        return passed

    def finish(self) -> None:
        """Nothing can follow the end of the bytes."""


def read_request(message: Message) -> Dataset:
    """Return the data set of a request.

    Text that is not ASCII in a request without Specific Character Set (0008,0005) is read in what a person set for the
    device, else in GB18030.

    Raises
    ------
    Refused
        If there is none, if it is broken, or deeper or longer than any device's.
    """
    encoded, syntax = message.data_set, message.context.transfer_syntax
    implicit, little = syntax == IMPLICIT_LITTLE_ENDIAN, syntax != EXPLICIT_BIG_ENDIAN
    try:
        if not message.command.has_data_set:
            raise ValueError("no data set follows the command")
        for _ in Walk(Window(_Bytes(encoded), 0), len(encoded), TRANSFER_SYNTAXES[syntax], _LIMITS, Deadline(_LIMITS.seconds)):
            pass
        if not encoded.isascii() and not _declares_character_set(encoded, implicit, little):
            encoded = _character_set_element(message.device.character_set_rule or "GB18030", implicit, little) + encoded
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = read_dataset(BytesIO(encoded), implicit, little)
            if GB2312 in as_text(data_set.get("SpecificCharacterSet")):
                _read_gb2312(data_set)
            for _ in data_set.iterall():  # every value is converted here, or told to be broken
                pass
    except (Poisoned, ValueError, TypeError, KeyError, AttributeError, NotImplementedError, OverflowError, EOFError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise Refused(
            unable(message), f"The request cannot be read: {reason}", remedy="Have the device's DICOM software examined."
        ) from error
    return data_set


def write_answer(data_set: Dataset, transfer_syntax: str) -> bytes:
    """Return a data set in the (uncompressed) transfer syntax of its presentation context."""
    buffer = DicomBytesIO()
    buffer.is_little_endian = transfer_syntax != EXPLICIT_BIG_ENDIAN
    buffer.is_implicit_VR = transfer_syntax == IMPLICIT_LITTLE_ENDIAN
    if list(data_set.get("SpecificCharacterSet") or []) == ["", GB2312]:
        data_set = _in_gb2312(data_set, buffer.is_implicit_VR, buffer.is_little_endian)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_dataset(buffer, data_set)
    return bytes(buffer.getvalue())


def text_of(data_set: Dataset, keyword: str) -> str:
    """Return an element's value as text, several values joined by backslashes; empty where it is missing."""
    return as_text(data_set.get(keyword))


def as_text(value: Any) -> str:
    """Return a value as text, several values joined by backslashes."""
    if value is None:
        return ""
    if isinstance(value, str | bytes | int | float) or not hasattr(value, "__iter__") or hasattr(value, "alphabetic"):
        return str(value).strip(" \0")
    return "\\".join(str(one).strip(" \0") for one in value)


def _read_gb2312(data_set: Dataset) -> None:
    """Read the texts of ISO 2022 IR 58, with their escape sequences or, as some devices write it, without."""
    for tag in list(data_set.keys()):
        element = data_set.get_item(tag)
        if not isinstance(element, RawDataElement):
            continue
        representation = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
        if representation == "SQ":
            for item in data_set[tag].value or []:
                _read_gb2312(item)
        elif representation in TEXT_VRS and element.value:
            reading = read_with_extensions(element.value, f"\\{GB2312}")
            if reading is not None:
                data_set.add_new(tag, representation, reading.text.rstrip(" \0"))


def _in_gb2312(data_set: Dataset, implicit: bool, little: bool) -> Dataset:
    """Return a data set whose texts are encoded with the escape sequences of ISO 2022 IR 58, which pydicom leaves out."""
    encoded = Dataset()
    for element in data_set:
        if element.VR == "SQ":
            items = [_in_gb2312(item, implicit, little) for item in element.value or []]
            encoded.add_new(element.tag, "SQ", Sequence(items))
        elif element.VR in TEXT_VRS and element.value:
            value = _escaped(as_text(element.value), is_name=element.VR == "PN")
            value += b" " * (len(value) % 2)
            encoded[element.tag] = RawDataElement(element.tag, element.VR, len(value), value, 0, implicit, little)
        else:
            encoded.add(element)
    # So that the bytes go out as they are.
    encoded.set_original_encoding(implicit, little, encoded._character_set)
    return encoded


def _escaped(text: str, *, is_name: bool) -> bytes:
    """Encode text as PS3.5 K.2 and K.3 show: GB2312 is called into G1 anew in each value, line and part of a name."""
    parts = re.split(r"([\\\r\n\f\t^=])" if is_name else r"([\\\r\n\f\t])", text)
    return b"".join(_CALL.sub(b"\x1b$)A" + rb"\g<0>", part.encode("gb2312", "replace"), count=1) for part in parts)


def _declares_character_set(encoded: bytes, implicit: bool, little: bool) -> bool:
    tag = struct.pack("<HH" if little else ">HH", 0x0008, 0x0005)
    mark = tag if implicit else tag + b"CS"
    return mark in encoded


def _character_set_element(term: str, implicit: bool, little: bool) -> bytes:
    value = term.encode("ascii", "replace")
    value += b" " * (len(value) % 2)
    order = "<" if little else ">"
    if implicit:
        return struct.pack(order + "HHI", 0x0008, 0x0005, len(value)) + value
    return struct.pack(order + "HH2sH", 0x0008, 0x0005, b"CS", len(value)) + value
