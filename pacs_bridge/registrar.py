"""Gives every acknowledged instance its custody row, behind the acknowledgement and never in its way.

The spool is the truth. The registrar walks it: each instance is examined in a process that may die of it, its text is
compared with the character set that it declares, and its row is written, many in one transaction. What a crash or an absent
database left undone is done at the next round.
"""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Association, Door
from pacs_bridge.character_sets.detective import Detective
from pacs_bridge.devices import AdmittedDevice, DeviceRegister, UnknownDevice
from pacs_bridge.examination.examined import Examined
from pacs_bridge.examination.guard import Examiner
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import Unreadable
from pacs_bridge.headers import InstanceFacts, facts_of
from pacs_bridge.quarantine import set_down
from pacs_bridge.registration import Arrival, Registered, register_many
from pacs_bridge.spool import AssociationNote, Spool, SpoolName

log = structlog.get_logger("registrar")

BATCH = 128
#: Between two looks into the spool: what comes meanwhile is written together.
PAUSE_SECONDS = 0.04
#: What the web process received by STOW-RS has a receiver of this kind in its name.
STOW_RECEIVER = "stow-"


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
class _Entry:
    """One file of the spool, ready for its row."""

    name: str
    came: SpoolName
    device: AdmittedDevice
    facts: InstanceFacts
    arrival: Arrival


