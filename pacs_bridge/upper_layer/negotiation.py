"""Association requests and answers as bytes (PS3.8 9.3, PS3.7 Annex D), read within bounds and with patience for old devices."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from core.errors import SumuError

#: PS3.8 9.3.1: PDU types.
ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
#: PS3.8 9.3.2: at most 128 contexts (odd numbers of a byte); other items are few.
MOST_ITEMS, MOST_SYNTAXES = 512, 4096
_APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


class MalformedRequest(SumuError):
    """The bytes are no association request."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"The association request is malformed: {problem}.", remedy="Check what connects to the node's port.")


class Refusal(SumuError):
    """An association that is not accepted (PS3.8 9.3.4)."""

    #: Rejected permanently by the service user: calling AE title not recognised, called AE title not recognised.
    CALLER, CALLED = (1, 1, 3), (1, 1, 7)
    #: Rejected transiently by the presentation layer: local limit exceeded.
    BUSY = (2, 3, 2)
    #: Rejected permanently by the service user, no reason given: an identity that does not check.
    IDENTITY = (1, 1, 1)

    def __init__(self, message: str, *, remedy: str, because: tuple[int, int, int] = CALLER) -> None:
        super().__init__(message, remedy=remedy)
        self.because = because


@dataclass(frozen=True, kw_only=True)
class ProposedContext:
    """One presentation context as the caller proposed it."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Context:
    """One accepted presentation context."""

    id: int
    abstract_syntax: str
    transfer_syntax: str
    #: The caller took the role of SCP (PS3.7 D.3.3.4): we may send it instances, as C-GET does.
    caller_is_scp: bool = False


@dataclass(frozen=True, kw_only=True)
class UserIdentity:
    """Who calls, beside the AE title (PS3.7 D.3.3.7). Type 1 is a user name, 2 a user name with passcode."""

    type: int
    wants_answer: bool
    primary: bytes
    secondary: bytes


@dataclass(kw_only=True)
class AssociationRequest:
    """What a caller proposes."""

    called_ae_title: str
    calling_ae_title: str
    contexts: list[ProposedContext] = field(default_factory=list)
    #: The largest PDU that the caller takes; 0: any.
    max_pdu_bytes: int = 0
    implementation_uid: str = ""
    implementation_version: str = ""
    #: Operations that the caller wants to invoke and to perform at once; None: it did not ask.
    window: tuple[int, int] | None = None
    #: By SOP class: whether the caller proposes to be SCU, and SCP.
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    #: By SOP class: application information of extended negotiation (PS3.7 D.3.3.5).
    extended: dict[str, bytes] = field(default_factory=dict)
    identity: UserIdentity | None = None
    _called: bytes = b""
    _calling: bytes = b""


def read_request(body: bytes) -> AssociationRequest:
    """Read the body of an A-ASSOCIATE-RQ (PS3.8 9.3.2), after its type and length.

    Raises
    ------
    MalformedRequest
        If a length leads out of the body, or there are more items than any device has.
    """
    if len(body) < 68:
        raise MalformedRequest("it is shorter than its fixed part")
    if not int.from_bytes(body[0:2], "big") & 1:
        raise MalformedRequest("its protocol version is not 1")
    request = AssociationRequest(
        called_ae_title=_text(body[4:20]), calling_ae_title=_text(body[20:36]), _called=body[4:20], _calling=body[20:36]
    )
    for kind, value in _items(body[68:], MOST_ITEMS):
        if kind == 0x20:
            request.contexts.append(_context(value))
        elif kind == 0x50:
            _user_information(request, value)
    numbers = [context.id for context in request.contexts]
    if not numbers or len(set(numbers)) != len(numbers) or any(number % 2 == 0 for number in numbers):
        raise MalformedRequest("its presentation contexts are missing, or not numbered by different odd numbers")
    return request


def accepted(
    request: AssociationRequest, offered: Mapping[str, Sequence[str]], *, caller_may_be_scp: frozenset[str] = frozenset()
) -> tuple[list[Context], dict[int, int]]:
    """Return the accepted contexts, and for each proposed number its result (PS3.8 9.3.3.2).

    ``offered`` says which transfer syntaxes each SOP class may have; of those the caller's first one is taken: it knows best
    how its pixels lie. ``caller_may_be_scp`` are the SOP classes of which we may send instances to it.
    """
    contexts, results = [], {}
    for proposed in request.contexts:
        syntaxes = offered.get(proposed.abstract_syntax)
        if syntaxes is None:
            results[proposed.id] = 3  # abstract syntax not supported
            continue
        common = next((uid for uid in proposed.transfer_syntaxes if uid in syntaxes), None)
        if common is None:
            results[proposed.id] = 4  # transfer syntaxes not supported
            continue
        results[proposed.id] = 0
        takes_scp = request.roles.get(proposed.abstract_syntax, (True, False))[1]
        contexts.append(
            Context(
                id=proposed.id,
                abstract_syntax=proposed.abstract_syntax,
                transfer_syntax=common,
                caller_is_scp=takes_scp and proposed.abstract_syntax in caller_may_be_scp,
            )
        )
    return contexts, results


def write_accept(
    request: AssociationRequest,
    contexts: Sequence[Context],
    results: Mapping[int, int],
    *,
    max_pdu_bytes: int,
    implementation: tuple[str, str],
    extended: Mapping[str, bytes],
) -> bytes:
    """Return a whole A-ASSOCIATE-AC PDU (PS3.8 9.3.3). ``implementation`` is class UID and version name."""
    taken = {context.id: context for context in contexts}
    items = [_item(0x10, _APPLICATION_CONTEXT)]
    for number, result in results.items():
        syntax = taken[number].transfer_syntax if number in taken else "1.2.840.10008.1.2"
        items.append(_item(0x21, bytes((number, 0, result, 0)) + _item(0x40, syntax.encode())))
    uid, version = implementation
    user = [_item(0x51, struct.pack(">I", max_pdu_bytes)), _item(0x52, uid.encode())]
    if request.window is not None:
        user.append(_item(0x53, struct.pack(">HH", request.window[0], 1)))
    by_class = {context.abstract_syntax: context for context in contexts}
    for sop_class, (scu, scp) in request.roles.items():
        if sop_class in by_class:
            roles = bytes((scu, scp and by_class[sop_class].caller_is_scp))
            user.append(_item(0x54, _counted(sop_class.encode()) + roles))
    user.append(_item(0x55, version.encode()))
    user += [_item(0x56, _counted(sop_class.encode()) + info) for sop_class, info in extended.items() if sop_class in by_class]
    if request.identity is not None and request.identity.wants_answer:
        user.append(_item(0x59, _counted(b"")))
    items.append(_item(0x50, b"".join(user)))
    fixed = struct.pack(">HH", 1, 0) + request._called + request._calling + bytes(32)
    return pdu(ASSOCIATE_AC, fixed + b"".join(items))


def write_reject(because: tuple[int, int, int]) -> bytes:
    """Return a whole A-ASSOCIATE-RJ PDU: result, source and reason (PS3.8 9.3.4)."""
    return pdu(ASSOCIATE_RJ, bytes((0, *because)))


def write_abort(*, by_provider: bool, reason: int = 0) -> bytes:
    """Return a whole A-ABORT PDU (PS3.8 9.3.8)."""
    return pdu(ABORT, bytes((0, 0, 2 if by_provider else 0, reason)))


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU with its header."""
    return struct.pack(">BBI", kind, 0, len(body)) + body


