"""Which machines may push: looked up by AE title, remembered for a moment so that a burst costs one query."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import SumuError
from core.tables import Device

REMEMBERED_SECONDS = 2.0


class UnknownDevice(SumuError):
    """A machine called the node that nobody has admitted."""

    def __init__(self, ae_title: str, address: str) -> None:
        super().__init__(
            f"The device '{ae_title}' at {address} is not admitted.",
            remedy=f"If it is yours: sumu device admit {ae_title} --organisation CODE --address {address}",
        )
        self.ae_title, self.address = ae_title, address


class WrongAddress(SumuError):
    """A known AE title called from an address that is not the device's."""

    def __init__(self, ae_title: str, address: str, expected: str) -> None:
        super().__init__(
            f"The device '{ae_title}' called from {address}, but its address is {expected}.",
            remedy=f"If it moved: sumu device admit {ae_title} --address {address}",
        )


@dataclass(frozen=True, kw_only=True)
class AdmittedDevice:
    """A device as the node knows it."""

    id: int
    organisation_id: int
    ae_title: str
    address: str | None


class DeviceRegister:
    """The admitted devices. When the database is away, those remembered stay admitted: nobody waits for us."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._devices: dict[str, AdmittedDevice] = {}
        self._read_at: float | None = None

    def admit(self, ae_title: str, address: str) -> AdmittedDevice:
        """Return the device that calls.

        Raises
        ------
        UnknownDevice
            If no device of that AE title is admitted.
        WrongAddress
            If the device is bound to another address.
        """
        device = self.all().get(ae_title)
        if device is None:
            raise UnknownDevice(ae_title, address)
        if device.address is not None and device.address != address:
            raise WrongAddress(ae_title, address, device.address)
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
                device.ae_title: AdmittedDevice(
                    id=device.id, organisation_id=device.organisation_id, ae_title=device.ae_title, address=device.address
                )
                for device in session.scalars(select(Device).where(Device.dismissed_at.is_(None)))
            }
