"""Who brings instances over HTTPS: a device by its token or its certificate, and for whom an edge brings them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote

import structlog

from api.refusals import N_, Refusal
from core.passwords import token_hash
from core.settings import Settings
from pacs_bridge.devices import AdmittedDevice, DeviceRegister
from pacs_bridge.edge import words

log = structlog.get_logger("stow")

_BEARER = "bearer "


class DeviceTokenNeeded(Refusal):
    """Neither a token nor a certificate of an admitted device."""

    status: ClassVar[int] = 401
    message_id = N_("This address needs the token of an admitted device.")
    remedy_id = N_("Send the token as 'Authorization: Bearer …'; an administrator gives it to a device on its page.")


class MayNotStore(Refusal):
    """The device is admitted, but not for sending."""

    status: ClassVar[int] = 403
    message_id = N_("The device %(ae)s may neither send nor forward instances.")
    remedy_id = N_("Ask an administrator to give it that permission on the page Devices.")


class MayNotForward(Refusal):
    """The device is admitted, but is no edge."""

    status: ClassVar[int] = 403
    message_id = N_("The device %(ae)s is no edge node.")
    remedy_id = N_("Ask an administrator to give it the permission to forward on the page Devices.")


class WrongPlace(Refusal):
    """A known device called from an address that is not its own."""

    status: ClassVar[int] = 403
    message_id = N_("The device %(ae)s called from %(address)s, but its address is %(expected)s.")
    remedy_id = N_("If it moved, change its address on the page Devices, or leave it empty there.")


@dataclass(frozen=True, kw_only=True)
class Sender:
    """A device that came through the HTTPS door."""

    device: AdmittedDevice
    address: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The device that an instance is from."""

    device: AdmittedDevice
    #: Why that is not the one which was named.
    note: str = ""


def sender_of(headers: Mapping[str, str], address: str, devices: DeviceRegister, settings: Settings) -> Sender:
    """Return who sends.

    Raises
    ------
    DeviceTokenNeeded, WrongPlace, MayNotStore
        If nobody is known, it calls from elsewhere, or has no permission.
    """
    device = _by_token(headers, devices) or _by_certificate(headers, devices, settings.web.client_certificate_header)
    if device is None:
        raise DeviceTokenNeeded
    if device.address is not None and device.address != address:
        raise WrongPlace(ae=device.ae_title, address=address, expected=device.address)
    if not (device.may_store or device.may_forward):
        raise MayNotStore(ae=device.ae_title)
    return Sender(device=device, address=address)


def origin_of(part: Mapping[str, str], sender: Sender, devices: DeviceRegister) -> Origin:
    """Return whose instance a part is: an edge names a device of its own organisation; else it is the sender's own."""
    ae_title = part.get(words.DEVICE.lower(), "").strip()
    if not ae_title or ae_title == sender.device.ae_title:
        return Origin(device=sender.device)
    device = devices.all().get(ae_title)
    if not sender.device.may_forward:
        note = f"{sender.device.ae_title} may not forward for '{ae_title[:16]}'."
    elif device is None or device.organisation_id != sender.device.organisation_id:
        note = f"'{ae_title[:16]}' is not admitted in the organisation of {sender.device.ae_title}."
    else:
        return Origin(device=device)
    log.warning(
        "taken_as_the_senders_own", sender=sender.device.ae_title, named=ae_title[:16],
        remedy=f"Admit it here: sumu device admit {ae_title[:16]} --organisation CODE",
    )  # fmt: skip
    return Origin(device=sender.device, note=f"{note} Taken as sent by {sender.device.ae_title}.")


def _by_token(headers: Mapping[str, str], devices: DeviceRegister) -> AdmittedDevice | None:
    authorization = headers.get("authorization", "")
    if not authorization.lower().startswith(_BEARER):
        return None
    shown = token_hash(authorization[len(_BEARER) :].strip())
    return next((device for device in devices.all().values() if device.token_hash == shown), None)


def _by_certificate(headers: Mapping[str, str], devices: DeviceRegister, name: str) -> AdmittedDevice | None:
    """Return the device whose certificate the TLS proxy has seen, in a header that the settings name."""
    shown = _sha256_of_certificate(headers.get(name, "")) if name else ""
    if not shown:
        return None
    return next((device for device in devices.all().values() if device.certificate_sha256 == shown), None)


def _sha256_of_certificate(value: str) -> str:
    """Read a certificate as RFC 9440 writes it (``:base64:``), or as an escaped PEM text."""
    try:
        if value.startswith(":") and value.endswith(":"):
            encoded = base64.b64decode(value[1:-1], validate=True)
        else:
            encoded = ssl.PEM_cert_to_DER_cert(unquote(value))
    except (ValueError, binascii.Error):
        return ""
    return hashlib.sha256(encoded).hexdigest() if encoded else ""
