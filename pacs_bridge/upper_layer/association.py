"""One association from its first request to its end: messages in, services called, answers out (PS3.7 8, PS3.8 7)."""

from __future__ import annotations

import contextlib
import struct
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import structlog

from core.errors import SumuError
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.upper_layer import negotiation
from pacs_bridge.upper_layer.command_set import DATA_SET, NO_DATA_SET, CommandSet, Field, Tag, Value, decode, encode
from pacs_bridge.upper_layer.negotiation import AssociationRequest, Context
from pacs_bridge.upper_layer.wire import PeerGone, PeerSilent, Wire

log = structlog.get_logger("node")

#: PS3.7 Annex C: statuses that more than one service answers.
SUCCESS, PENDING, CANCELLED = 0x0000, 0xFF00, 0xFE00
SOP_CLASS_NOT_SUPPORTED, UNRECOGNISED_OPERATION, PROCESSING_FAILURE = 0x0122, 0x0211, 0x0110
#: A command set is small; a data set of anything but C-STORE is no image.
MOST_COMMAND_BYTES, MOST_DATA_SET_BYTES = 1 << 16, 1 << 24
#: A PDU longer than we offered is still taken up to this, as some devices do not listen.
MOST_PDU_BYTES = 1 << 24
#: What we send at once to a device that names no limit.
OUR_PDU_BYTES = 1 << 17


class BrokenProtocol(SumuError):
    """The device sent what PS3.8 has no place for; the association is aborted."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The device broke the protocol: {problem}.", remedy="Have its DICOM software examined.")


class PeerAborted(SumuError):
    """The device aborted the association."""

    def __init__(self) -> None:
        super().__init__("The device aborted the association.", remedy="Nothing to do: what was acknowledged is safe.")


class PeerReleased(SumuError):
    """The device released the association while the node was still at work for it."""

    def __init__(self) -> None:
        super().__init__("The device released the association.", remedy="Nothing to do: it did not wait for the rest.")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response to a request."""

    status: int = SUCCESS
    #: Data set in the context's transfer syntax.
    data_set: bytes | None = None
    #: More elements of the response's command set, by tag.
    elements: Mapping[int, Value] = field(default_factory=dict)


@dataclass(kw_only=True)
class Message:
    """A request that a device sent, with what a service needs to answer it."""

    association: Association
    context: Context
    command: CommandSet
    #: Data set of everything but C-STORE, whose data set is read by :meth:`Association.data_set_pieces`.
    data_set: bytes = b""

    @property
    def device(self) -> AdmittedDevice:
        """Who asks."""
        return self.association.device

    def cancelled(self) -> bool:
        """Return whether the device has taken the request back meanwhile (C-CANCEL, PS3.7 9.3.2.3)."""
        return self.association.was_cancelled(self.command.number(Tag.MESSAGE_ID))


#: A service answers one request with one or more answers; the last has a status that is not pending.
Service = Callable[[Message], Iterable[Answer]]


