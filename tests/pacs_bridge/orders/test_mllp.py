"""The port for orders: honest senders, rude ones, and those that nobody let in."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from core.database import Database
from core.settings import OrdersSettings, Settings
from core.tables import Order
from pacs_bridge.orders import frames, mllp
from pacs_bridge.orders.frames import BEGIN, END
from pacs_bridge.orders.mllp import OrderPort, taking_orders
from pacs_bridge.orders.senders import NamedAddresses, NotASender, WrongOrderSettings
from tests.conftest import County, free_port
from tests.pacs_bridge.orders.messages import order_message

client = pytest.importorskip("hl7.client", reason="python-hl7 is the sender")


@pytest.fixture
def port(settings: Settings, database: Database, county: County) -> Iterator[int]:
    """An open port for orders; its number."""
    number = free_port()
    orders = _plain_port(_with(settings, mllp_port=number, mllp_host="127.0.0.1"), database)
    orders.start()
    yield number
    orders.stop()


def _plain_port(settings: Settings, database: Database) -> OrderPort:
    return OrderPort(settings, database, NamedAddresses(settings), port=settings.orders.mllp_port)


def _with(settings: Settings, **changes: object) -> Settings:
    return settings.model_copy(update={"orders": OrdersSettings.model_validate(changes)})


def send(port: int, data: bytes, timeout: float = 10) -> bytes:
    """Send one message in a connection of its own and return the answer, empty when the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(data)
        return receive(connection)


def receive(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(END):
        try:
            more = connection.recv(65536)
        except ConnectionError:
            return answer
        if not more:
            return answer
        answer += more
    return answer


def count(database: Database) -> int:
    with database.reading() as session:
        return session.query(Order).count()


def test_python_hl7s_client_places_an_order_and_calls_it_off(port: int, database: Database) -> None:
    with client.MLLPClient("127.0.0.1", port, encoding="utf-8") as sender:
        for control in ("NW", "NW", "XO", "CA"):
            answer = sender.send_message(order_message(control=control).decode())
            assert b"MSA|AA|MSG0001|" in answer, answer
    assert count(database) == 1


def test_messages_in_a_row_and_in_pieces(port: int, database: Database) -> None:
    first, second = (BEGIN + order_message(number=number) + END for number in ("1", "2"))
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        for place in range(0, len(first), 97):
            connection.sendall(first[place : place + 97])
        assert b"MSA|AA" in receive(connection)
        connection.sendall(second + BEGIN + order_message(number="3") + END)
        answer = receive(connection)
        while answer.count(END) < 2:
            answer += receive(connection)
    assert count(database) == 3


def test_eight_senders_at_once_lose_and_double_nothing(port: int, database: Database) -> None:
    answers: list[bytes] = []

    def work(sender: int) -> None:
        for number in range(5):
            for _ in range(2):  # each message twice
                answers.append(send(port, BEGIN + order_message(number=f"{sender}-{number}", patient=f"P{sender}") + END, 60))

    threads = [threading.Thread(target=work, args=(sender,)) for sender in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert all(b"MSA|AA" in answer for answer in answers)
    with database.reading() as session:
        orders = session.query(Order).all()
        assert (len(orders), len({order.accession_number for order in orders})) == (40, 40)


RUDE = {
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "endless": BEGIN + b"x" * (frames.MOST_MESSAGE_BYTES + 2),
    "tls": b"\x16\x03\x01" + bytes(300),
    "junk between": BEGIN + b"a" + END + b"junk" + BEGIN,
}


@pytest.mark.parametrize("data", RUDE.values(), ids=RUDE)
def test_a_rude_peer_is_cut_and_an_honest_one_goes_on(port: int, database: Database, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        while receive(connection):
            pass
    assert b"MSA|AA" in send(port, BEGIN + order_message() + END)


def test_silent_peers_give_their_place_away(port: int, database: Database) -> None:
    silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(mllp.MOST_CONNECTIONS * 3)]
    try:
        for connection in silent:
            connection.settimeout(5)
        assert b"MSA|AA" in send(port, BEGIN + order_message() + END)
        assert silent[0].recv(1) == b"", "the first of them was closed"
    finally:
        for connection in silent:
            connection.close()


def test_a_message_that_never_ends_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MESSAGE_SECONDS", 0.6)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        began = time.monotonic()
        connection.sendall(BEGIN)
        try:
            while time.monotonic() - began < 8:
                connection.sendall(b"M")
                time.sleep(0.1)
        except OSError:
            pass
        assert time.monotonic() - began < 5


def test_only_named_senders_may_send(settings: Settings, database: Database, county: County) -> None:
    strangers_only = NamedAddresses(_with(settings, mllp_senders=["10.1.0.0/16"]))
    strangers_only.connects("10.1.2.3")
    strangers_only.connects("::ffff:10.1.2.3")
    nobody_named = NamedAddresses(_with(settings))
    nobody_named.connects("127.0.0.1")
    for senders, address in ((strangers_only, "127.0.0.1"), (nobody_named, "10.1.2.3")):
        with pytest.raises(NotASender):
            senders.connects(address)
    number = free_port()
    closed = _plain_port(_with(settings, mllp_port=number, mllp_host="127.0.0.1", mllp_senders=["10.1.0.0/16"]), database)
    closed.start()
    try:
        assert send(number, BEGIN + order_message() + END) == b""
    finally:
        closed.stop()
    assert count(database) == 0


def test_without_the_database_nothing_is_acknowledged(port: int, database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE orders RENAME TO away"))
    assert send(port, BEGIN + order_message() + END) == b""
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO orders"))
    assert b"MSA|AA" in send(port, BEGIN + order_message() + END)


@pytest.mark.parametrize("changes", [{"mllp_senders": ["nobody"]}, {"character_set": "EBCDIC"}])
def test_settings_that_cannot_be_used_say_what_to_write(
    settings: Settings, database: Database, changes: dict[str, object]
) -> None:
    with pytest.raises(WrongOrderSettings) as caught:
        _plain_port(_with(settings, mllp_port=1, **changes), database)
    assert "orders." in str(caught.value)


def test_a_port_that_is_taken_stops_nothing_else(
    settings: Settings, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with taking_orders(_with(settings, mllp_port=number, mllp_host="127.0.0.1")):
            pass
    assert "orders.mllp_port" in capsys.readouterr().out


def test_the_port_is_open_while_the_node_runs(settings: Settings, database: Database, county: County) -> None:
    number = free_port()
    with taking_orders(_with(settings, mllp_port=number, mllp_host="127.0.0.1")):
        assert b"MSA|AA" in send(number, BEGIN + order_message() + END)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", number), timeout=2)
