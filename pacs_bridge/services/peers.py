"""Associations that the node opens to devices: in TLS with both certificates checked, in plain where a device is marked so."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacs_bridge.tls import CIPHERS, UnusableCertificate, node_certificate
from pacs_bridge.upper_layer.association import BrokenProtocol, PeerAborted, PeerReleased
from pacs_bridge.upper_layer.calling import CallingAssociation, NotConnected, Rejected, call
from pacs_bridge.upper_layer.command_set import MalformedCommand
from pacs_bridge.upper_layer.negotiation import ProposedContext
from pacs_bridge.upper_layer.wire import PeerGone, PeerSilent

#: Time for the connection, the handshake and the answer to the association request.
CONNECT_SECONDS = 15
#: Time for the answer to one message.
ANSWER_SECONDS = 60


class NoWayToDevice(SumuError):
    """A device has no address to call, or no certificate to know it by."""

    def __init__(self, ae_title: str, missing: str, option: str) -> None:
        super().__init__(f"The device '{ae_title}' has no {missing}.", remedy=f"sumu device admit {ae_title} {option}")


class DeviceAway(SumuError):
    """A device accepts no association, or broke one off."""

    def __init__(self, device: AdmittedDevice, why: str) -> None:
        super().__init__(
            f"The device '{device.ae_title}' at {device.address}:{device.port} cannot be reached: {why}",
            remedy="Check that it runs, that its port is right, and that it knows the node's AE title and certificate.",
        )


#: How an association ends before its time.
BROKEN = (PeerGone, PeerSilent, PeerAborted, PeerReleased, BrokenProtocol, MalformedCommand, NotConnected, Rejected)


@contextmanager
def association_with(
    device: AdmittedDevice, contexts: Sequence[tuple[str, Sequence[str]]], settings: Settings, *, scp_of: str | None = None
) -> Iterator[CallingAssociation]:
    """Open an association to a device while the block lasts.

    Parameters
    ----------
    contexts
        SOP class and transfer syntaxes of each presentation context; at most 128.
    scp_of
        A SOP class of which the node takes the role of SCP although it calls, as reports of commitment ask.

    Raises
    ------
    NoWayToDevice
        If it has no address, or no certificate to be known by.
    DeviceAway
        If it accepts none, or breaks it off.
    """
    if device.address is None or device.port is None:
        raise NoWayToDevice(device.ae_title, "address and port", "--address ADDRESS --port PORT")
    proposed = [
        ProposedContext(id=2 * place + 1, abstract_syntax=sop_class, transfer_syntaxes=tuple(syntaxes))
        for place, (sop_class, syntaxes) in enumerate(contexts)
    ]
    tls = None if device.plain else client_tls(settings, device)
    try:
        association = call(
            device,
            (device.address, device.port),
            proposed,
            calling_ae_title=settings.node.ae_title,
            implementation=(IMPLEMENTATION_UID, IMPLEMENTATION_VERSION),
            max_pdu_bytes=settings.node.max_pdu_bytes,
            tls=tls,
            scp_of=scp_of,
            connect_seconds=CONNECT_SECONDS,
            answer_seconds=ANSWER_SECONDS,
        )
        try:
            yield association
        except BaseException:
            association.abort()
            raise
        association.release()
    except BROKEN as error:
        raise DeviceAway(device, str(error.args[0])) from error


def client_tls(settings: Settings, device: AdmittedDevice) -> ssl.SSLContext:
    """Return the TLS by which the node calls a device (PS3.15 B.12): only that device's own certificate is believed.

    Raises
    ------
    NoWayToDevice, UnusableCertificate
        If none is known, or it or the node's own cannot be used.
    """
    if device.certificate is None:
        raise NoWayToDevice(device.ae_title, "certificate", "--certificate FILE (or --plain)")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.check_hostname = False  # the certificate itself is known, whatever name it bears
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=device.certificate)
        context.load_cert_chain(*node_certificate(settings))
    except (OSError, ValueError) as error:
        raise UnusableCertificate(f"The certificate of '{device.ae_title}' or the node's own", error) from error
    return context
