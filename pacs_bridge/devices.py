"""Which machines may call, and for what: looked up by AE title, remembered for a moment so that a burst costs one query."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import SumuError
from core.tables import Device

REMEMBERED_SECONDS = 2.0
#: AE title by which `sumu doctor` looks whether the node answers; it is refused like a stranger, and not listed as one.
PROBE = "SUMU_DOCTOR"


class NotAdmitted(SumuError):
    """A machine called and is not let in."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)


class UnknownDevice(NotAdmitted):
    """A machine called the node that nobody has admitted."""

    def __init__(self, ae_title: str, address: str, *, plain: bool = False) -> None:
        super().__init__(
            f"The device '{ae_title}' at {address} is not admitted.",
            remedy=f"If it is yours, admit it on the page Devices, or: sumu device admit {ae_title} --organisation CODE"
            + (" --plain" if plain else ""),
        )


class WrongAddress(NotAdmitted):
    """A known AE title called from an address that is not the device's."""

    def __init__(self, ae_title: str, address: str, expected: str) -> None:
        super().__init__(
            f"The device '{ae_title}' called from {address}, but its address is {expected}.",
            remedy=f"If it moved: sumu device admit {ae_title} --address {address}",
        )


class PlainNotAllowed(NotAdmitted):
    """A device that is to use TLS called without."""

    def __init__(self, ae_title: str) -> None:
        super().__init__(
            f"The device '{ae_title}' called without TLS.",
            remedy=f"Have it call the TLS port with its certificate; if it cannot: sumu device admit {ae_title} --plain",
        )


class WrongCertificate(NotAdmitted):
    """A device showed another certificate than its own, or none."""

    def __init__(self, ae_title: str, shown: str) -> None:
        what = f"a certificate (SHA-256 {shown[:16]}…) that is not its own" if shown else "no certificate"
        super().__init__(
            f"The device '{ae_title}' showed {what}.",
            remedy=f"If it was renewed: sumu device admit {ae_title} --certificate FILE",
        )


@dataclass(frozen=True, kw_only=True)
class AdmittedDevice:
    """A device as the node knows it; the fields are those of :class:`core.tables.Device`."""

    id: int
    organisation_id: int
    ae_title: str
    address: str | None = None
    port: int | None = None
    plain: bool = False
    certificate: str | None = None
    certificate_sha256: str | None = None
    token_hash: str | None = None
    may_store: bool = True
    may_ask_worklist: bool = True
    may_query: bool = False
    may_forward: bool = False
    worklist_character_set: str = "GB18030"
    character_set_rule: str | None = None
    max_instance_bytes: int | None = None
    max_instances_per_minute: int | None = None


class DeviceRegister:
    """The admitted devices. When the database is away, those remembered stay admitted: nobody waits for us."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._devices: dict[str, AdmittedDevice] = {}
        self._read_at: float | None = None

    def admit(self, ae_title: str, address: str, certificate_sha256: str | None = None) -> AdmittedDevice:
        """Return the device that calls. ``certificate_sha256`` is None where it came without TLS, empty where it showed none.

        Raises
        ------
        NotAdmitted
            If no device of that AE title is admitted, it calls from elsewhere, or without the certificate that it must show.
        """
        device = self.all().get(ae_title)
        if device is None:
            raise UnknownDevice(ae_title, address, plain=certificate_sha256 is None)
        if device.address is not None and device.address != address:
            raise WrongAddress(ae_title, address, device.address)
        if certificate_sha256 is None:
            if not device.plain:
                raise PlainNotAllowed(ae_title)
        elif not certificate_sha256 or certificate_sha256 != device.certificate_sha256:
            raise WrongCertificate(ae_title, certificate_sha256)
        return device

    def all(self) -> dict[str, AdmittedDevice]:
        """Return every admitted device by AE title."""
        if self._read_at is None or time.monotonic() - self._read_at > REMEMBERED_SECONDS:
            try:
                self._devices = self._read()
            except DBAPIError:
                if self._read_at is None:
                    raise
            self._read_at = time.monotonic()
        return self._devices

    def _read(self) -> dict[str, AdmittedDevice]:
        with self._database.reading() as session:
            return {
                device.ae_title: AdmittedDevice(**{name: getattr(device, name) for name in AdmittedDevice.__dataclass_fields__})
                for device in session.scalars(select(Device).where(Device.dismissed_at.is_(None)))
            }
