"""Orders over MLLP with TLS: a device that is admitted for it, and everybody who is not."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from core.clock import now
from core.database import Database
from core.settings import OrdersSettings, Settings
from core.tables import AuditEvent, Device, Order
from pacs_bridge import devices
from pacs_bridge.orders import mllp, senders
from pacs_bridge.orders.frames import BEGIN, END
from pacs_bridge.orders.mllp import taking_orders
from pacs_bridge.tls import make_certificate, node_certificate, read_certificate
from tests.conftest import County, free_port
from tests.pacs_bridge.orders.messages import order_message

client = pytest.importorskip("hl7.client", reason="python-hl7 is the sender")


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A hospital system with its certificate."""

    certificate: Path
    key: Path
    node: Path
    port: int

    def context(self) -> ssl.SSLContext:
        """Return its TLS: it trusts the node's certificate alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.node)
        context.load_cert_chain(self.certificate, self.key)
        return context

    @contextmanager
    def connected(self) -> Iterator[ssl.SSLSocket]:
        """Connect with TLS while the block lasts."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection,
            self.context().wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            yield secured

    def send(self, data: bytes) -> bytes:
        """Send in a connection of its own and return the answer, empty when the connection is closed."""
        try:
            with self.connected() as secured:
                secured.sendall(data)
                return receive(secured)
        except OSError:
            return b""


