"""Ports that devices call: connections in, associations negotiated, one thread each, none of them able to shut others out."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from core.errors import SumuError
from core.settings import NodeSettings
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.upper_layer import negotiation
from pacs_bridge.upper_layer.association import Association, Service
from pacs_bridge.upper_layer.negotiation import ASSOCIATE_RQ, AssociationRequest, MalformedRequest, Refusal
from pacs_bridge.upper_layer.wire import PeerGone, Wire

log = structlog.get_logger("node")

#: Time for the request of an association (the ARTIM timer, PS3.8 9.1.5), and for a TLS handshake before it.
REQUEST_SECONDS = 30
MOST_REQUEST_BYTES = 1 << 18
#: Connections that have not asked for an association yet; beyond that the oldest is closed.
MOST_STRANGERS = 128
#: When there are too many associations, one that has been quiet for so long gives way to a new one: an idle one, and one that
#: stopped in the middle of a request or an instance.
IDLE_GIVES_WAY, BUSY_GIVES_WAY = 2.0, 5.0
_STACK_BYTES = 1 << 19


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What one device may ask for."""

    #: Transfer syntaxes by SOP class.
    syntaxes: Mapping[str, Sequence[str]]
    #: By SOP class and command field.
    services: Mapping[tuple[str, int], Service]
    #: Of these we may send it instances over its own association.
    caller_may_be_scp: frozenset[str] = frozenset()
    #: Application information of extended negotiation, by SOP class.
    extended: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who connects, as far as the connection tells."""

    address: str
    #: SHA-256 of the certificate that it showed; None: no TLS.
    certificate_sha256: str | None


class House(Protocol):
    """Who the listener asks about a caller, and tells about associations."""

    def admit(self, request: AssociationRequest, caller: Caller) -> AdmittedDevice:
        """Return the device, or raise :class:`Refusal`."""

    def offer_to(self, device: AdmittedDevice, request: AssociationRequest) -> Offer:
        """Return what it may ask for."""

    def opened(self, association: Association) -> None:
        """Note that an association begins."""

    def ended(self, association: Association, outcome: str) -> None:
        """Note that it is over: ``released``, ``aborted`` or ``lost``."""


class Listener:
    """The node's ports."""

    def __init__(self, settings: NodeSettings, house: House, *, implementation: tuple[str, str]) -> None:
        self._settings, self._house, self._implementation = settings, house, implementation
        self._ports: list[socket.socket] = []
        self._lock = threading.Lock()
        self._strangers: dict[Wire, float] = {}
        self._associations: set[Association] = set()
        self._threads: set[threading.Thread] = set()
        self._stopping = False

    def listen(self, port: int, tls: Callable[[], ssl.SSLContext] | None = None) -> None:
        """Open a port and serve it from threads of its own; ``tls`` is asked for the context of each connection."""
        family = socket.AF_INET6 if ":" in self._settings.host else socket.AF_INET
        door = socket.create_server((self._settings.host, port), family=family, backlog=512, reuse_port=False)
        self._ports.append(door)
        threading.Thread(target=self._accept, args=(door, tls), name=f"port-{port}", daemon=True).start()

    def stop(self) -> None:
        """Close the ports and cut what is open."""
        self._stopping = True
        for door in self._ports:
            with contextlib.suppress(OSError):
                door.shutdown(socket.SHUT_RDWR)
            door.close()
        with self._lock:
            open_ones: list[Association | Wire] = [*self._associations, *self._strangers]
            threads = list(self._threads)
        for one in open_ones:
            one.cut()
        deadline = time.monotonic() + 10
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _accept(self, door: socket.socket, tls: Callable[[], ssl.SSLContext] | None) -> None:
        threading.stack_size(_STACK_BYTES)
        while not self._stopping:
            try:
                connection, peer = door.accept()
            except OSError as error:
                if self._stopping:
                    return
                log.error("accept_failed", error=str(error), remedy="Raise the limit of open files of the node's process.")
                time.sleep(0.2)
                continue
            thread = threading.Thread(target=self._meet, args=(connection, str(peer[0]), tls), daemon=True)
            with self._lock:
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads: the device calls again
                log.error("accept_failed", error=str(error), remedy="Lower node.max_associations.")
                connection.close()
                with self._lock:
                    self._threads.discard(thread)

    def _meet(self, connection: socket.socket, address: str, tls: Callable[[], ssl.SSLContext] | None) -> None:
        wire = Wire(connection, idle_seconds=self._settings.idle_seconds)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._welcome_stranger(wire)
            certificate = None
            if tls is not None:
                connection.settimeout(REQUEST_SECONDS)
                connection = tls().wrap_socket(connection, server_side=True)
                shown = connection.getpeercert(binary_form=True)
                certificate = hashlib.sha256(shown).hexdigest() if shown else ""
                with self._lock:
                    self._strangers.pop(wire, None)
                wire = Wire(connection, idle_seconds=self._settings.idle_seconds)
                self._welcome_stranger(wire)
            self._negotiate(wire, Caller(address=address, certificate_sha256=certificate))
        except PeerGone:
            pass
        except ssl.SSLError as error:
            log.warning(
                "tls_refused", address=address, reason=error.reason or str(error), remedy="Give the device a certificate."
            )
        except SumuError as error:
            log.warning("connection_refused", address=address, reason=str(error.args[0]), remedy=error.remedy)
        except OSError:
            pass
        except Exception:
            log.exception("connection_failed", address=address)
        finally:
            with self._lock:
                self._strangers.pop(wire, None)
                self._threads.discard(threading.current_thread())
            wire.close()
            connection.close()

    def _welcome_stranger(self, wire: Wire) -> None:
        with self._lock:
            self._strangers[wire] = time.monotonic()
            oldest = min(self._strangers, key=self._strangers.__getitem__) if len(self._strangers) > MOST_STRANGERS else None
        if oldest is not None and oldest is not wire:
            oldest.cut()

    def _negotiate(self, wire: Wire, caller: Caller) -> None:
        wire.expect_within(REQUEST_SECONDS)
        head = wire.exactly(6)
        length = int.from_bytes(head[2:], "big")
        if head[0] != ASSOCIATE_RQ or length > MOST_REQUEST_BYTES:
            wire.send(negotiation.write_abort(by_provider=True, reason=2))
            raise MalformedRequest("the connection does not begin with one")
        try:
            request = negotiation.read_request(wire.exactly(length))
        except MalformedRequest:
            wire.send(negotiation.write_abort(by_provider=True, reason=6))
            raise
        with self._lock:
            self._strangers.pop(wire, None)
        try:
            device = self._house.admit(request, caller)
            offer = self._house.offer_to(device, request)
            contexts, results = negotiation.accepted(request, offer.syntaxes, caller_may_be_scp=offer.caller_may_be_scp)
            # Only what was accepted stays in memory with the association.
            taken = {context.abstract_syntax for context in contexts}
            association = Association(
                wire, device, request, contexts,
                {asked: service for asked, service in offer.services.items() if asked[0] in taken},
                address=caller.address, pdu_seconds=self._settings.pdu_seconds,
            )  # fmt: skip
            self._make_room(association)
        except Refusal as refusal:
            log.warning(
                "association_refused", device=request.calling_ae_title, address=caller.address,
                reason=str(refusal.args[0]), remedy=refusal.remedy,
            )  # fmt: skip
            wire.send(negotiation.write_reject(refusal.because))
            self._wait_for_close(wire)
            return
        outcome = "lost"
        try:
            self._house.opened(association)
            wire.send(
                negotiation.write_accept(
                    request, contexts, results, max_pdu_bytes=self._settings.max_pdu_bytes,
                    implementation=self._implementation, extended=_agreed(request, offer),
                )
            )  # fmt: skip
            outcome = association.serve()
        finally:
            with self._lock:
                self._associations.discard(association)
            self._house.ended(association, outcome)
        if outcome == "released":
            self._wait_for_close(wire)

    def _make_room(self, association: Association) -> None:
        """Take an association in, in the place of the quietest one where there are too many."""
        with self._lock:
            of_device = [other for other in self._associations if other.device.id == association.device.id]
            crowded = (
                of_device if len(of_device) >= self._settings.max_associations_of_device
                else list(self._associations) if len(self._associations) >= self._settings.max_associations
                else []
            )  # fmt: skip
            if crowded:
                quietest = max(crowded, key=_overdue)
                if _overdue(quietest) < 0:
                    raise Refusal(
                        f"{len(crowded)} associations are open and busy.",
                        remedy="The device calls again by itself; raise node.max_associations if this stays.",
                        because=Refusal.BUSY,
                    )
                self._associations.discard(quietest)
                quietest.cut()
                log.info("quiet_association_ended", device=quietest.device.ae_title, quiet_seconds=round(quietest.quiet_seconds))
            self._associations.add(association)

    @staticmethod
    def _wait_for_close(wire: Wire) -> None:
        """Let the device close first (PS3.8 9.2: AR-3 and AA-2), for a moment."""
        wire.expect_within(2)
        with contextlib.suppress(SumuError):
            wire.exactly(1)


def _overdue(association: Association) -> float:
    """Return for how many seconds an association has been quiet beyond what it may be while others wait."""
    return association.quiet_seconds - (BUSY_GIVES_WAY if association.busy else IDLE_GIVES_WAY)


def _agreed(request: AssociationRequest, offer: Offer) -> dict[str, bytes]:
    return {uid: offer.extended[uid] for uid in request.extended if uid in offer.extended}
