"""From the spool into the archive: store, read back, compare hashes, and only then let the spool's copy go.

The custody rows are the queue. Tries never end; the wait between them doubles up to a limit. An instance that the archive
refuses as broken is set aside with the archive's reason. One during whose delivery the archive dies is suspected: it is
tried once more, alone, and if the archive dies again, never again. The others go on.
"""

from __future__ import annotations

import fcntl
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import structlog
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session, load_only

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CUSTODY, CustodyEvent, CustodyState
from core.settings import Settings
from core.tables import Device, Instance, Study
from pacs_bridge.archive import Archive, ArchiveDied, ArchiveRefused, ArchiveUnreachable, NotInArchive
from pacs_bridge.custody_queue import CustodyQueue
from pacs_bridge.preparation import SUFFIX, Preparer, needs_preparation
from pacs_bridge.quarantine import set_down
from pacs_bridge.spool import Spool

log = structlog.get_logger("delivery")

#: Instances under way at once, most of them waiting for a hand.
UNDER_WAY = 96
#: How long a round waits for its hands before it writes down what they have done.
ROUND_SECONDS = 0.06
#: While there is always something to deliver, comparing still gets its turn.
COMPARE_EVERY_SECONDS = 3.0
#: Deaths of the archive after which an instance is not tried again.
MOST_DEATHS = 2
#: Columns that a delivery, and a comparison, look at.
_FOR_DELIVERY = (
    Instance.id, Instance.sop_instance_uid, Instance.spool_name, Instance.transfer_syntax_uid,
    Instance.repair_character_set, Instance.device_id, Instance.received_at,
)  # fmt: skip
_FOR_COMPARISON = (Instance.id, Instance.archive_id, Instance.spool_name, Instance.sha256, Instance.delivered_sha256)


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


class ArchiveKiller(SumuError):
    """The archive died of this instance twice, the second time with nothing else under way."""

    def __init__(self, sop_instance_uid: str) -> None:
        super().__init__(
            f"The archive died {MOST_DEATHS} times while it took {sop_instance_uid}.",
            remedy="Do not open it with other programs; have the device send the study again, and report the file.",
        )