def receive(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(END):
        try:
            more = connection.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return answer
        if not more:
            return answer
        answer += more
    return answer


def keys(folder: Path, name: str) -> tuple[Path, Path, str]:
    pem, key = make_certificate(name, ["127.0.0.1"])
    certificate_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    certificate_file.write_text(pem)
    key_file.write_text(key)
    return certificate_file, key_file, pem


@pytest.fixture
def his(
    settings: Settings, database: Database, county: County, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Sender]:
    """An admitted hospital system of the near township, and the open port that it sends to."""
    monkeypatch.setattr(devices, "REMEMBERED_SECONDS", 0.0)
    certificate, key, pem = keys(tmp_path, "HIS")
    known = read_certificate(pem)
    with database.writing() as session:
        session.add(
            Device(
                organisation_id=county.township, ae_title="HIS", name="HIS", may_query=True, address="127.0.0.1",
                certificate=known.pem, certificate_sha256=known.sha256, admitted_at=now(),
            )
        )  # fmt: skip
    number = free_port()
    orders = OrdersSettings(mllp_tls_port=number, mllp_host="127.0.0.1")
    with taking_orders(settings.model_copy(update={"orders": orders})):
        yield Sender(certificate=certificate, key=key, node=node_certificate(settings)[0], port=number)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Wait for words in the log and return it."""
    said = ""

    def wait(words: str) -> str:
        nonlocal said
        deadline = time.monotonic() + 5
        while words not in said:
            said += capsys.readouterr().out
            assert time.monotonic() < deadline, said
            time.sleep(0.02)
        return said

    return wait


def count(database: Database) -> int:
    with database.reading() as session:
        return session.query(Order).count()


def change(database: Database, **values: object) -> None:
    with database.writing() as session:
        session.execute(update(Device).where(Device.ae_title == "HIS").values(**values))


def test_python_hl7s_client_places_an_order_in_tls_and_its_certificate_says_who_it_is(his: Sender, database: Database) -> None:
    with his.connected() as secured:
        sender = client.MLLPClient.__new__(client.MLLPClient)
        sender.socket, sender.encoding = secured, "utf-8"
        assert b"MSA|AA|MSG0001|" in sender.send_message(order_message().decode())
        assert b"MSA|AA|MSG0001|" in sender.send_message(order_message(control="CA").decode())
    assert count(database) == 1
    with database.reading() as session:
        assert set(session.scalars(select(AuditEvent.actor))) == {"device:HIS"}


def test_messages_in_a_row_and_in_pieces(his: Sender, database: Database) -> None:
    first, second = (BEGIN + order_message(number=number) + END for number in ("1", "2"))
    with his.connected() as secured:
        for place in range(0, len(first), 97):
            secured.sendall(first[place : place + 97])
        assert b"MSA|AA" in receive(secured)
        secured.sendall(second + BEGIN + order_message(number="3") + END)
        answer = receive(secured)
        while answer.count(END) < 2:
            answer += receive(secured)
    assert count(database) == 3


def test_a_system_orders_for_its_own_organisation_alone(his: Sender, database: Database) -> None:
    answer = his.send(BEGIN + order_message(facility="FAR") + END)
    assert b"MSA|AR" in answer
    assert b"may not order for FAR" in answer
    assert count(database) == 0


def test_an_unknown_certificate_opens_nothing(
    his: Sender, database: Database, tmp_path: Path, told: Callable[[str], str]
) -> None:
    certificate, key, _ = keys(tmp_path, "STRANGER")
    stranger = Sender(certificate=certificate, key=key, node=his.node, port=his.port)
    assert stranger.send(BEGIN + order_message() + END) == b""
    assert "Admit the system as a device" in told("order_sender_refused")
    assert count(database) == 0
    assert b"MSA|AA" in his.send(BEGIN + order_message() + END)


def test_without_a_certificate_nothing_is_taken(his: Sender, database: Database, told: Callable[[str], str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(his.node)
    with (
        pytest.raises(ssl.SSLError),
        socket.create_connection(("127.0.0.1", his.port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="localhost") as secured,
    ):
        secured.sendall(BEGIN + order_message() + END)
        assert secured.recv(1024) == b""
    told("order_sender_refused")
    assert count(database) == 0


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"may_query": False}, "--may query"),
        ({"address": "10.0.0.9"}, "--address 127.0.0.1"),
        ({"dismissed_at": now()}, "Admit the system as a device"),
    ],
)
def test_a_device_that_may_not_is_told_what_to_change(
    his: Sender, database: Database, changes: dict[str, object], remedy: str, told: Callable[[str], str]
) -> None:
    change(database, **changes)
    assert his.send(BEGIN + order_message() + END) == b""
    assert remedy in told("order_sender_refused")
    assert count(database) == 0


def test_a_device_that_is_shut_out_sends_nothing_more_over_an_open_connection(his: Sender, database: Database) -> None:
    with his.connected() as secured:
        secured.sendall(BEGIN + order_message(number="1") + END)
        assert b"MSA|AA" in receive(secured)
        change(database, dismissed_at=now())
        secured.sendall(BEGIN + order_message(number="2") + END)
        assert receive(secured) == b""
    assert count(database) == 1


def test_a_plain_sender_at_the_tls_port_is_told_and_costs_nothing(his: Sender, told: Callable[[str], str]) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", his.port), timeout=10) as connection:
        connection.sendall(BEGIN + order_message() + END)
        assert receive(connection) == b""
    assert time.monotonic() - began < 2
    assert "orders.mllp_port" in told("It speaks without TLS")
    assert b"MSA|AA" in his.send(BEGIN + order_message() + END)


def test_strangers_who_say_nothing_shut_no_sender_out(his: Sender, database: Database) -> None:
    with his.connected() as secured:
        secured.sendall(BEGIN + order_message(number="1") + END)
        assert b"MSA|AA" in receive(secured)
        silent = [socket.create_connection(("127.0.0.1", his.port), timeout=10) for _ in range(mllp.MOST_STRANGERS * 4)]
        try:
            assert b"MSA|AA" in his.send(BEGIN + order_message(number="2") + END)
            secured.sendall(BEGIN + order_message(number="3") + END)  # the quietest of all, and no stranger
            assert b"MSA|AA" in receive(secured)
        finally:
            for connection in silent:
                connection.close()
    assert count(database) == 3


def test_a_handshake_that_stops_is_given_up(his: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(senders, "HANDSHAKE_SECONDS", 0.3)
    for begun in (b"", b"\x16\x03\x01\x02\x00"):
        with socket.create_connection(("127.0.0.1", his.port), timeout=10) as connection:
            connection.sendall(begun)
            with suppress(ConnectionError):
                assert connection.recv(1) == b""


def test_old_tls_is_refused(his: Sender) -> None:
    context = his.context()
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", his.port), timeout=10) as connection,
        pytest.raises(OSError, match=r"SSL|ssl|reset"),
    ):
        context.wrap_socket(connection, server_hostname="localhost")


def test_a_certificate_of_the_node_that_cannot_be_used_is_told_and_the_plain_port_opens(
    settings: Settings, database: Database, county: County, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    plain = free_port()
    changed = settings.model_copy(
        update={
            "orders": OrdersSettings(mllp_port=plain, mllp_tls_port=free_port(), mllp_host="127.0.0.1"),
            "node": settings.node.model_copy(update={"tls_certificate": broken, "tls_key": broken}),
        }
    )
    with taking_orders(changed), socket.create_connection(("127.0.0.1", plain), timeout=10) as connection:
        connection.sendall(BEGIN + order_message() + END)
        assert b"MSA|AA" in receive(connection)
    assert "is no usable certificate" in capsys.readouterr().out


def test_tls_at_the_plain_port_is_told(
    settings: Settings, database: Database, county: County, told: Callable[[str], str]
) -> None:
    plain = free_port()
    orders = OrdersSettings(mllp_port=plain, mllp_host="127.0.0.1")
    with taking_orders(settings.model_copy(update={"orders": orders})):
        with (
            socket.create_connection(("127.0.0.1", plain), timeout=10) as connection,
            pytest.raises(OSError, match=r"SSL|ssl|reset"),
        ):
            ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")
        assert "orders.mllp_tls_port" in told("begins with TLS")
