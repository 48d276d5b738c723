"""Associations that the node itself asks for (PS3.8 9.3.2, 9.3.3): what it proposes, and what the other side accepts."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterable, Mapping, Sequence

from core.errors import SumuError
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.upper_layer import negotiation
from pacs_bridge.upper_layer.association import Association, BrokenProtocol, PeerAborted
from pacs_bridge.upper_layer.command_set import CommandSet, Value
from pacs_bridge.upper_layer.negotiation import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    RELEASE_RQ,
    AssociationRequest,
    Context,
    ProposedContext,
)
from pacs_bridge.upper_layer.wire import Wire

_MOST_ANSWER_BYTES = 1 << 18
#: Time for the other side's word to a release.
_RELEASE_SECONDS = 5


class Rejected(SumuError):
    """The other side does not accept the association."""

    def __init__(self, result: int, source: int, reason: int) -> None:
        super().__init__(
            f"The association was rejected (result {result}, source {source}, reason {reason}; PS3.8 9.3.4).",
            remedy="Enter the node's AE title on the device, and the device's AE title as it is there.",
        )


class NotConnected(SumuError):
    """Nobody answers at an address, or TLS does not come about."""

    def __init__(self, error: OSError) -> None:
        reason = (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error) or type(error).__name__
        super().__init__(f"No connection comes about ({reason}).", remedy="Check that it runs, its port, and its certificate.")


class CallingAssociation:
    """An association that the node asked for. One thread uses it."""

    def __init__(self, wire: Wire, association: Association) -> None:
        self._wire, self._association = wire, association

    @property
    def contexts(self) -> Sequence[Context]:
        """What the other side accepted."""
        return list(self._association.contexts.values())

    def store(self, context: Context, elements: Mapping[int, Value], data_set: Iterable[bytes | memoryview]) -> int:
        """Send an instance by C-STORE and return its status (PS3.4 B)."""
        return self._association.store_to_peer(context, elements, data_set)

    def request(
        self, context: Context, elements: Mapping[int, Value], data_set: Iterable[bytes | memoryview] | None
    ) -> CommandSet:
        """Send any other request and return the command set of its response."""
        return self._association.request_of_peer(context, elements, data_set)

    def release(self) -> None:
        """Release it in order, as far as the other side does its part."""
        with contextlib.suppress(SumuError):
            self._wire.send(negotiation.pdu(RELEASE_RQ, bytes(4)))
            self._wire.expect_within(_RELEASE_SECONDS)
            self._wire.exactly(10)  # A-RELEASE-RP
        self._wire.close()

    def abort(self) -> None:
        """End it at once."""
        with contextlib.suppress(SumuError):
            self._wire.send(negotiation.write_abort(by_provider=False))
        self._wire.close()


def call(
    device: AdmittedDevice, address: tuple[str, int], contexts: Sequence[ProposedContext], *, calling_ae_title: str,
    implementation: tuple[str, str], max_pdu_bytes: int, tls: ssl.SSLContext | None = None, scp_of: str | None = None,
    connect_seconds: float, answer_seconds: float,
) -> CallingAssociation:  # fmt: skip
    """Ask a device for an association.

    Parameters
    ----------
    scp_of
        A SOP class of which the node takes the role of SCP although it calls (PS3.7 D.3.3.4).

    Raises
    ------
    NotConnected, Rejected, PeerAborted, PeerGone, PeerSilent, BrokenProtocol
        If there is none.
    """
    try:
        connection = socket.create_connection(address, connect_seconds)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            connection = tls.wrap_socket(connection)
    except OSError as error:
        raise NotConnected(error) from error
    wire = Wire(connection, idle_seconds=answer_seconds)
    try:
        wire.send(
            write_request(
                contexts, called_ae_title=device.ae_title, calling_ae_title=calling_ae_title, implementation=implementation,
                max_pdu_bytes=max_pdu_bytes, scp_of=scp_of,
            )
        )  # fmt: skip
        wire.expect_within(connect_seconds)
        accepted, most = _read_answer(wire, contexts)
    except BaseException:
        wire.close()
        raise
    wire.expect_within(None)
    request = AssociationRequest(
        called_ae_title=device.ae_title, calling_ae_title=calling_ae_title, contexts=list(contexts), max_pdu_bytes=most
    )
    association = Association(wire, device, request, accepted, {}, address=address[0], pdu_seconds=answer_seconds)
    return CallingAssociation(wire, association)


def write_request(
    contexts: Sequence[ProposedContext], *, called_ae_title: str, calling_ae_title: str, implementation: tuple[str, str],
    max_pdu_bytes: int, scp_of: str | None = None,
) -> bytes:  # fmt: skip
    """Return a whole A-ASSOCIATE-RQ PDU (PS3.8 9.3.2)."""
    items = [_item(0x10, b"1.2.840.10008.3.1.1.1")]
    for context in contexts:
        syntaxes = b"".join(_item(0x40, uid.encode()) for uid in context.transfer_syntaxes)
        items.append(_item(0x20, bytes((context.id, 0, 0, 0)) + _item(0x30, context.abstract_syntax.encode()) + syntaxes))
    uid, version = implementation
    user = [_item(0x51, struct.pack(">I", max_pdu_bytes)), _item(0x52, uid.encode())]
    if scp_of is not None:
        user.append(_item(0x54, struct.pack(">H", len(scp_of)) + scp_of.encode() + b"\0\1"))
    user.append(_item(0x55, version.encode()))
    items.append(_item(0x50, b"".join(user)))
    titles = called_ae_title.encode().ljust(16)[:16] + calling_ae_title.encode().ljust(16)[:16]
    return negotiation.pdu(ASSOCIATE_RQ, struct.pack(">HH", 1, 0) + titles + bytes(32) + b"".join(items))


def read_accept(body: bytes, contexts: Sequence[ProposedContext]) -> tuple[list[Context], int]:
    """Read the body of an A-ASSOCIATE-AC (PS3.8 9.3.3): the accepted contexts, and the largest PDU that the other side takes.

    Raises
    ------
    BrokenProtocol
        If a length leads out of the body.
    """
    proposed = {context.id: context for context in contexts}
    accepted, most = [], 0
    for kind, value in _items(body[68:]):
        if kind == 0x21 and len(value) >= 4 and value[2] == 0 and value[0] in proposed:
            syntax = next((part for inner, part in _items(value[4:]) if inner == 0x40), b"").decode("ascii", "replace")
            abstract = proposed[value[0]].abstract_syntax
            accepted.append(Context(id=value[0], abstract_syntax=abstract, transfer_syntax=syntax.strip("\0 ")))
        elif kind == 0x50:
            most = next((int.from_bytes(part, "big") for inner, part in _items(value) if inner == 0x51), 0)
    return accepted, most


def _read_answer(wire: Wire, contexts: Sequence[ProposedContext]) -> tuple[list[Context], int]:
    head = wire.exactly(6)
    kind, length = head[0], int.from_bytes(head[2:], "big")
    if length > _MOST_ANSWER_BYTES:
        raise BrokenProtocol(f"the answer to an association request claims {length} bytes")
    body = wire.exactly(length)
    if kind == ASSOCIATE_AC:
        return read_accept(body, contexts)
    if kind == ASSOCIATE_RJ and length == 4:
        raise Rejected(body[1], body[2], body[3])
    if kind == negotiation.ABORT:
        raise PeerAborted()
    raise BrokenProtocol(f"a PDU of type {kind} answers an association request")


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _items(encoded: bytes) -> Iterable[tuple[int, bytes]]:
    at = 0
    while at < len(encoded):
        length = int.from_bytes(encoded[at + 2 : at + 4], "big")
        if len(encoded) - at < 4 or length > len(encoded) - at - 4:
            raise BrokenProtocol("an answer to an association request is shorter than its items")
        yield encoded[at], encoded[at + 4 : at + 4 + length]
        at += 4 + length