def _items(encoded: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    at = count = 0
    while at < len(encoded):
        count += 1
        if len(encoded) - at < 4 or count > most:
            raise MalformedRequest("its items do not end where they should")
        length = int.from_bytes(encoded[at + 2 : at + 4], "big")
        if length > len(encoded) - at - 4:
            raise MalformedRequest("an item is longer than the request")
        yield encoded[at], encoded[at + 4 : at + 4 + length]
        at += 4 + length


def _context(value: bytes) -> ProposedContext:
    if len(value) < 4:
        raise MalformedRequest("a presentation context is too short")
    parts = list(_items(value[4:], MOST_SYNTAXES))
    abstract = [_text(part) for kind, part in parts if kind == 0x30]
    if len(abstract) != 1:
        raise MalformedRequest("a presentation context has not exactly one abstract syntax")
    transfer = tuple(_text(part) for kind, part in parts if kind == 0x40)
    return ProposedContext(id=value[0], abstract_syntax=abstract[0], transfer_syntaxes=transfer)


def _user_information(request: AssociationRequest, value: bytes) -> None:
    for kind, part in _items(value, MOST_ITEMS):
        if kind == 0x51 and len(part) == 4:
            request.max_pdu_bytes = int.from_bytes(part, "big")
        elif kind == 0x52:
            request.implementation_uid = _text(part)
        elif kind == 0x55:
            request.implementation_version = _text(part)
        elif kind == 0x53 and len(part) == 4:
            request.window = struct.unpack(">HH", part)
        elif kind == 0x54:
            uid, rest = _uncounted(part)
            if len(rest) == 2:
                request.roles[_text(uid)] = (bool(rest[0]), bool(rest[1]))
        elif kind == 0x56:
            uid, rest = _uncounted(part)
            request.extended[_text(uid)] = rest
        elif kind == 0x58 and len(part) >= 6:
            primary, rest = _uncounted(part[2:])
            secondary, _ = _uncounted(rest)
            request.identity = UserIdentity(type=part[0], wants_answer=bool(part[1]), primary=primary, secondary=secondary)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(value)) + value


def _counted(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _uncounted(part: bytes) -> tuple[bytes, bytes]:
    if len(part) < 2:
        raise MalformedRequest("a counted field is too short")
    length = int.from_bytes(part[:2], "big")
    if length > len(part) - 2:
        raise MalformedRequest("a counted field is longer than its item")
    return part[2 : 2 + length], part[2 + length :]
