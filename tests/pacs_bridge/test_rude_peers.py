"""Peers that break the protocol, stall, flood or vanish: the node stays up, and honest devices go on meanwhile."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import AE, build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from core.database import Database
from core.tables import Instance
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.upper_layer.command_set import Tag, encode
from pacs_bridge.upper_layer.listener import BUSY_GIVES_WAY, IDLE_GIVES_WAY
from tests.pacs_bridge.conftest import RunningNode, echo, send_bytes, storescu, wait_until
from tests.pacs_bridge.test_node import count

CT = "1.2.840.10008.5.1.4.1.1.2"
MOST_NODE_BYTES = 300 << 20


def request_bytes(ae_title: str = "TOWNSHIP_DR") -> bytes:
    """Return an association request for CT storage."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = ae_title, "SUMU"
    context = build_context(CT, "1.2.840.10008.1.2")
    context.context_id = 1
    primitive.presentation_context_definition_list = [context]
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, implementation.implementation_class_uid = 16384, "1.2.3"
    primitive.user_information = [length, implementation]
    return A_ASSOCIATE_RQ(primitive).encode()


def data_pdu(context: int, header: int, value: bytes) -> bytes:
    """Return a P-DATA-TF PDU with one value."""
    return struct.pack(">BBIIBB", 4, 0, len(value) + 6, len(value) + 2, context, header) + value


STORE_COMMAND = encode(
    {
        Tag.AFFECTED_SOP_CLASS: CT, Tag.FIELD: 1, Tag.MESSAGE_ID: 1, Tag.PRIORITY: 0, Tag.DATA_SET_TYPE: 1,
        Tag.AFFECTED_SOP_INSTANCE: "1.2.3.4",
    }
)  # fmt: skip


@contextmanager
def connection(node: RunningNode) -> Iterator[socket.socket]:
    """Connect to the node's port."""
    with socket.create_connection(("127.0.0.1", node.settings.node.port), timeout=20) as peer:
        yield peer


def associated(peer: socket.socket) -> None:
    """Have an association accepted."""
    peer.sendall(request_bytes())
    assert peer.recv(1) == b"\x02"


def answer(peer: socket.socket) -> int | None:
    """Return the type of the PDU that comes, None when the connection ends instead."""
    try:
        while piece := peer.recv(65536):
            if piece[0] in (2, 3, 7):
                return piece[0]
    except ConnectionResetError:
        pass
    return None


