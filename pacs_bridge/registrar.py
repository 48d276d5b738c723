"""Gives every acknowledged instance its custody row, behind the acknowledgement and never in its way.

The spool is the truth. The registrar walks it, writes rows in batches, and repeats whatever a crash or an absent database
left undone. It runs as one thread of the node.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Association, Door
from pacs_bridge.devices import AdmittedDevice, DeviceRegister, UnknownDevice
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.quarantine import set_down
from pacs_bridge.registration import Arrival, Registered, register
from pacs_bridge.spool import Spool, SpoolName

log = structlog.get_logger("registrar")

BATCH = 100
#: A look into the spool even when nobody rang, for files that another process left.
LONGEST_SLEEP_SECONDS = 5.0


class SameUidOtherBytes(SumuError):
    """A second instance under a UID that is taken."""

    def __init__(self, sop_instance_uid: str) -> None:
        super().__init__(
            f"{sop_instance_uid} is in custody already, with other bytes.",
            remedy="Compare both; if the new one is right, have the device send it under a UID of its own.",
        )


class Unregistrable(SumuError):
    """A header carries a value that no column takes."""

    def __init__(self, error: DataError) -> None:
        super().__init__(
            f"The header holds a value that the database refuses: {error.orig}.", remedy="Look at it with `dcmdump`."
        )


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An association was accepted."""

    association_id: str
    device: AdmittedDevice
    address: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Ended:
    """An association is over: ``released``, ``aborted`` or ``lost``."""

    association_id: str
    outcome: str
    at: datetime


class Registrar:
    """The node's bookkeeper."""

    def __init__(self, settings: Settings, database: Database, spool: Spool, devices: DeviceRegister, *, node: str) -> None:
        self._node = node
        self._settings, self._database, self._spool, self._devices = settings, database, spool, devices
        self._events: queue.SimpleQueue[Opened | Ended] = queue.SimpleQueue()
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="registrar", daemon=True)
        self._waiting: list[Opened | Ended] = []

    def start(self) -> None:
        """End what an earlier node left open, then begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Register what is there and end."""
        self._stopping.set()
        self._bell.set()
        self._thread.join(30)

    def tell(self, event: Opened | Ended) -> None:
        """Note what happened to an association."""
        self._events.put(event)
        self._bell.set()

    def ring(self) -> None:
        """Say that an instance was kept."""
        self._bell.set()

    def _work(self) -> None:
        self._patiently(self._end_lost_associations)
        while True:
            self._bell.wait(LONGEST_SLEEP_SECONDS)
            self._bell.clear()
            self._patiently(self.catch_up)
            if self._stopping.is_set() and self._events.empty():
                return

    def _patiently(self, step: Callable[[], None]) -> None:
        """Repeat a step until the database lets it through."""
        wait = 0.5
        while True:
            try:
                step()
                return
            except DBAPIError as error:
                log.warning("database_unreachable", error=str(error.orig), waits_seconds=wait, kept="what was acknowledged")
                if self._stopping.wait(wait):
                    return
                wait = min(wait * 2, 30)

    def catch_up(self) -> None:
        """Bring the rows up to the spool and to what was told."""
        while not self._events.empty():
            self._waiting.append(self._events.get())
        # Files first, ends after: an association that has ended has no instance left without a row.
        names = self._spool.names_without_custody()
        with self._database.writing() as session:
            for event in self._waiting:
                if isinstance(event, Opened):
                    self._open(session, event)
        for start in range(0, len(names), BATCH):
            self._register(names[start : start + BATCH])
        with self._database.writing() as session:
            for event in self._waiting:
                if isinstance(event, Ended):
                    self._end(session, event)
        self._waiting.clear()

    def _end_lost_associations(self) -> None:
        self.catch_up()
        with self._database.writing() as session:
            open_ones = select(Association).where(Association.node == self._node, Association.ended_at.is_(None))
            for association in session.scalars(open_ones):
                association.ended_at, association.outcome = now(), "lost"

    def _open(self, session: Session, event: Opened) -> None:
        if session.get(Association, event.association_id) is None:
            session.add(
                Association(
                    id=event.association_id,
                    device_id=event.device.id,
                    node=self._node,
                    address=event.address,
                    opened_at=event.at,
                )
            )

    def _end(self, session: Session, event: Ended) -> None:
        association = session.get(Association, event.association_id)
        if association is not None and association.ended_at is None:
            association.ended_at, association.outcome = event.at, event.outcome

    def _register(self, names: list[str]) -> None:
        new: list[str] = []
        done: list[str] = []
        refused: list[str] = []
        with self._database.writing() as session:
            for name in names:
                try:
                    with session.begin_nested():
                        outcome = self._register_one(session, name)
                except FileNotFoundError:
                    continue  # another node of this machine was faster
                except SumuError as error:
                    refused.append(name)
                    self._quarantine(session, name, error)
                except DataError as error:
                    refused.append(name)
                    self._quarantine(session, name, Unregistrable(error))
                else:
                    (done if outcome is Registered.REPEAT else new).append(name)
        for name in new:
            self._spool.hold(name)
        for name in done:
            self._spool.release(name)
        for name in refused:
            self._spool.set_aside(name, self._settings.quarantine)

    def _register_one(self, session: Session, name: str) -> Registered:
        came = SpoolName.parse(name)
        device = self._devices.all().get(came.ae_title)
        if device is None:  # dismissed between acknowledgement and now
            raise UnknownDevice(came.ae_title, "an earlier association")
        path = self._spool.path(name)
        facts = facts_of(read_header(path), county_timezone=self._settings.county.timezone)
        digest = dataset_digest(path)
        if session.get(Association, came.association_id) is None:
            session.add(
                Association(
                    id=came.association_id,
                    device_id=device.id,
                    node=f"{self._settings.machine}/{came.receiver}",
                    address="",
                    opened_at=came.received_at,
                )
            )
            session.flush()
        arrival = Arrival(
            door=Door.C_STORE,
            organisation_id=device.organisation_id,
            received_at=came.received_at,
            size=digest.size,
            sha256=digest.sha256,
            machine=self._settings.machine,
            device_id=device.id,
            association_id=came.association_id,
            spool_name=name,
        )
        outcome, instance = register(session, facts, arrival)
        if outcome is Registered.CONFLICT:
            raise SameUidOtherBytes(facts.sop_instance_uid)
        if outcome is Registered.REPEAT and instance.spool_name == name:
            return Registered.NEW  # a crash came between the row and the move: only the move is left to do
        return outcome

    def _quarantine(self, session: Session, name: str, error: SumuError) -> None:
        came = SpoolName.parse(name)
        device = self._devices.all().get(came.ae_title)
        set_down(session, name, error, actor=f"device:{came.ae_title}", device_id=device.id if device else None)