class Registrar:
    """One machine's bookkeeper."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Prepare; nothing is read or written yet."""
        self._settings, self._database = settings, database
        self._spool = Spool(settings.spool, receiver="registrar")
        self._devices = DeviceRegister(database)
        self._examiner = Examiner(Limits(**settings.examination.model_dump()))
        self._detective = Detective(database)
        self._known_associations: set[str] = set()

    def round(self) -> int:
        """Bring the rows up to the spool, and return how many files and notes were done."""
        # Ends before files: an association whose end was seen has no file that the look after it can miss.
        notes = self._spool.notes()
        names = self._spool.names_without_custody()
        if not notes and not names:
            return 0
        self._enter(notes, opened=True)
        for start in range(0, len(names), BATCH):
            self._register(names[start : start + BATCH])
        self._enter(notes, opened=False)
        for name, _ in notes:
            self._spool.strike(name)
        return len(names) + len(notes)

    def close(self) -> None:
        """End the examining process."""
        self._examiner.close()

    # --- associations ---------------------------------------------------------------------------------------------------

    def _enter(self, notes: Sequence[tuple[str, AssociationNote]], *, opened: bool) -> None:
        """Write the beginnings, or all else."""
        chosen = [note for _, note in notes if (note.event == "opened") is opened]
        if not chosen:
            return
        with self._database.writing() as session:
            for note in chosen:
                if opened:
                    self._open(session, note)
                elif note.event == "started":
                    self._end_lost(session, note)
                else:
                    self._end(session, note)

    def _open(self, session: Session, note: AssociationNote) -> None:
        device = self._devices.all().get(note.ae_title)
        if session.get(Association, note.association_id) is None:
            session.add(
                Association(
                    id=note.association_id,
                    device_id=device.id if device else None,
                    node=f"{self._settings.machine}/{note.receiver}",
                    address=note.address,
                    opened_at=note.at,
                )
            )

    def _end(self, session: Session, note: AssociationNote) -> None:
        association = session.get(Association, note.association_id)
        if association is not None and association.ended_at is None:
            association.ended_at, association.outcome = note.at, note.event

    def _end_lost(self, session: Session, note: AssociationNote) -> None:
        """A node that starts has nothing open: what its predecessor left open is lost."""
        node = f"{self._settings.machine}/{note.receiver}"
        left_open = select(Association).where(
            Association.node == node, Association.ended_at.is_(None), Association.opened_at <= note.at
        )
        for association in session.scalars(left_open):
            association.ended_at, association.outcome = now(), "lost"

    # --- instances ------------------------------------------------------------------------------------------------------

    def _register(self, names: Sequence[str]) -> None:
        verdicts = self._examiner.examine_many([self._spool.new / name for name in names])
        entries, refused = list[_Entry](), list[tuple[str, SumuError]]()
        for name, verdict in zip(names, verdicts, strict=True):
            if not (self._spool.new / name).exists():
                continue
            if isinstance(verdict, Unreadable):  # the disk's fault, not the file's: it is looked at again
                log.error("instance_unreadable", file=name, reason=str(verdict.args[0]), remedy=verdict.remedy)
                continue
            try:
                entries.append(self._entry(name, verdict))
            except SumuError as error:
                refused.append((name, error))
        if refused:
            with self._database.writing() as session:
                for name, reason in refused:
                    self._quarantine(session, name, reason)
            for name, _ in refused:
                self._spool.set_aside(name, self._settings.quarantine)
        try:
            self._write(entries)
        except (DataError, IntegrityError):
            # One of them does not fit, or another machine was faster with one: find it by writing them one by one.
            for entry in entries:
                self._write_alone(entry)

    def _entry(self, name: str, verdict: Examined | SumuError) -> _Entry:
        if isinstance(verdict, SumuError):
            raise verdict
        came = SpoolName.parse(name)
        device = self._devices.all().get(came.ae_title)
        if device is None:  # dismissed between acknowledgement and now
            raise UnknownDevice(came.ae_title, "an earlier association")
        looked = self._detective.look(verdict, device)
        facts = facts_of(looked.examined, county_timezone=self._settings.county.timezone)
        arrival = Arrival(
            door=Door.STOW if came.receiver.startswith(STOW_RECEIVER) else Door.C_STORE,
            organisation_id=device.organisation_id,
            received_at=came.received_at,
            size=came.size,
            sha256=came.sha256,
            machine=self._settings.machine,
            device_id=device.id,
            association_id=came.association_id,
            spool_name=name,
            repair_character_set=looked.repair_from,
        )
        return _Entry(name=name, came=came, device=device, facts=facts, arrival=arrival)

    def _write(self, entries: Sequence[_Entry]) -> None:
        """Write the rows of some files in one transaction, then move the files to where their rows say."""
        if not entries:
            return
        hold, release, aside = list[str](), list[str](), list[str]()
        with self._database.writing() as session:
            self._add_unknown_associations(session, entries)
            outcomes = register_many(session, [(entry.facts, entry.arrival) for entry in entries])
            for entry, (outcome, instance) in zip(entries, outcomes, strict=True):
                if outcome is Registered.CONFLICT:
                    error = SameUidOtherBytes(entry.facts.sop_instance_uid)
                    self._quarantine(session, entry.name, error, uid=entry.facts.sop_instance_uid, study_id=instance.study_id)
                    aside.append(entry.name)
                elif outcome is Registered.REPEAT and instance.spool_name != entry.name:
                    release.append(entry.name)
                else:  # a repeat of its own name: a crash came between the row and the move
                    hold.append(entry.name)
            self._detective.write(session)
        for name in hold:
            self._spool.hold(name)
        for name in release:
            self._spool.release(name)
        for name in aside:
            self._spool.set_aside(name, self._settings.quarantine)

    def _write_alone(self, entry: _Entry) -> None:
        try:
            self._write([entry])
        except IntegrityError:  # another machine wrote the same UID in this moment; now its row is there
            self._write([entry])
        except DataError as error:
            with self._database.writing() as session:
                self._quarantine(session, entry.name, Unregistrable(error), uid=entry.facts.sop_instance_uid)
            self._spool.set_aside(entry.name, self._settings.quarantine)

    def _add_unknown_associations(self, session: Session, entries: Sequence[_Entry]) -> None:
        """Give rows to associations whose notes a power cut took."""
        wanted = {
            entry.came.association_id: entry for entry in entries if entry.came.association_id not in self._known_associations
        }
        if not wanted:
            return
        there = set(session.scalars(select(Association.id).where(Association.id.in_(wanted))))
        for association_id, entry in wanted.items():
            if association_id not in there:
                session.add(
                    Association(
                        id=association_id,
                        device_id=entry.device.id,
                        node=f"{self._settings.machine}/{entry.came.receiver}",
                        address="",
                        opened_at=entry.came.received_at,
                    )
                )
        session.flush()
        self._known_associations = set(wanted) if len(self._known_associations) > 1000 else self._known_associations | set(wanted)

    def _quarantine(
        self, session: Session, name: str, error: SumuError, *, uid: str | None = None, study_id: int | None = None
    ) -> None:
        came = SpoolName.parse(name)
        device = self._devices.all().get(came.ae_title)
        set_down(
            session, name, error, actor=f"device:{came.ae_title}", device_id=device.id if device else None,
            sop_instance_uid=uid, study_id=study_id,
        )  # fmt: skip


def run_registrar(settings: Settings) -> None:
    """Keep the books of this machine until told to stop (SIGTERM or SIGINT). A second one waits for the first to end."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Spool(settings.spool, receiver="registrar")
    with (settings.spool / "registrar.lock").open("w") as lock:
        while not stopping.is_set():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stopping.wait(1)
        database = Database(settings.database_address)
        registrar = Registrar(settings, database)
        _work(registrar, stopping)
        registrar.close()
        database.close()


def _work(registrar: Registrar, stopping: threading.Event) -> None:
    wait = 0.5
    while not stopping.is_set():
        try:
            pause, wait = (0.0 if registrar.round() >= BATCH else PAUSE_SECONDS), 0.5
        except DBAPIError as error:
            log.warning("database_unreachable", error=str(error.orig), waits_seconds=wait, kept="what was acknowledged")
            pause, wait = wait, min(wait * 2, 30)
        except SumuError as error:
            log.error("registrar_waits", reason=str(error.args[0]), remedy=error.remedy, waits_seconds=wait)
            pause, wait = wait, min(wait * 2, 30)
        stopping.wait(pause)