def memory(node: RunningNode) -> int:
    """Return the node's resident memory."""
    status = Path(f"/proc/{node.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024


BEFORE_AN_ASSOCIATION: dict[str, bytes] = {
    "http": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
    "a data PDU at once": data_pdu(1, 3, STORE_COMMAND),
    "a huge request": struct.pack(">BBI", 1, 0, 0xFFFFFFF0) + b"\0" * 100,
    "an empty request": struct.pack(">BBI", 1, 0, 0),
    "items that run out of the request": struct.pack(">BBI", 1, 0, 72) + b"\0\1" + b"\0" * 66 + b"\x20\0\xff\xff",
    "no presentation context": struct.pack(">BBI", 1, 0, 68) + b"\0\1" + b"\0" * 66,
    "a release at once": struct.pack(">BBI", 5, 0, 4) + b"\0" * 4,
    "half a header": b"\x01\x00\x00",
    "zeros": b"\0" * 5000,
}


@pytest.mark.parametrize("what", BEFORE_AN_ASSOCIATION)
def test_whatever_comes_instead_of_a_request_is_cut_off(what: str, rude_node: RunningNode) -> None:
    with connection(rude_node) as peer:
        peer.sendall(BEFORE_AN_ASSOCIATION[what])
        peer.shutdown(socket.SHUT_WR)
        assert answer(peer) in (7, None)
    assert echo(rude_node.settings)


IN_AN_ASSOCIATION: dict[str, bytes] = {
    "a context that was not accepted": data_pdu(99, 3, STORE_COMMAND),
    "a PDU of 4 GB": struct.pack(">BBI", 4, 0, 0xFFFFFFFF),
    "a value longer than its PDU": struct.pack(">BBIIBB", 4, 0, 10, 5000, 1, 3) + b"\0" * 4,
    "a PDU shorter than a value's head": struct.pack(">BBI", 4, 0, 2) + b"\0\0",
    "a command without end": b"".join(data_pdu(1, 1, b"\0" * 8000) for _ in range(20)),
    "a command of nonsense": data_pdu(1, 3, b"\xff" * 200),
    "a data set before its command": data_pdu(1, 2, b"\0" * 100),
    "a command inside a data set": data_pdu(1, 3, STORE_COMMAND) + data_pdu(1, 0, b"\0" * 10) + data_pdu(1, 3, STORE_COMMAND),
    "a response nobody waits for": data_pdu(1, 3, encode({Tag.FIELD: 0x8001, Tag.RESPONDED_TO: 1, Tag.DATA_SET_TYPE: 0x101})),
    "an unknown PDU type": struct.pack(">BBI", 0x42, 0, 4) + b"\0" * 4,
    "a second request": request_bytes(),
    "a message without number": data_pdu(1, 3, encode({Tag.AFFECTED_SOP_CLASS: CT, Tag.FIELD: 0x30, Tag.DATA_SET_TYPE: 0x101})),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_AN_ASSOCIATION)
def test_a_broken_protocol_is_aborted_and_nothing_is_kept(what: str, rude_node: RunningNode) -> None:
    with connection(rude_node) as peer:
        associated(peer)
        peer.recv(65536)
        peer.sendall(IN_AN_ASSOCIATION[what])
        assert answer(peer) == 7  # A-ABORT, PS3.8 9.3.8
    assert echo(rude_node.settings)
    assert not list((rude_node.settings.spool / "new").iterdir())


def test_an_operation_that_the_class_does_not_have_is_answered_and_the_association_goes_on(rude_node: RunningNode) -> None:
    find = {Tag.AFFECTED_SOP_CLASS: CT, Tag.FIELD: 0x20, Tag.MESSAGE_ID: 5, Tag.PRIORITY: 0, Tag.DATA_SET_TYPE: 1}
    with connection(rude_node) as peer:
        associated(peer)
        peer.recv(65536)
        for _ in range(2):
            peer.sendall(data_pdu(1, 3, encode(find)) + data_pdu(1, 2, b"\x08\0\x52\0\x06\0\0\0STUDY "))
            reply = peer.recv(65536)
            assert reply[0] == 4
            assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0211) in reply  # unrecognised operation, PS3.7 C.5.10


def test_random_bytes_never_take_the_node_down(rude_node: RunningNode) -> None:
    chance = random.Random(7)
    for number in range(150):
        with connection(rude_node) as peer:
            good = request_bytes()
            if number % 2:
                associated(peer)
                good = data_pdu(1, 3, STORE_COMMAND) + data_pdu(1, 2, b"\0" * 300)
            spoiled = bytearray(good)
            for _ in range(chance.randint(1, 8)):
                spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
            peer.sendall(bytes(spoiled[: chance.randrange(1, len(spoiled) + 1)]))
    assert echo(rude_node.settings)
    assert rude_node.process.poll() is None


def test_transfers_that_are_broken_off_leave_nothing_behind(rude_node: RunningNode) -> None:
    for ending in ("close", "abort", "reset"):
        with connection(rude_node) as peer:
            associated(peer)
            peer.recv(65536)
            peer.sendall(data_pdu(1, 3, STORE_COMMAND) + data_pdu(1, 0, b"\0" * 60000))
            if ending == "abort":
                peer.sendall(struct.pack(">BBI", 7, 0, 4) + b"\0" * 4)
            elif ending == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    arriving = rude_node.settings.spool / "arriving" / "node-1"
    wait_until(lambda: not list(arriving.iterdir()))
    assert not list((rude_node.settings.spool / "new").iterdir())


@pytest.fixture
def rude_node(node: RunningNode) -> RunningNode:
    """A node that is going to be treated badly."""
    return node


def crowd(node: RunningNode, number: int, greet: Callable[[socket.socket], None]) -> list[socket.socket]:
    """Open so many connections and keep them."""
    peers = []
    for _ in range(number):
        peer = socket.create_connection(("127.0.0.1", node.settings.node.port), timeout=20)
        greet(peer)
        peers.append(peer)
    return peers


