"""Devices let in, changed and shut out: what the page and the command line do alike, each step with its audit event."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.refusals import N_, Refusal
from core import audit
from core.clock import now
from core.passwords import new_token, token_hash
from core.tables import Device, Organisation, RefusedCaller
from pacs_bridge.character_sets.repertoires import is_known
from pacs_bridge.tls import UnusableCertificate, make_certificate, read_certificate

#: What a device may be told to show its worklist in; ``ISO_IR 6`` is ASCII: every name in pinyin.
WORKLIST_CHARACTER_SETS = ("GB18030", "ISO_IR 192", "GBK", "ISO 2022 IR 58", "ISO_IR 100", "ISO_IR 6")
#: Rules that Chinese machines need; any other term of ``repertoires.toml`` may be typed at the command line.
RULES = ("GB18030", "GBK", "ISO_IR 192", "Big5", "\\ISO 2022 IR 58", "ISO_IR 100")
#: Fields of a device that may be changed as they are given.
PERMISSIONS = ("may_store", "may_ask_worklist", "may_query", "may_forward")


class UnusableField(Refusal):
    """Something that is said of a device cannot be; ``field`` is a column of the table."""

    status = 422
    field: ClassVar[str]


class NoAeTitle(UnusableField):
    """The name is no AE title (PS3.5 6.2)."""

    field = "ae_title"
    message_id = N_("'%(value)s' is no AE title.")
    remedy_id = N_("Use 1 to 16 characters of ASCII without a backslash, as the device's service menu shows it.")


class NoAddress(UnusableField):
    """The address is none."""

    field = "address"
    message_id = N_("'%(value)s' is no network address.")
    remedy_id = N_("Write it as 10.1.2.3, or leave it empty: then the device may call from anywhere.")


class NoPort(UnusableField):
    """The port is none."""

    field = "port"
    message_id = N_("'%(value)s' is no port.")
    remedy_id = N_("Write a number from 1 to 65535, or leave it empty.")


class NoLimit(UnusableField):
    """A limit is no positive number."""

    field = "max_instance_bytes"
    message_id = N_("'%(value)s' is no limit.")
    remedy_id = N_("Write a whole number above 0, or leave it empty: then there is no limit.")


class NoCharacterSet(UnusableField):
    """A character set that Sumu cannot read."""

    field = "character_set_rule"
    message_id = N_("'%(value)s' is no character set that Sumu can read.")
    remedy_id = N_("Use a defined term of DICOM: GB18030, GBK, ISO_IR 192, Big5, \\ISO 2022 IR 58.")


class NoCertificate(UnusableField):
    """A text that holds no certificate."""

    field = "certificate"
    message_id = N_("This is no certificate.")
    remedy_id = N_("Give the PEM text, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----; the key stays secret.")


class KnownAlready(UnusableField):
    """A new device whose AE title is taken."""

    field = "ae_title"
    message_id = N_("There is a device '%(value)s' already.")
    remedy_id = N_("Change that one, or give this machine another AE title in its service menu.")


class NotYours(Refusal):
    """The device or the organisation is another administrator's."""

    status = 404
    message_id = N_("There is no such device or organisation among yours.")
    remedy_id = N_("Look for it in the list of devices.")


def device_called(session: Session, ae_title: str) -> Device | None:
    """Return the device of an AE title, shut out or not."""
    return session.scalar(select(Device).where(Device.ae_title == ae_title))


def admit(session: Session, ae_title: str, organisation_id: int, *, actor: str, **fields: Any) -> Device:
    """Let a new device in; it uses TLS unless ``plain`` says otherwise.

    Raises
    ------
    UnusableField
        If its AE title is none or is taken, or a field cannot be what it is to be.
    """
    ae_title = ae_title.strip()
    if not (1 <= len(ae_title) <= 16 and ae_title.isascii() and ae_title.isprintable() and "\\" not in ae_title):
        raise NoAeTitle(value=ae_title)
    if device_called(session, ae_title) is not None:
        raise KnownAlready(value=ae_title)
    device = Device(ae_title=ae_title, organisation_id=organisation_id, name=ae_title, plain=False, admitted_at=now())
    changed = _set(device, fields)
    session.add(device)
    session.flush()
    place = session.get_one(Organisation, organisation_id).code
    audit.record(session, actor, "device_admitted", _subject(device), {"organisation": place, "plain": device.plain, **changed})
    return device


