"""The port for HL7 v2 orders: MLLP (HL7 v2 Transport, Release 1) with bounds, so that a rude peer stalls nobody."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.orders.codes import codec_of
from pacs_bridge.orders.hl7 import answer

log = structlog.get_logger("orders")

BEGIN, END = b"\x0b", b"\x1c\x0d"
MOST_MESSAGE_BYTES = 256 * 1024
#: Senders keep a connection for days; one that is full gives the place of the quietest away.
MOST_CONNECTIONS = 32
#: A message that has begun must be whole within this time, and an answer must be taken.
MESSAGE_SECONDS = 20.0
_READ_BYTES = 65536


class WrongOrderSettings(SumuError):
    """The settings of the port for orders cannot be used."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"Orders by HL7 cannot be taken: {problem}.", remedy=remedy)


class BrokenFrame(SumuError):
    """A peer sent something that is no MLLP."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem, remedy="Send each message as <VT> message <FS><CR>.")


@dataclass(eq=False, kw_only=True)
class _Peer:
    connection: socket.socket
    address: str
    heard_at: float

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class OrderPort:
    """The listener: one thread for each connection, at most ``MOST_CONNECTIONS``."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Check the settings; nothing listens yet.

        Raises
        ------
        WrongOrderSettings
            If a sender is no address or network, or the character set is unknown.
        """
        self._settings, self._database = settings, database
        self._senders = _networks(settings.orders.mllp_senders)
        if codec_of(settings.orders.character_set) is None:
            raise WrongOrderSettings(
                f"orders.character_set is '{settings.orders.character_set}'", "Set it to UNICODE UTF-8 or GB 18030-2000."
            )
        self._lock = threading.Lock()
        self._peers: set[_Peer] = set()
        self._door: socket.socket | None = None
        self._stopping = False

    def start(self) -> None:
        """Listen.

        Raises
        ------
        WrongOrderSettings
            If the port is taken or the address is not this machine's.
        """
        orders = self._settings.orders
        family = socket.AF_INET6 if ":" in orders.mllp_host else socket.AF_INET
        try:
            self._door = socket.create_server((orders.mllp_host, orders.mllp_port), family=family, backlog=64)
        except OSError as error:
            raise WrongOrderSettings(
                f"{orders.mllp_host}:{orders.mllp_port} cannot be opened ({error})", "Choose another orders.mllp_port."
            ) from error
        threading.Thread(target=self._accept, args=(self._door,), name="orders", daemon=True).start()
        log.info("orders_listen", host=orders.mllp_host, port=orders.mllp_port, senders=[str(one) for one in self._senders])

    def stop(self) -> None:
        """Close the port and every connection; a sender sends again what was not acknowledged."""
        self._stopping = True
        if self._door is not None:
            with contextlib.suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
        with self._lock:
            peers = list(self._peers)
        for peer in peers:
            peer.cut()

    def _accept(self, door: socket.socket) -> None:
        while not self._stopping:
            try:
                connection, place = door.accept()
            except OSError as error:
                if not self._stopping:
                    log.error("orders_accept_failed", error=str(error), remedy="Raise the limit of open files.")
                    time.sleep(0.2)
                continue
            address = str(place[0])
            if not self._may_send(address):
                log.warning(
                    "order_sender_refused", address=address,
                    remedy=f"If it is yours, add it to the setting orders.mllp_senders: {address}",
                )  # fmt: skip
                connection.close()
                continue
            peer = _Peer(connection=connection, address=address, heard_at=time.monotonic())
            self._make_room(peer)
            threading.Thread(target=self._serve, args=(peer,), name=f"orders-{address}", daemon=True).start()

    def _make_room(self, peer: _Peer) -> None:
        with self._lock:
            if len(self._peers) >= MOST_CONNECTIONS:
                quietest = min(self._peers, key=lambda one: one.heard_at)
                self._peers.discard(quietest)
                quietest.cut()
                log.info("quiet_order_sender_ended", address=quietest.address)
            self._peers.add(peer)

    def _may_send(self, address: str) -> bool:
        shown = ipaddress.ip_address(address.split("%")[0])
        mapped = getattr(shown, "ipv4_mapped", None) or shown
        return any(mapped in network for network in self._senders) if self._senders else mapped.is_loopback

    def _serve(self, peer: _Peer) -> None:
        try:
            peer.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for message in _frames(peer):
                acknowledgement = answer(message, settings=self._settings, database=self._database)
                peer.connection.settimeout(MESSAGE_SECONDS)
                peer.connection.sendall(BEGIN + acknowledgement.data + END)
        except BrokenFrame as error:
            log.warning("order_connection_ended", address=peer.address, reason=str(error.args[0]), remedy=error.remedy)
        except DBAPIError as error:  # no acknowledgement: the sender keeps its message and sends it again
            log.warning("database_unreachable", address=peer.address, error=str(error.orig), kept="the sender's message")
        except OSError:
            pass
        except Exception:
            log.exception("order_connection_failed", address=peer.address)
        finally:
            with self._lock:
                self._peers.discard(peer)
            peer.connection.close()


def _frames(peer: _Peer) -> Iterator[bytes]:
    """Yield the messages of one connection until it ends."""
    waiting = b""
    while True:
        begin = waiting.find(BEGIN)
        if begin < 0:
            if waiting.strip(b"\r\n\x1c"):
                raise BrokenFrame("The connection does not begin a message with <VT>.")
            peer.connection.settimeout(None)  # between messages a sender may be silent for as long as it likes
            waiting = _more(peer)
            continue
        if waiting[:begin].strip(b"\r\n\x1c"):
            raise BrokenFrame("There are bytes between two messages.")
        deadline, buffer, looked = time.monotonic() + MESSAGE_SECONDS, bytearray(waiting[begin + 1 :]), 0
        while (end := buffer.find(END, looked)) < 0:
            if len(buffer) > MOST_MESSAGE_BYTES:
                raise BrokenFrame(f"A message is longer than {MOST_MESSAGE_BYTES >> 10} KiB.")
            looked = max(0, len(buffer) - 1)
            left = deadline - time.monotonic()
            if left <= 0:
                raise BrokenFrame(f"A message was not whole after {MESSAGE_SECONDS:g} seconds.")
            peer.connection.settimeout(left)
            try:
                buffer += _more(peer)
            except TimeoutError:
                continue
        if end > MOST_MESSAGE_BYTES:
            raise BrokenFrame(f"A message is longer than {MOST_MESSAGE_BYTES >> 10} KiB.")
        waiting = bytes(buffer[end + len(END) :])
        yield bytes(buffer[:end])


def _more(peer: _Peer) -> bytes:
    data = peer.connection.recv(_READ_BYTES)
    if not data:
        raise ConnectionAbortedError("the sender closed the connection")
    peer.heard_at = time.monotonic()
    return data


def _networks(senders: list[str]) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    try:
        return [ipaddress.ip_network(one, strict=False) for one in senders]
    except ValueError as error:
        raise WrongOrderSettings(
            f"orders.mllp_senders: {error}", "Write addresses or networks: 10.1.2.3 or 10.1.0.0/16."
        ) from error


@contextmanager
def taking_orders(settings: Settings) -> Iterator[None]:
    """Take orders by HL7 while the block lasts, if the settings name a port.

    What is wrong with the port is told and stops nothing else: images matter more than orders.
    """
    if not settings.orders.mllp_port:
        yield
        return
    database = Database(settings.database_address)
    try:
        port = OrderPort(settings, database)
        port.start()
    except WrongOrderSettings as error:
        log.error("orders_not_taken", reason=str(error.args[0]), remedy=error.remedy)
        port = None
    try:
        yield
    finally:
        if port is not None:
            port.stop()
        database.close()
