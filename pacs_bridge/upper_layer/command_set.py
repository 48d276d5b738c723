"""Command sets (PS3.7 6.3.1): a handful of flat elements, always implicit little endian, read and written at every message."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum

from core.errors import SumuError

Value = int | str

_AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS = 0x00000002, 0x00000003
_UIDS = {_AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS, 0x00001000, 0x00001001}
_NUMBERS = {
    0x00000100, 0x00000110, 0x00000120, 0x00000700, 0x00000800, 0x00000900, 0x00000903, 0x00001002, 0x00001008,
    0x00001020, 0x00001021, 0x00001022, 0x00001023, 0x00001031,
}  # fmt: skip
_TEXTS = {0x00000600, 0x00000902, 0x00001030}


class MalformedCommand(SumuError):
    """The bytes are no command set."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The command set is malformed: {problem}.", remedy="Have the device's DICOM software examined.")


class Field(IntEnum):
    """Command Field (0000,0100) of the messages that the node knows (PS3.7 E.1)."""

    C_STORE_RQ = 0x0001
    C_GET_RQ = 0x0010
    C_FIND_RQ = 0x0020
    C_MOVE_RQ = 0x0021
    C_ECHO_RQ = 0x0030
    C_CANCEL_RQ = 0x0FFF
    N_EVENT_REPORT_RQ = 0x0100
    N_GET_RQ = 0x0110
    N_SET_RQ = 0x0120
    N_ACTION_RQ = 0x0130
    N_CREATE_RQ = 0x0140
    N_DELETE_RQ = 0x0150


class Tag:
    """Elements by name; their numbers are PS3.7 E.1's."""

    AFFECTED_SOP_CLASS = _AFFECTED_SOP_CLASS
    REQUESTED_SOP_CLASS = _REQUESTED_SOP_CLASS
    FIELD = 0x00000100
    MESSAGE_ID = 0x00000110
    RESPONDED_TO = 0x00000120
    MOVE_DESTINATION = 0x00000600
    PRIORITY = 0x00000700
    DATA_SET_TYPE = 0x00000800
    STATUS = 0x00000900
    ERROR_COMMENT = 0x00000902
    AFFECTED_SOP_INSTANCE = 0x00001000
    REQUESTED_SOP_INSTANCE = 0x00001001
    EVENT_TYPE = 0x00001002
    ATTRIBUTE_LIST = 0x00001005
    ACTION_TYPE = 0x00001008
    REMAINING, COMPLETED, FAILED, WARNED = 0x00001020, 0x00001021, 0x00001022, 0x00001023
    MOVE_ORIGINATOR = 0x00001030
    MOVE_ORIGINATOR_MESSAGE = 0x00001031


#: (0000,0800): no data set follows; any other number says that one does.
NO_DATA_SET, DATA_SET = 0x0101, 0x0001


class CommandSet(dict[int, Value]):
    """Elements of one command by tag. UIDs and text are ``str``, lists of tags hexadecimal, all else ``int``."""

    @property
    def field(self) -> int:
        """Which message this is."""
        return self.number(Tag.FIELD)

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows."""
        return self.number(Tag.DATA_SET_TYPE) != NO_DATA_SET

    def number(self, tag: int) -> int:
        """Return a number that must be there.

        Raises
        ------
        MalformedCommand
            If it is not.
        """
        value = self.get(tag)
        if not isinstance(value, int):
            raise MalformedCommand(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is missing")
        return value

    @property
    def attributes(self) -> frozenset[int]:
        """Attribute Identifier List (0000,1005): the tags that an N-GET asks for; empty where it asks for all."""
        encoded = bytes.fromhex(self.text(Tag.ATTRIBUTE_LIST))
        pairs = struct.iter_unpack("<HH", encoded[: len(encoded) // 4 * 4])
        return frozenset(group << 16 | element for group, element in pairs)

    def text(self, tag: int) -> str:
        """Return a UID or text, empty where it is missing."""
        return str(self.get(tag, ""))


def decode(encoded: bytes) -> CommandSet:
    """Read a command set; elements that no message of ours has are passed over.

    Raises
    ------
    MalformedCommand
        If a length leads out of the bytes or a number has the wrong size.
    """
    command, at, end = CommandSet(), 0, len(encoded)
    while at < end:
        if end - at < 8:
            raise MalformedCommand("it ends inside an element")
        group, element, length = struct.unpack_from("<HHI", encoded, at)
        at += 8
        if group != 0 or length > end - at:
            raise MalformedCommand(f"({group:04X},{element:04X}) has no place in it")
        value = encoded[at : at + length]
        at += length
        if element in _NUMBERS:
            if length != 2:
                raise MalformedCommand(f"(0000,{element:04X}) has {length} bytes instead of 2")
            command[element] = int.from_bytes(value, "little")
        elif element == Tag.ATTRIBUTE_LIST:
            command[element] = value.hex()
        elif element in _UIDS or element in _TEXTS:
            command[element] = value.decode("ascii", "replace").strip("\0 ")
    return command


def encode(elements: Mapping[int, Value]) -> bytes:
    """Write a command set with its group length (0000,0000)."""
    pieces = []
    for tag in sorted(elements):
        value = elements[tag]
        if isinstance(value, int):
            pieces.append(struct.pack("<HHIH", 0, tag, 2, value))
        else:
            text = value.encode("ascii", "replace")
            text += (b"\0" if tag in _UIDS else b" ") * (len(text) % 2)
            pieces.append(struct.pack("<HHI", 0, tag, len(text)) + text)
    body = b"".join(pieces)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body