def change(session: Session, device: Device, *, actor: str, **fields: Any) -> dict[str, Any]:
    """Change what is known of a device, and return what became different; nothing is recorded where nothing did.

    ``certificate`` is PEM text; None takes it away. Other fields are columns of the table.

    Raises
    ------
    UnusableField
        If a field cannot be what it is to be.
    """
    changed = _set(device, fields)
    if changed:
        session.flush()
        audit.record(session, actor, "device_changed", _subject(device), changed)
    return changed


def dismiss(session: Session, device: Device, *, actor: str) -> None:
    """Refuse a device from now on; what it sent stays."""
    if device.dismissed_at is None:
        device.dismissed_at = now()
        audit.record(session, actor, "device_dismissed", _subject(device))


def let_in_again(session: Session, device: Device, *, actor: str) -> None:
    """Let a device in that was shut out."""
    if device.dismissed_at is not None:
        device.dismissed_at = None
        audit.record(session, actor, "device_admitted", _subject(device), {"again": True})


def issue_token(session: Session, device: Device, *, actor: str) -> str:
    """Return a new token, which nobody can read again; the old one ends with it."""
    token = new_token()
    device.token_hash = token_hash(token)
    audit.record(session, actor, "device_token_issued", _subject(device))
    return token


def withdraw_token(session: Session, device: Device, *, actor: str) -> None:
    """Take the token away: the HTTPS doors are closed to the device, and no passcode is checked."""
    if device.token_hash is not None:
        device.token_hash = None
        audit.record(session, actor, "device_token_withdrawn", _subject(device))


def make_key(session: Session, device: Device, *, actor: str) -> tuple[str, str]:
    """Return a certificate and its key (PEM), made for a device and registered for it; the key is kept nowhere here."""
    pem, key = make_certificate(device.ae_title, [device.address or "localhost"])
    change(session, device, actor=actor, certificate=pem)
    return pem, key


def admit_caller(session: Session, caller: RefusedCaller, organisation_id: int, *, actor: str) -> Device:
    """Let a refused caller in as it called: from its address, with TLS or without; it leaves the list.

    A device that is known already keeps its organisation. Of a caller with TLS we know the certificate only if it is some
    device's; else it has to be given on the device's page.
    """
    fields: dict[str, Any] = {"address": caller.address}
    if caller.certificate_sha256 is None:
        fields["plain"] = True
    else:
        same = select(Device.certificate).where(Device.certificate_sha256 == caller.certificate_sha256).limit(1)
        certificate = session.scalar(same)
        if certificate is not None:
            fields["certificate"] = certificate
    device = device_called(session, caller.ae_title)
    if device is None:
        device = admit(session, caller.ae_title, organisation_id, actor=actor, **fields)
    else:
        if device.address is None:
            del fields["address"]  # it may call from anywhere, and was refused for something else
        let_in_again(session, device, actor=actor)
        change(session, device, actor=actor, **fields)
    session.delete(caller)
    return device


def forget_caller(session: Session, caller: RefusedCaller, *, actor: str) -> None:
    """Take a caller off the list; it comes back if it calls again."""
    audit.record(session, actor, "caller_forgotten", f"caller:{caller.ae_title}", {"address": caller.address})
    session.delete(caller)


def _set(device: Device, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Set the fields and return what became different, as the audit chain keeps it."""
    before = {name: getattr(device, name) for name in (*fields, "certificate_sha256")}
    for name, value in fields.items():
        setattr(device, name, _checked(name, value))
    if "certificate" in fields:
        device.certificate_sha256 = read_certificate(device.certificate).sha256 if device.certificate else None
    different = {name: getattr(device, name) for name, was in before.items() if getattr(device, name) != was}
    different.pop("certificate", None)  # its hash says it
    return different


def _checked(name: str, value: Any) -> Any:
    match name:
        case "address" if value:
            return _address(value)
        case "certificate" if value:
            try:
                return read_certificate(value).pem
            except UnusableCertificate as error:
                raise NoCertificate from error
        case "port" if value is not None and not 1 <= value <= 65535:
            raise NoPort(value=value)
        case "max_instance_bytes" | "max_instances_per_minute" if value is not None and value < 1:
            raise NoLimit(value=value)
        case "worklist_character_set" | "character_set_rule" if value and (len(value) > 64 or not is_known(value)):
            raise NoCharacterSet(value=value[:64])
        case "worklist_character_set":
            return value or WORKLIST_CHARACTER_SETS[0]
        case "address" | "certificate" | "character_set_rule":
            return value or None
        case "name":
            return ("".join(letter for letter in value if letter.isprintable()).strip() or "?")[:128]
    return value


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError as error:
        raise NoAddress(value=text[:64]) from error


def _subject(device: Device) -> str:
    return f"device:{device.ae_title}"
