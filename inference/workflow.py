"""The durable workflow of one pre-read: begin, read; resumed where it stopped when a worker dies. Its object comes after it.

Each step may be taken twice and leaves the same rows (DBOS repeats a step that was not recorded). The queue takes the most
urgent first. A study that ends the process in which it is read, twice, or that takes longer than it may, has failed; so has
one at which the worker itself was lost too often. Nothing is tried for ever.

What a doctor waits for is the pre-read in the worklist. The object that carries it to other systems takes as much processor
time as the networks, so it is a workflow of its own in the same queue, behind every study that has not been read.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Protocol

import pydicom
import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID
from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import in_county, now
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CustodyState
from core.lifecycles.preread import PRE_READ, PreReadEvent, PreReadState
from core.settings import Settings
from core.tables import Door, Instance, PreRead, Study
from inference.engine import Engine
from inference.isolation.assignment import Assignment, StudyRead, read_study
from inference.isolation.pool import EngineFailed, ReadingDisturbed, ReadingProcessDied, ReadingTookTooLong, places
from inference.objects.of_pre_read import images_spoken_of, objects_of
from inference.outcome import keep_failure, keep_reading
from inference.publication import is_published, publish
from inference.roster import header_of
from pacs_bridge.archive import Archive, ArchiveUnreachable
from pacs_bridge.spool import Spool

log = structlog.get_logger("pre_read")

QUEUE = "pre-reads"
#: Longest wait between two looks for an archive that is away.
LONGEST_WAIT_SECONDS = 15.0
#: Studies that are taken from the queue for each that is read: the next one's rows are ready when a process is free.
AHEAD = 4
#: Place in the queue of what can wait until every study has been read; the most urgent pre-read has 1.
BEHIND = 1000
#: Bytes of headers kept between a study's reading and its object; those that were let go are fetched again.
HEADER_BYTES_KEPT = 64 * 1024**2
#: Starts of one pre-read by workers that were lost before it ended; then it is given up.
MOST_STARTS = 3
#: What a try tells the workflow beside an end: to be tried again, tried again alone, or given up, and why.
AGAIN, ALONE, GIVE_UP = "again", "alone", "give up"
#: Workflows of one version are resumed by workers of the same; it changes when the steps change their meaning.
WORKFLOW_VERSION = "1"


class WorkerLost(SumuError):
    """The worker was lost again and again while it read this study."""

    def __init__(self, starts: int) -> None:
        super().__init__(
            f"The worker was lost {starts} times while it read this study.",
            remedy="Read the study without a pre-read. If the machine or the service was restarted each time, reopen the study.",
        )


class Reader(Protocol):
    """Whoever reads a study: processes of their own, or this one."""

    def read(self, assignment: Assignment, *, alone: bool = False) -> StudyRead:
        """Read a study; ``alone``: where nothing else can be harmed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a pre-read needs around it."""

    settings: Settings
    database: Database
    archive: Archive
    engines: Mapping[str, Engine]
    #: Processes that read; None: studies are read in this one, without a limit of their time.
    reader: Reader | None = None

    def read(self, assignment: Assignment, *, alone: bool) -> StudyRead:
        """Have a study read."""
        if self.reader:
            return self.reader.read(assignment, alone=alone)
        return read_study(assignment, self.engines[assignment.engine], self.archive, lambda: None)


def launch(place: Workplace, *, worker: str) -> PreReader:
    """Start DBOS in this process: take up what a worker of the same name left, then work through the queue."""
    configuration: DBOSConfig = {
        "name": "sumu",
        "system_database_url": place.settings.workflow_address,
        "application_version": WORKFLOW_VERSION,
        "executor_id": f"{place.settings.machine}/{worker}",
        "log_level": "WARNING",
    }
    DBOS(config=configuration)
    reader = PreReader(place)
    DBOS.launch()
    processes, lanes = places(place.settings.pre_read)
    DBOS.register_queue(
        QUEUE, worker_concurrency=AHEAD * processes * lanes, polling_interval_sec=0.2, on_conflict="always_update"
    )
    return reader


@DBOS.dbos_class("PreReader")
class PreReader(DBOSConfiguredInstance):
    """Reads one study after another."""

    def __init__(self, place: Workplace) -> None:
        super().__init__("pre_reader")
        #: Where it works; handed over when the process starts.
        self.place = place
        self.spool = Spool(place.settings.spool)
        self._headers: OrderedDict[int, Mapping[str, bytes]] = OrderedDict()
        self._keeping = threading.Lock()
        #: What began before this was begun by a worker that was lost.
        self._since = now()

    def enqueue(self, pre_read: PreRead, priority: int) -> None:
        """Put a pre-read into the queue; doing it again is harmless. ``priority`` 0 comes first."""
        with (
            SetWorkflowID(f"pre-read-{pre_read.id}-{pre_read.queued_at.timestamp():.6f}"),
            SetEnqueueOptions(priority=priority + 1),
        ):
            DBOS.enqueue_workflow(QUEUE, self.pre_read, pre_read.id)

    @DBOS.workflow(name="pre_read")
    def pre_read(self, pre_read_id: int) -> str:
        """Bring one pre-read from the queue to its end and return the state that it ends in."""
        if not self._begin(pre_read_id):
            return PreReadState.SUPERSEDED
        state = self._read_patiently(pre_read_id)
        if state == PreReadState.READ:
            with SetWorkflowID(f"object-of-{DBOS.workflow_id}"), SetEnqueueOptions(priority=BEHIND):
                DBOS.enqueue_workflow(QUEUE, self.publish, pre_read_id)
        return state

    @DBOS.workflow(name="publish_pre_read")
    def publish(self, pre_read_id: int) -> None:
        """Make the object that carries a pre-read, once nobody waits for one."""
        self._publish(pre_read_id)

    @DBOS.step(name="begin", retries_allowed=True, max_attempts=10)
    def _begin(self, pre_read_id: int) -> bool:
        with self.place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            if pre_read.state is PreReadState.SUPERSEDED:
                return False
            pre_read.state = PRE_READ.next(pre_read.state, PreReadEvent.START)
            pre_read.started_at = now()
            return True

    def _read_patiently(self, pre_read_id: int) -> str:
        """Try as often as the settings say; what a study does then ends its own pre-read and nothing else."""
        error, tries, alone = "", 0, False
        while tries < self.place.settings.pre_read.tries:
            state, _, error = self._read(pre_read_id, alone).partition(": ")
            if not error:
                return state
            log.warning("pre_read_failed_once", pre_read=pre_read_id, error=error)
            if state == GIVE_UP:
                break
            alone = alone or state == ALONE
            tries += 1
        return self._fail(pre_read_id, error)

    @DBOS.step(name="read")
    def _read(self, pre_read_id: int, alone: bool = False) -> str:
        """Return the state that the pre-read is in now, or what to do next and why."""
        place = self.place
        with place.database.reading() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            if pre_read.started_at and pre_read.started_at < self._since and (starts := _starts()) > MOST_STARTS:
                return f"{GIVE_UP}: {WorkerLost(starts - 1)}"
            engine = place.engines[pre_read.engine]
            study = session.get_one(Study, pre_read.study_id)
            wanted = [instance for instance in _archived(session, study) if engine.wants(header_of(instance))]
        assignment = Assignment(
            engine=pre_read.engine,
            study_instance_uid=study.study_instance_uid,
            archive_ids=tuple(instance.archive_id or "" for instance in wanted),
        )
        try:
            read = self._have_read(assignment, alone)
        except ReadingTookTooLong as problem:
            return f"{GIVE_UP}: {problem}"
        except ReadingProcessDied as problem:
            return f"{GIVE_UP if alone else ALONE}: {problem}"
        except EngineFailed as problem:
            return f"{AGAIN}: {problem}"
        except Exception as problem:
            return f"{AGAIN}: {type(problem).__name__}: {problem}"
        self._keep_headers(pre_read_id, read.headers)
        with place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            keep_reading(session, pre_read, read.reading)
            return pre_read.state.value

    def _have_read(self, assignment: Assignment, alone: bool) -> StudyRead:
        """Wait for the archive as long as it is away, and read again what another study disturbed: neither is its fault."""
        wait = 0.5
        while True:
            try:
                return self.place.read(assignment, alone=alone)
            except ReadingDisturbed:
                continue
            except ArchiveUnreachable as error:
                log.warning("pre_read_waits_for_archive", seconds=wait, reason=str(error.args[0]))
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    @DBOS.step(name="fail", retries_allowed=True, max_attempts=10)
    def _fail(self, pre_read_id: int, error: str) -> str:
        with self.place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            keep_failure(session, pre_read, error)
            log.error("pre_read_failed", pre_read=pre_read_id, engine=pre_read.engine, error=error)
            return pre_read.state.value

    @DBOS.step(name="publish", retries_allowed=True, max_attempts=10)
    def _publish(self, pre_read_id: int) -> None:
        """Put the objects that carry a pre-read into custody, once."""
        place = self.place
        with place.database.reading() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            if is_published(session, pre_read):
                return
            evidence = self._evidence(session, pre_read)
            documents = objects_of(pre_read, evidence, made_at=in_county(now(), place.settings.county.timezone))
        with place.database.writing() as session:
            publish(session, place.settings, self.spool, session.get_one(PreRead, pre_read_id), documents)

    def _evidence(self, session: Session, pre_read: PreRead) -> list[Dataset]:
        """Return the headers of what the pre-read speaks of, or of the first instance that the engine wanted."""
        spoken_of = images_spoken_of(pre_read)
        engine = self.place.engines[pre_read.engine]
        wanted = [instance for instance in _archived(session, pre_read.study) if engine.wants(header_of(instance))]
        instances = [instance for instance in wanted if instance.sop_instance_uid in spoken_of] or wanted[:1]
        with self._keeping:
            kept = self._headers.pop(pre_read.id, {})
        with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
            return [self._header(instance, kept.get(instance.sop_instance_uid), Path(folder)) for instance in instances]

    def _header(self, instance: Instance, kept: bytes | None, folder: Path) -> Dataset:
        source = BytesIO(kept) if kept else self._fetch_patiently(instance.archive_id or "", folder / f"{instance.id}.dcm")
        header = pydicom.dcmread(source, stop_before_pixels=True)
        header.remove_private_tags()
        return header

    def _keep_headers(self, pre_read_id: int, headers: Mapping[str, bytes]) -> None:
        with self._keeping:
            self._headers[pre_read_id] = headers
            while sum(len(start) for kept in self._headers.values() for start in kept.values()) > HEADER_BYTES_KEPT:
                self._headers.popitem(last=False)

    def _fetch_patiently(self, archive_id: str, target: Path) -> Path:
        """Wait for the archive as long as it is away: its absence is no failure of an engine."""
        wait = 0.5
        while True:
            try:
                return self.place.archive.fetch(archive_id, target)
            except ArchiveUnreachable as error:
                log.warning("pre_read_waits_for_archive", seconds=wait, reason=str(error.args[0]))
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_SECONDS)


def _starts() -> int:
    """Return how often workers have started this workflow, this time included; each but the last was lost before its end."""
    status = DBOS.get_workflow_status(DBOS.workflow_id or "")
    return (status and status.recovery_attempts) or 1


def _archived(session: Session, study: Study) -> list[Instance]:
    query = select(Instance).where(
        Instance.study_id == study.id, Instance.state == CustodyState.COMPARED, Instance.door != Door.OURS
    )
    return list(session.scalars(query.order_by(Instance.series_instance_uid, Instance.instance_number, Instance.id)))