@pytest.mark.parametrize("kind", ["silent connections", "half requests", "idle associations", "unfinished instances"])
def test_five_hundred_rude_peers_do_not_keep_an_honest_device_out(
    kind: str, rude_node: RunningNode, database: Database, ct_study: Callable[[int], list[Path]]
) -> None:
    def greet(peer: socket.socket) -> None:
        if kind == "half requests":
            peer.sendall(request_bytes()[:40])
        elif kind in ("idle associations", "unfinished instances"):
            peer.sendall(request_bytes())
        if kind == "unfinished instances":
            peer.sendall(data_pdu(1, 3, STORE_COMMAND) + data_pdu(1, 0, b"\0" * 1000))

    peers = crowd(rude_node, 500, greet)
    try:
        time.sleep(0.2 + (BUSY_GIVES_WAY if kind == "unfinished instances" else IDLE_GIVES_WAY))
        assert storescu(rude_node.settings, *ct_study(5)).returncode == 0
        wait_until(lambda: count(database, Instance) == 5)
        assert memory(rude_node) < MOST_NODE_BYTES
    finally:
        for peer in peers:
            peer.close()
    assert echo(rude_node.settings)


def test_a_device_that_drips_its_bytes_keeps_nobody_waiting(
    rude_node: RunningNode, database: Database, ct_study: Callable[[int], list[Path]]
) -> None:
    stopping = threading.Event()

    def drip() -> None:
        with connection(rude_node) as peer:
            associated(peer)
            whole = data_pdu(1, 3, STORE_COMMAND) + data_pdu(1, 0, b"\0" * 1000)
            for byte in whole:
                if stopping.wait(0.02):
                    return
                peer.sendall(bytes((byte,)))

    drippers = [threading.Thread(target=drip) for _ in range(20)]
    for dripper in drippers:
        dripper.start()
    began = time.monotonic()
    assert send_bytes(rude_node.settings, *ct_study(1)) == 0
    assert time.monotonic() - began < 5
    stopping.set()
    for dripper in drippers:
        dripper.join()


def test_a_stalled_request_is_given_up_after_its_time(rude_node: RunningNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shown with the wire alone: half a minute is too long for a test."""
    from pacs_bridge.upper_layer.wire import PeerSilent, Wire

    ours, theirs = socket.socketpair()
    wire = Wire(ours, idle_seconds=60)
    wire.expect_within(0.2)
    dripping = threading.Thread(target=lambda: [theirs.send(b"x") or time.sleep(0.05) for _ in range(10)])
    dripping.start()
    with pytest.raises(PeerSilent):
        wire.exactly(100)
    dripping.join()
    wire.close()
    theirs.close()


def test_an_instance_of_any_size_leaves_the_nodes_memory_flat(rude_node: RunningNode, tmp_path: Path) -> None:
    """A data set of 1 GiB, in PDUs of 16 KiB."""
    with connection(rude_node) as peer:
        associated(peer)
        peer.recv(65536)
        before = memory(rude_node)
        value = data_pdu(1, 0, b"\0" * 16376) * 64
        peer.sendall(data_pdu(1, 3, STORE_COMMAND))
        most = 0
        for _ in range(1024):
            peer.sendall(value)
            most = max(most, memory(rude_node))
        peer.sendall(data_pdu(1, 2, b""))
        reply = peer.recv(65536)
        assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0000) in reply
    assert most - before < 20 << 20
    assert most < MOST_NODE_BYTES


def test_a_device_that_ends_in_the_middle_of_a_study_keeps_what_was_acknowledged(
    rude_node: RunningNode, database: Database, ct_study: Callable[[int], list[Path]]
) -> None:
    first, second = ct_study(2)
    entity = AE(ae_title="TOWNSHIP_DR")
    entity.add_requested_context(CT, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", rude_node.settings.node.port, ae_title="SUMU")
    assert association.send_c_store(first).Status == 0
    association.abort()
    wait_until(lambda: count(database, Instance) == 1)
    with database.reading() as session:
        assert session.query(Instance).one().sha256 == dataset_digest(first).sha256
    assert send_bytes(rude_node.settings, second) == 0
