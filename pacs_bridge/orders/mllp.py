"""The ports for HL7 v2 orders: listeners with bounds, so that a rude peer stalls nobody."""

from __future__ import annotations

import contextlib
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
from pacs_bridge.orders import frames
from pacs_bridge.orders.codes import codec_of
from pacs_bridge.orders.frames import BEGIN, END, BrokenFrame
from pacs_bridge.orders.hl7 import answer
from pacs_bridge.orders.senders import CertificateHolders, NamedAddresses, NotASender, Senders, WrongOrderSettings

log = structlog.get_logger("orders")

#: Senders keep a connection for days; one that is full gives the place of the quietest away.
MOST_CONNECTIONS = 32
#: Connections that have not shown yet who they are; beyond that the oldest is closed, and no sender's.
MOST_STRANGERS = 16


@dataclass(eq=False, kw_only=True)
class _Peer:
    connection: socket.socket
    address: str
    heard_at: float

    def heard(self) -> None:
        self.heard_at = time.monotonic()

    def cut(self) -> None:
        with contextlib.suppress(OSError):
            # Not TLS's own shutdown, which would wait for the other side.
            socket.socket.shutdown(self.connection, socket.SHUT_RDWR)


class OrderPort:
    """One listener: one thread for each connection, at most ``MOST_CONNECTIONS`` and ``MOST_STRANGERS``."""

    def __init__(self, settings: Settings, database: Database, senders: Senders, *, port: int) -> None:
        """Check the settings; nothing listens yet.

        Raises
        ------
        WrongOrderSettings
            If the character set is unknown.
        """
        self._settings, self._database, self._senders, self._number = settings, database, senders, port
        if codec_of(settings.orders.character_set) is None:
            raise WrongOrderSettings(
                f"orders.character_set is '{settings.orders.character_set}'", "Set it to UNICODE UTF-8 or GB 18030-2000."
            )
        self._lock = threading.Lock()
        self._strangers: list[_Peer] = []
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
        host = self._settings.orders.mllp_host
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._door = socket.create_server((host, self._number), family=family, backlog=64)
        except OSError as error:
            raise WrongOrderSettings(
                f"{host}:{self._number} cannot be opened ({error})", "Choose another orders.mllp_port or orders.mllp_tls_port."
            ) from error
        threading.Thread(target=self._accept, args=(self._door,), name="orders", daemon=True).start()
        log.info("orders_listen", host=host, port=self._number, tls=isinstance(self._senders, CertificateHolders))

    def stop(self) -> None:
        """Close the port and every connection; a sender sends again what was not acknowledged."""
        self._stopping = True
        if self._door is not None:
            with contextlib.suppress(OSError):
                self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
        with self._lock:
            peers = [*self._peers, *self._strangers]
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
            try:
                self._senders.connects(address)
            except NotASender as error:
                _refuse(address, error)
                connection.close()
                continue
            threading.Thread(target=self._meet, args=(connection, address), name=f"orders-{address}", daemon=True).start()

    def _meet(self, connection: socket.socket, address: str) -> None:
        peer = _Peer(connection=connection, address=address, heard_at=time.monotonic())
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.connection = self._senders.secured(connection)
            if self._senders.greets:
                self._welcome(peer)
            shown = self._senders.greet(peer.connection, address)
            self._make_room(peer)
            self._serve(peer, shown)
        except NotASender as error:
            _refuse(address, error)
        except BrokenFrame as error:
            log.warning("order_connection_ended", address=address, reason=str(error.args[0]), remedy=error.remedy)
        except DBAPIError as error:  # no acknowledgement: the sender keeps its message and sends it again
            log.warning("database_unreachable", address=address, error=str(error.orig), kept="the sender's message")
        except OSError:
            pass
        except Exception:
            log.exception("order_connection_failed", address=address)
        finally:
            with self._lock:
                self._peers.discard(peer)
                if peer in self._strangers:
                    self._strangers.remove(peer)
            peer.connection.close()

    def _serve(self, peer: _Peer, shown: str | None) -> None:
        for message in frames.frames(peer.connection, peer.heard):
            device = self._senders.device(shown, peer.address)
            acknowledgement = answer(message, settings=self._settings, database=self._database, device=device)
            peer.connection.settimeout(frames.MESSAGE_SECONDS)
            peer.connection.sendall(BEGIN + acknowledgement.data + END)

    def _welcome(self, peer: _Peer) -> None:
        with self._lock:
            self._strangers.append(peer)
            oldest = self._strangers.pop(0) if len(self._strangers) > MOST_STRANGERS else None
        if oldest is not None:
            oldest.cut()

    def _make_room(self, peer: _Peer) -> None:
        with self._lock:
            if self._senders.greets:
                if peer not in self._strangers:
                    raise ConnectionAbortedError("it had to give way before it showed who it is")
                self._strangers.remove(peer)
            if len(self._peers) >= MOST_CONNECTIONS:
                quietest = min(self._peers, key=lambda one: one.heard_at)
                self._peers.discard(quietest)
                quietest.cut()
                log.info("quiet_order_sender_ended", address=quietest.address)
            self._peers.add(peer)


def _refuse(address: str, error: NotASender) -> None:
    log.warning("order_sender_refused", address=address, reason=str(error.args[0]), remedy=error.remedy)


@contextmanager
def taking_orders(settings: Settings) -> Iterator[None]:
    """Take orders by HL7 while the block lasts, at each port that the settings name.

    What is wrong with a port is told and stops nothing else: images matter more than orders.
    """
    orders = settings.orders
    if not orders.mllp_port and not orders.mllp_tls_port:
        yield
        return
    database = Database(settings.database_address)
    ports: list[OrderPort] = []
    for number, secure in ((orders.mllp_port, False), (orders.mllp_tls_port, True)):
        if not number:
            continue
        try:
            senders: Senders = CertificateHolders(settings, database) if secure else NamedAddresses(settings)
            port = OrderPort(settings, database, senders, port=number)
            port.start()
            ports.append(port)
        except SumuError as error:
            log.error("orders_not_taken", port=number, reason=str(error.args[0]), remedy=error.remedy)
    try:
        yield
    finally:
        for port in ports:
            port.stop()
        database.close()
