"""Who may send orders: named addresses in plain, and admitted devices by the certificate that they show in TLS."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
from typing import Protocol

from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.devices import AdmittedDevice, DeviceRegister
from pacs_bridge.orders.frames import TLS_BEGINS
from pacs_bridge.tls import ServerTls

#: Time for the first byte and the handshake.
HANDSHAKE_SECONDS = 10.0


class WrongOrderSettings(SumuError):
    """The settings of a port for orders cannot be used."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"Orders by HL7 cannot be taken: {problem}.", remedy=remedy)


class NotASender(SumuError):
    """Somebody connects who may not send orders."""


class Senders(Protocol):
    """The rule of one port."""

    #: Something comes before the first message, by which a sender shows who it is.
    greets: bool

    def connects(self, address: str) -> None:
        """Pass if an address may connect at all, or raise :class:`NotASender`."""

    def secured(self, connection: socket.socket) -> socket.socket:
        """Return the connection over which messages come; nothing is read from it yet."""

    def greet(self, connection: socket.socket, address: str) -> str | None:
        """Do what comes before the first message, and return what the sender showed; raise :class:`NotASender`."""

    def device(self, shown: str | None, address: str) -> AdmittedDevice | None:
        """Return the device that sends the next message, None where addresses alone count; raise :class:`NotASender`."""


class NamedAddresses:
    """Without TLS: the addresses of the setting ``orders.mllp_senders``, and none but this machine where it is empty."""

    greets = False

    def __init__(self, settings: Settings) -> None:
        """Read the addresses, or raise :class:`WrongOrderSettings`."""
        try:
            self.networks = [ipaddress.ip_network(one, strict=False) for one in settings.orders.mllp_senders]
        except ValueError as error:
            raise WrongOrderSettings(
                f"orders.mllp_senders: {error}", "Write addresses or networks: 10.1.2.3 or 10.1.0.0/16."
            ) from error

    def connects(self, address: str) -> None:
        """Pass if the address is one of them, or raise :class:`NotASender`."""
        shown = ipaddress.ip_address(address.split("%")[0])
        mapped = getattr(shown, "ipv4_mapped", None) or shown
        if not (any(mapped in network for network in self.networks) if self.networks else mapped.is_loopback):
            raise NotASender(
                f"{address} may not send orders.", remedy=f"If it is yours, add it to the setting orders.mllp_senders: {address}"
            )

    def secured(self, connection: socket.socket) -> socket.socket:
        """Return the connection as it is."""
        return connection

    def greet(self, connection: socket.socket, address: str) -> None:
        """Nothing comes before the first message."""

    def device(self, shown: str | None, address: str) -> None:
        """No device is known."""


class CertificateHolders:
    """With TLS (PS3.15 B.12, as at the node): admitted devices that may search and fetch, each with its own certificate."""

    greets = True

    def __init__(self, settings: Settings, database: Database) -> None:
        """Load the node's certificate, or raise :class:`pacs_bridge.tls.UnusableCertificate`."""
        self._tls, self._devices = ServerTls(settings), DeviceRegister(database)

    def connects(self, address: str) -> None:
        """Anybody may connect; the certificate decides."""

    def secured(self, connection: socket.socket) -> ssl.SSLSocket:
        """Return the connection in TLS, before its handshake."""
        certificates = [device.certificate for device in self._devices.all().values() if device.certificate]
        return self._tls.context(certificates).wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def greet(self, connection: socket.socket, address: str) -> str:
        """Shake hands and return the SHA-256 of the certificate; raise :class:`NotASender` where there is none that counts."""
        assert isinstance(connection, ssl.SSLSocket)
        connection.settimeout(HANDSHAKE_SECONDS)
        first = socket.socket.recv(connection, 1, socket.MSG_PEEK)
        if first and first != TLS_BEGINS:
            raise NotASender(
                "It speaks without TLS on the port for TLS.",
                remedy="Switch TLS on in the sending system, or have it send to orders.mllp_port.",
            )
        try:
            connection.do_handshake()
        except ssl.SSLError as error:
            raise NotASender(
                f"TLS does not come about ({error.reason or error}).",
                remedy="Admit the system as a device that may search and fetch, with its certificate; it must trust the node's.",
            ) from error
        shown = connection.getpeercert(binary_form=True)
        fingerprint = hashlib.sha256(shown or b"").hexdigest()
        self.device(fingerprint, address)
        return fingerprint

    def device(self, shown: str | None, address: str) -> AdmittedDevice:
        """Return the device of a certificate as it is admitted now, or raise :class:`NotASender`."""
        held = [device for device in self._devices.all().values() if device.certificate_sha256 == shown]
        here = [device for device in held if device.address in (None, address.removeprefix("::ffff:"))]
        permitted = next((device for device in here if device.may_query), None)
        if permitted is not None:
            return permitted
        if here:
            ae_title = here[0].ae_title
            raise NotASender(
                f"The device '{ae_title}' may not send orders.", remedy=f"If it should: sumu device admit {ae_title} --may query"
            )
        if held:
            ae_title, expected = held[0].ae_title, held[0].address
            raise NotASender(
                f"The device '{ae_title}' called from {address}, but its address is {expected}.",
                remedy=f"If it moved: sumu device admit {ae_title} --address {address}",
            )
        raise NotASender(
            f"No admitted device has the certificate (SHA-256 {(shown or '')[:16]}…) that {address} shows.",
            remedy="Admit the system as a device that may search and fetch, with this certificate.",
        )