@dataclass(frozen=True, kw_only=True)
class Errand:
    """One instance to bring to the archive."""

    instance: Instance
    spool_name: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of an errand."""

    errand: Errand
    event: CustodyEvent | None = None
    archive_id: str | None = None
    #: Set where the archive got another form than the received one.
    delivered_sha256: str | None = None
    error: Exception | None = None


class Courier:
    """Delivers what lies in this machine's spool. One thread calls :meth:`round`.

    One courier at a time works on a spool: it holds a lock on a file there, which falls with its process. What it has under
    way is known to it alone, so whatever a killed one left is due again at once.
    """

    def __init__(self, settings: Settings, database: Database, archive: Archive) -> None:
        self._settings, self._database, self._archive = settings, database, archive
        self._spool, self._queue = Spool(settings.spool, receiver="courier"), CustodyQueue(settings)
        self._preparer = Preparer(database)
        self._hands = ThreadPoolExecutor(settings.delivery.parallel, thread_name_prefix="courier")
        self._under_way: dict[Future[Result], Errand] = {}
        self._lock = (settings.spool / "courier.lock").open("w")
        self._has_turn = False
        self._compared_at = time.monotonic()
        self._archive_away = False

    def round(self) -> int:
        """Hand out what is due and write down what was done; return how many instances moved on or are under way."""
        if not self._has_turn and not self._take_turn():
            return 0
        if self._archive_away and not self._under_way and not self._archive.answers():
            return 0
        self._archive_away = False
        room = UNDER_WAY - len(self._under_way)
        if room >= UNDER_WAY // 2:
            for errand in self._due(Instance.deaths == 0, count=room):
                self._under_way[self._hands.submit(self._deliver, errand)] = errand
        moved = self._collect()
        if not self._under_way:
            moved += self._try_a_suspect()
        if not self._under_way or time.monotonic() - self._compared_at > COMPARE_EVERY_SECONDS:
            moved += self._compare()
        return moved + len(self._under_way)

    def close(self) -> None:
        """Wait for what is under way and write it down."""
        while self._under_way:
            self._collect()
        self._hands.shutdown()
        self._lock.close()

    def _take_turn(self) -> bool:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self._has_turn = True
        return True

    # --- deliver --------------------------------------------------------------------------------------------------------

    def _due(self, *criteria: ColumnElement[bool], count: int) -> list[Errand]:
        """Return what is to be delivered and not under way, the most urgent and then the oldest first."""
        query = (
            select(Instance)
            .options(load_only(*_FOR_DELIVERY))
            .join(Study)
            .where(
                *self._queue.waiting(CustodyState.RECEIVED),
                self._queue.due(),
                Instance.id.not_in([errand.instance.id for errand in self._under_way.values()]),
                *criteria,
            )
            .order_by(Study.urgency_rank, Instance.received_at)
            .limit(count)
        )
        with self._database.reading() as session:
            return [Errand(instance=instance, spool_name=instance.spool_name or "") for instance in session.scalars(query)]

    def _deliver(self, errand: Errand) -> Result:
        path, prepared = self._spool.path(errand.spool_name), None
        try:
            if needs_preparation(errand.instance):
                prepared = self._preparer.prepare(path, errand.instance)
            with (prepared.path if prepared else path).open("rb") as file:
                archive_id = self._archive.store(file)
        except FileNotFoundError:
            return Result(errand=errand, event=CustodyEvent.REFUSE, error=FileVanished(errand.spool_name))
        except ArchiveRefused as error:
            # 400 is Orthanc's word for a file that it cannot parse; anything else may pass (disk full, restart).
            return Result(errand=errand, event=CustodyEvent.REFUSE if error.status == 400 else None, error=error)
        except Exception as error:  # the archive is away, or its disk is: the next try will tell
            return Result(errand=errand, error=error)
        return Result(
            errand=errand, event=CustodyEvent.DELIVER, archive_id=archive_id,
            delivered_sha256=prepared.sha256 if prepared else None,
        )  # fmt: skip

    def _collect(self) -> int:
        """Write down what the hands have done meanwhile."""
        if not self._under_way:
            return 0
        done, _ = wait(self._under_way, timeout=ROUND_SECONDS)
        results = [future.result() for future in done]
        moved = self._write(results)
        for future in done:
            del self._under_way[future]
        return moved

    def _try_a_suspect(self) -> int:
        """Deliver one instance of which the archive may have died, with nothing else under way."""
        return self._write([self._deliver(errand) for errand in self._due(Instance.deaths > 0, count=1)])

    def _write(self, results: list[Result]) -> int:
        if not results:
            return 0
        self._archive_away = any(isinstance(result.error, ArchiveUnreachable) for result in results)
        aside = []
        arrived = [result for result in results if result.event is CustodyEvent.DELIVER]
        with self._database.writing() as session:
            self._write_arrived(session, arrived)
            others = [result for result in results if result.event is not CustodyEvent.DELIVER]
            rows = self._rows(session, [result.errand.instance.id for result in others])
            for result in others:
                instance = rows[result.errand.instance.id]
                if isinstance(result.error, ArchiveDied):
                    instance.deaths += 1
                if instance.deaths >= MOST_DEATHS:
                    result = Result(
                        errand=result.errand, event=CustodyEvent.REFUSE, error=ArchiveKiller(instance.sop_instance_uid)
                    )
                self._note(session, instance, result.event, result.error)
                if result.event is CustodyEvent.REFUSE:
                    aside.append(result.errand.spool_name)
        for name in aside:
            self._spool.set_aside(name, self._settings.quarantine)
        return sum(1 for result in results if result.event is not None)

    @staticmethod
    def _write_arrived(session: Session, arrived: list[Result]) -> None:
        """Write what the archive took, all in one statement: the common case, hundreds a second."""
        if arrived:
            state, moment = CUSTODY.next(CustodyState.RECEIVED, CustodyEvent.DELIVER), now()
            session.execute(
                update(Instance),
                [
                    {
                        "id": result.errand.instance.id, "state": state, "delivered_at": moment, "next_try_at": moment,
                        "archive_id": result.archive_id, "delivered_sha256": result.delivered_sha256, "last_error": None,
                    }
                    for result in arrived
                ],
            )  # fmt: skip

    # --- compare --------------------------------------------------------------------------------------------------------

    def _compare(self) -> int:
        """Compare what the archive holds with what came, and let go of what is equal."""
        self._compared_at = time.monotonic()
        with self._database.reading() as session:
            query = (
                select(Instance)
                .options(load_only(*_FOR_COMPARISON))
                .where(*self._queue.waiting(CustodyState.DELIVERED), self._queue.due())
                .order_by(Instance.received_at)
                .limit(UNDER_WAY)
            )
            delivered = list(session.scalars(query))
        if not delivered:
            return 0
        try:
            found = self._archive.digests([instance.archive_id or "" for instance in delivered])
        except (ArchiveUnreachable, ArchiveRefused, NotInArchive) as error:
            log.warning("comparison_will_be_tried_again", instances=len(delivered), error=str(error.args[0]))
            self._archive_away = True
            return 0
        theirs = dict(zip((instance.id for instance in delivered), found, strict=True))
        agreeing = [one for one in delivered if (digest := theirs[one.id]) is not None and digest[1] == _expected(one)]
        release = [one.spool_name or "" for one in agreeing if one.delivered_sha256 is None]
        keep = [one.spool_name or "" for one in agreeing if one.delivered_sha256 is not None]
        aside = list[str]()
        with self._database.writing() as session:
            self._write_agreeing(session, agreeing)
            for instance in self._rows(session, list(theirs.keys() - {one.id for one in agreeing})).values():
                digest = theirs[instance.id]
                if digest is None:
                    self._note(session, instance, CustodyEvent.VANISH, NotInArchive(instance.sop_instance_uid))
                else:
                    differs = ArchiveDiffers(instance.sop_instance_uid, _expected(instance), digest[1])
                    self._note(session, instance, CustodyEvent.DIFFER, differs)
                    aside.append(instance.spool_name or "")
        for name in release:
            self._spool.release(name)
        for name in keep:
            self._spool.set_aside(name, self._settings.originals)
            self._spool.release(name + SUFFIX)
        for name in aside:
            self._spool.set_aside(name, self._settings.quarantine)
        return len(delivered)

    @staticmethod
    def _write_agreeing(session: Session, agreeing: list[Instance]) -> None:
        if agreeing:
            state, moment = CUSTODY.next(CustodyState.DELIVERED, CustodyEvent.AGREE), now()
            session.execute(
                update(Instance),
                [
                    {
                        "id": one.id, "state": state, "compared_at": moment, "spool_name": None, "last_error": None,
                        "original_name": one.spool_name if one.delivered_sha256 is not None else None,
                    }
                    for one in agreeing
                ],
            )  # fmt: skip

    # --- rows -----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _rows(session: Session, ids: list[int]) -> dict[int, Instance]:
        return {instance.id: instance for instance in session.scalars(select(Instance).where(Instance.id.in_(ids)))}

    def _note(self, session: Session, instance: Instance, event: CustodyEvent | None, error: Exception | None) -> None:
        """Write what happened to one instance; what a crash leaves of the spool's copy after that is a copy too many."""
        if event is not None:
            instance.state = CUSTODY.next(instance.state, event)
        if error is None:
            return
        instance.tries += 1
        instance.last_error = str(error)
        instance.next_try_at = now() + self._queue.wait(instance.tries)
        if instance.state is CustodyState.QUARANTINED and isinstance(error, SumuError):
            self._quarantine(session, instance, error)
        else:
            log.warning(
                "delivery_will_be_tried_again", instance=instance.sop_instance_uid, tries=instance.tries, error=str(error)
            )

    def _quarantine(self, session: Session, instance: Instance, error: SumuError) -> None:
        device = session.get(Device, instance.device_id) if instance.device_id else None
        set_down(
            session,
            instance.spool_name or instance.sop_instance_uid,
            error,
            actor=f"device:{device.ae_title}" if device else "process:worker",
            device_id=instance.device_id,
            sop_instance_uid=instance.sop_instance_uid,
            study_id=instance.study_id,
        )


def _expected(instance: Instance) -> str:
    """Return the hash that the archive's copy must have."""
    return instance.delivered_sha256 or instance.sha256