class Association:
    """One accepted association. Its thread calls :meth:`serve`; any thread may call :meth:`cut`."""

    def __init__(
        self, wire: Wire, device: AdmittedDevice, request: AssociationRequest, contexts: list[Context],
        services: Mapping[tuple[str, int], Service], *, address: str, pdu_seconds: float,
    ) -> None:  # fmt: skip
        """Take over an accepted connection. ``services`` are found by SOP class and command field."""
        self.id = uuid.uuid4().hex
        self.device, self.request, self.address = device, request, address
        self._wire, self._services, self._pdu_seconds = wire, services, pdu_seconds
        self.contexts = {context.id: context for context in contexts}
        limit = request.max_pdu_bytes or OUR_PDU_BYTES
        self._fragment = max(1024, min(limit, OUR_PDU_BYTES)) - 6
        self._pdu_left = 0  # bytes of the present P-DATA PDU that were not read yet
        self._postponed: deque[tuple[Context, CommandSet, bytes]] = deque()
        self._cancelled: set[int] = set()
        self._next_message_id = 0
        #: A request is being answered, or an instance received.
        self.busy = False

    @property
    def quiet_seconds(self) -> float:
        """For how long the device has owed us its next byte; 0 while the node itself is at work for it."""
        since = self._wire.waits_since
        return 0.0 if since is None else time.monotonic() - since

    @property
    def something_came(self) -> bool:
        """Whether the device has sent, or closed, something that was not read yet. Only its own thread may ask."""
        return bool(self._postponed) or self._wire.waiting()

    def cut(self) -> None:
        """End it from another thread."""
        self._wire.cut()

    def serve(self) -> str:
        """Answer requests until the association ends; return ``released``, ``aborted`` or ``lost``."""
        try:
            while (received := self._next_request()) is not None:
                self.busy = True
                self._answer(*received)
                self.busy = False
            return self._release()
        except PeerReleased:
            return self._release()
        except PeerAborted:
            return "aborted"
        except PeerGone:
            return "lost"
        except (PeerSilent, SumuError) as error:
            log.warning("association_ended_by_us", device=self.device.ae_title, reason=str(error.args[0]), remedy=error.remedy)
            self._abort(by_provider=isinstance(error, BrokenProtocol))
            return "lost" if isinstance(error, PeerSilent) else "aborted"
        except Exception:
            log.exception("association_failed", device=self.device.ae_title)
            self._abort(by_provider=False)
            return "aborted"

    def data_set_pieces(self, context: Context) -> Iterator[memoryview]:
        """Yield the data set of the C-STORE request that was just read. A piece is valid until the next one is asked for."""
        last = False
        while not last:
            length, number, header = self._read_value_header()
            if number != context.id or header & 1:
                raise BrokenProtocol("a data set is interrupted by something else")
            yield from self._wire.pieces(length)
            last = bool(header & 2)

    def was_cancelled(self, message_id: int) -> bool:
        """Return whether a C-CANCEL for this request has come; other requests that came are kept for later."""
        while message_id not in self._cancelled and self._wire.waiting() and len(self._postponed) < 64:
            received = self._read_message()
            if received is None:
                raise PeerReleased()
            self._sort_in(*received)
        return message_id in self._cancelled

    def store_to_peer(self, context: Context, elements: Mapping[int, Value], data_set: Iterable[bytes | memoryview]) -> int:
        """Send an instance by C-STORE over this association (as C-GET wants it, PS3.4 C.4.3) and return its status.

        ``elements`` are Affected SOP Class and Instance UID and whatever else the command needs. The data set is encoded in
        the context's transfer syntax.
        """
        return self.request_of_peer(context, {Tag.FIELD: Field.C_STORE_RQ, Tag.PRIORITY: 0, **elements}, data_set).number(
            Tag.STATUS
        )

    def request_of_peer(
        self, context: Context, elements: Mapping[int, Value], data_set: Iterable[bytes | memoryview] | None
    ) -> CommandSet:
        """Send a request to the device over its own association and return the command set of its response."""
        self._next_message_id = message_id = self._next_message_id % 0xFFFF + 1
        marked = {Tag.DATA_SET_TYPE: NO_DATA_SET if data_set is None else DATA_SET, Tag.MESSAGE_ID: message_id}
        self._send_command(context, {**marked, **elements})
        if data_set is not None:
            self._send_data_set(context, data_set)
        while True:
            received = self._read_message()
            if received is None:
                raise PeerReleased()
            _, command, _ = received
            if command.field & 0x8000:
                if command.number(Tag.RESPONDED_TO) != message_id:
                    raise BrokenProtocol("a response belongs to no request of ours")
                return command
            self._sort_in(*received)

    # --- requests of the device -----------------------------------------------------------------------------------------

    def _answer(self, context: Context, command: CommandSet, data_set: bytes) -> None:
        service = self._services.get((context.abstract_syntax, command.field))
        if service is None:
            if command.field & 0x8000:
                raise BrokenProtocol("a response came that nobody waits for")
            if command.field == Field.C_STORE_RQ:
                for _ in self.data_set_pieces(context):
                    pass
            self._respond(context, command, Answer(status=UNRECOGNISED_OPERATION))
            return
        message = Message(association=self, context=context, command=command, data_set=data_set)
        for answer in service(message):
            self._respond(context, command, answer)
        self._cancelled.discard(command.number(Tag.MESSAGE_ID))

    def _respond(self, context: Context, command: CommandSet, answer: Answer) -> None:
        elements: dict[int, Value] = {
            Tag.FIELD: command.field | 0x8000,
            Tag.RESPONDED_TO: command.number(Tag.MESSAGE_ID),
            Tag.DATA_SET_TYPE: NO_DATA_SET if answer.data_set is None else DATA_SET,
            Tag.STATUS: answer.status,
        }
        for ours, theirs in _ECHOED:
            if value := command.get(theirs) or command.get(ours):
                elements[ours] = value
        self._send_command(context, {**elements, **answer.elements})
        if answer.data_set is not None:
            self._send_data_set(context, [answer.data_set])

    def _next_request(self) -> tuple[Context, CommandSet, bytes] | None:
        while True:
            if self._postponed:
                return self._postponed.popleft()
            received = self._read_message()
            if received is None:
                return None
            if received[1].field != Field.C_CANCEL_RQ:
                return received  # a cancel of what has been answered already is no error

    def _sort_in(self, context: Context, command: CommandSet, data_set: bytes) -> None:
        if command.field == Field.C_CANCEL_RQ:
            self._cancelled.add(command.number(Tag.RESPONDED_TO))
        elif command.field == Field.C_STORE_RQ:
            raise BrokenProtocol("an instance comes while the node answers another request")
        else:
            self._postponed.append((context, command, data_set))

    # --- messages out of PDUs -------------------------------------------------------------------------------------------

    def _read_message(self) -> tuple[Context, CommandSet, bytes] | None:
        """Return the next message, without the data set of a C-STORE request; None when the device releases."""
        if not self._pdu_left and not self._begin_pdu(may_release=True):
            return None
        collected, last = bytearray(), False
        context: Context | None = None
        while not last:
            length, number, header = self._read_value_header()
            if not header & 1 or (context is not None and number != context.id):
                raise BrokenProtocol("a command is interrupted by something else")
            context = self.contexts.get(number)
            if context is None:
                raise BrokenProtocol(f"presentation context {number} was not accepted")
            if len(collected) + length > MOST_COMMAND_BYTES:
                raise BrokenProtocol("a command set is too long")
            collected += self._wire.exactly(length)
            last = bool(header & 2)
        assert context is not None
        command = decode(bytes(collected))
        data_set = b""
        if command.has_data_set and command.field != Field.C_STORE_RQ:
            pieces = bytearray()
            for piece in self.data_set_pieces(context):
                pieces += piece
                if len(pieces) > MOST_DATA_SET_BYTES:
                    raise BrokenProtocol("a request's data set is too long")
            data_set = bytes(pieces)
        return context, command, data_set

    def _read_value_header(self) -> tuple[int, int, int]:
        """Read the head of the next presentation data value (PS3.8 9.3.5.1): bytes, context number, message control."""
        if not self._pdu_left:
            self._begin_pdu(may_release=False)
        if self._pdu_left < 6:
            raise BrokenProtocol("a PDU ends inside a presentation data value")
        length, number, header = struct.unpack(">IBB", self._wire.exactly(6))
        if not 2 <= length <= self._pdu_left - 4:
            raise BrokenProtocol("a presentation data value is longer than its PDU")
        self._pdu_left -= 4 + length
        return length - 2, number, header

    def _begin_pdu(self, *, may_release: bool) -> bool:
        """Read to the first value of the next P-DATA PDU; return False when the device releases instead."""
        self._wire.expect_within(None)
        kind, _, length = struct.unpack(">BBI", self._wire.exactly(6))
        self._wire.expect_within(self._pdu_seconds)
        if kind == negotiation.P_DATA:
            if not 6 <= length <= MOST_PDU_BYTES:
                raise BrokenProtocol(f"a PDU claims {length} bytes")
            self._pdu_left = length
            return True
        if kind == negotiation.RELEASE_RQ and may_release and length == 4:
            self._wire.exactly(4)
            return False
        if kind == negotiation.ABORT:
            raise PeerAborted()
        raise BrokenProtocol(f"a PDU of type {kind} came in the wrong place")

    # --- sending --------------------------------------------------------------------------------------------------------

    def _send_command(self, context: Context, elements: Mapping[int, Value]) -> None:
        encoded = encode(elements)
        for at in range(0, len(encoded), self._fragment):
            piece = encoded[at : at + self._fragment]
            header = 3 if at + len(piece) == len(encoded) else 1
            self._wire.send(struct.pack(">BBIIBB", 4, 0, len(piece) + 6, len(piece) + 2, context.id, header), piece)

    def _send_data_set(self, context: Context, pieces: Iterable[bytes | memoryview]) -> None:
        waiting = b""
        for piece in pieces:
            rest = memoryview(bytes(waiting) + bytes(piece)) if waiting else memoryview(piece)
            while len(rest) > self._fragment:  # what fills a fragment exactly may be the last one
                self._send_fragment(context, rest[: self._fragment], last=False)
                rest = rest[self._fragment :]
            waiting = bytes(rest)
        self._send_fragment(context, waiting, last=True)

    def _send_fragment(self, context: Context, piece: bytes | memoryview, *, last: bool) -> None:
        head = struct.pack(">BBIIBB", 4, 0, len(piece) + 6, len(piece) + 2, context.id, 2 if last else 0)
        self._wire.send(head, piece)

    def _release(self) -> str:
        try:
            self._wire.send(negotiation.pdu(negotiation.RELEASE_RP, bytes(4)))
        except SumuError:
            return "lost"
        return "released"

    def _abort(self, *, by_provider: bool) -> None:
        with contextlib.suppress(SumuError):
            self._wire.send(negotiation.write_abort(by_provider=by_provider, reason=2 if by_provider else 0))


#: Elements of a response and of the request that they repeat (PS3.7 9.3 and 10.3).
_ECHOED = (
    (Tag.AFFECTED_SOP_CLASS, Tag.REQUESTED_SOP_CLASS),
    (Tag.AFFECTED_SOP_INSTANCE, Tag.REQUESTED_SOP_INSTANCE),
    (Tag.EVENT_TYPE, Tag.EVENT_TYPE),
    (Tag.ACTION_TYPE, Tag.ACTION_TYPE),
)
