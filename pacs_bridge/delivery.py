"""From the spool into the archive: store, read back, compare hashes, and only then let the spool's copy go.

The custody rows are the queue. Tries never end; the wait between them doubles up to a limit. An instance that the archive
refuses as broken is set aside with the archive's reason, and the others go on.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CUSTODY, CustodyEvent, CustodyState
from core.settings import Settings
from core.tables import Device, Instance, Study
from pacs_bridge.archive import Archive, ArchiveRefused, NotInArchive
from pacs_bridge.quarantine import set_down
from pacs_bridge.spool import Spool

log = structlog.get_logger("delivery")

BATCH = 64
#: While a courier holds an instance, nobody else takes it for so long.
LEASE = timedelta(seconds=120)


class ArchiveDiffers(SumuError):
    """What the archive holds is not what the device sent."""

    def __init__(self, sop_instance_uid: str, ours: str, theirs: str) -> None:
        super().__init__(
            f"The archive holds other bytes for {sop_instance_uid}: SHA-256 {theirs[:12]}… instead of {ours[:12]}….",
            remedy="Our copy is in quarantine. Check the archive's disk, remove its copy, and deliver ours again.",
        )


class FileVanished(SumuError):
    """The spool lost a file that it had acknowledged."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The spool no longer holds {name}.", remedy="Check the spool's disk; ask the device to send again.")


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One instance to bring to the archive."""

    instance_id: int
    sop_instance_uid: str
    sha256: str
    spool_name: str
    archive_id: str | None
    tries: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of an errand."""

    errand: Errand
    events: tuple[CustodyEvent, ...]
    archive_id: str | None = None
    error: Exception | None = None


class Courier:
    """Delivers what lies in this machine's spool."""

    def __init__(self, settings: Settings, database: Database, archive: Archive) -> None:
        self._settings, self._database, self._archive = settings, database, archive
        self._spool = Spool(settings.spool)
        self._hands = ThreadPoolExecutor(settings.delivery.parallel, thread_name_prefix="courier")

    def round(self) -> int:
        """Deliver a batch and return how many instances moved on."""
        errands = self._take()
        if not errands:
            return 0
        results = list(self._hands.map(self._run, errands))
        with self._database.writing() as session:
            for result in results:
                self._note(session, result)
        for result in results:
            self._tidy(result)
        return sum(1 for result in results if result.events)

    def close(self) -> None:
        """Wait for what is under way."""
        self._hands.shutdown()

    def _take(self) -> list[Errand]:
        moment = now()
        query = (
            select(Instance)
            .join(Study)
            .where(
                Instance.state.in_((CustodyState.RECEIVED, CustodyState.DELIVERED)),
                Instance.next_try_at <= moment,
                Instance.machine == self._settings.machine,
                Instance.spool_name.is_not(None),
            )
            .order_by(Study.urgency_rank, Instance.received_at)
            .limit(BATCH)
            .with_for_update(of=Instance, skip_locked=True)
        )
        with self._database.writing() as session:
            due = list(session.scalars(query))
            for instance in due:
                instance.next_try_at = moment + LEASE
        return [
            Errand(
                instance_id=instance.id,
                sop_instance_uid=instance.sop_instance_uid,
                sha256=instance.sha256,
                spool_name=instance.spool_name or "",
                archive_id=instance.archive_id if instance.state is CustodyState.DELIVERED else None,
                tries=instance.tries,
            )
            for instance in due
        ]

    def _run(self, errand: Errand) -> Result:
        archive_id, events = errand.archive_id, list[CustodyEvent]()
        try:
            if archive_id is None:
                try:
                    file = self._spool.path(errand.spool_name).open("rb")
                except FileNotFoundError:
                    raise FileVanished(errand.spool_name) from None
                with file:
                    archive_id = self._archive.store(file)
                events.append(CustodyEvent.DELIVER)
            theirs = self._archive.digest(archive_id)
        except NotInArchive as error:
            return Result(errand=errand, events=(*events, CustodyEvent.VANISH), error=error)
        except ArchiveRefused as error:
            # 400 is Orthanc's word for a file that it cannot parse; anything else may pass (disk full, restart).
            final = error.status == 400 and archive_id is None
            return Result(
                errand=errand, events=(CustodyEvent.REFUSE,) if final else tuple(events), archive_id=archive_id, error=error
            )
        except FileVanished as error:
            return Result(errand=errand, events=(CustodyEvent.REFUSE,), error=error)
        except Exception as error:  # the archive is away, or its disk is: the next try will tell
            return Result(errand=errand, events=tuple(events), archive_id=archive_id, error=error)
        if theirs.sha256 != errand.sha256:
            differs = ArchiveDiffers(errand.sop_instance_uid, errand.sha256, theirs.sha256)
            return Result(errand=errand, events=(*events, CustodyEvent.DIFFER), archive_id=archive_id, error=differs)
        return Result(errand=errand, events=(*events, CustodyEvent.AGREE), archive_id=archive_id)

    def _note(self, session: Session, result: Result) -> None:
        instance = session.get_one(Instance, result.errand.instance_id)
        for event in result.events:
            instance.state = CUSTODY.next(instance.state, event)
            if event is CustodyEvent.DELIVER:
                instance.delivered_at, instance.archive_id = now(), result.archive_id
            elif event is CustodyEvent.AGREE:
                instance.compared_at, instance.spool_name = now(), None
        if result.error is None:
            instance.last_error = None
            return
        instance.tries += 1
        instance.last_error = str(result.error)
        instance.next_try_at = now() + self._wait(instance.tries)
        if instance.state is CustodyState.QUARANTINED and isinstance(result.error, SumuError):
            self._quarantine(session, instance, result.error)
        else:
            log.warning(
                "delivery_will_be_tried_again", instance=instance.sop_instance_uid, tries=instance.tries, error=str(result.error)
            )

    def _wait(self, tries: int) -> timedelta:
        delivery = self._settings.delivery
        return timedelta(seconds=min(delivery.first_retry_seconds * 2 ** min(tries - 1, 30), delivery.longest_retry_seconds))

    def _quarantine(self, session: Session, instance: Instance, error: SumuError) -> None:
        device = session.get(Device, instance.device_id) if instance.device_id else None
        set_down(
            session,
            instance.spool_name or instance.sop_instance_uid,
            error,
            actor=f"device:{device.ae_title}" if device else "process:worker",
            device_id=instance.device_id,
            sop_instance_uid=instance.sop_instance_uid,
        )

    def _tidy(self, result: Result) -> None:
        """Move or remove the spool's copy once its row says so; a crash before this only leaves a copy too many."""
        if result.events and result.events[-1] is CustodyEvent.AGREE:
            self._spool.release(result.errand.spool_name)
        elif result.events and result.events[-1] in (CustodyEvent.DIFFER, CustodyEvent.REFUSE):
            self._spool.set_aside(result.errand.spool_name, self._settings.quarantine)
