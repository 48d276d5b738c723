"""The durable workflow of one pre-read: begin, read, publish; resumed where it stopped when a worker dies.

Each step may be taken twice and leaves the same rows (DBOS repeats a step that was not recorded). The queue takes the most
urgent first.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import highdicom
import pydicom
import structlog
from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID
from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.preread import PRE_READ, PreReadEvent, PreReadState
from core.settings import Settings
from core.tables import Door, Instance, PreRead, Study
from inference.engine import Engine, InstanceFile, StudyFiles
from inference.outcome import keep_failure, keep_reading
from inference.publication import in_custody, put_in_custody
from inference.roster import header_of
from inference.structured_report import pre_read_report
from pacs_bridge.archive import Archive, ArchiveUnreachable
from pacs_bridge.spool import Spool

log = structlog.get_logger("pre_read")

QUEUE = "pre-reads"
#: Longest wait between two looks for an archive that is away.
LONGEST_WAIT_SECONDS = 15.0
#: Workflows of one version are resumed by workers of the same; it changes when the steps change their meaning.
WORKFLOW_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """What a pre-read needs around it."""

    settings: Settings
    database: Database
    archive: Archive
    engines: Mapping[str, Engine]


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
    DBOS.register_queue(
        QUEUE, worker_concurrency=place.settings.pre_read.parallel, polling_interval_sec=0.2, on_conflict="always_update"
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
            self._publish(pre_read_id)
        return state

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
        """Try as often as the settings say; an engine's error then ends this pre-read and nothing else."""
        error = ""
        for _ in range(self.place.settings.pre_read.tries):
            try:
                return self._read(pre_read_id)
            except Exception as problem:
                error = f"{type(problem).__name__}: {problem}"
                log.warning("pre_read_failed_once", pre_read=pre_read_id, error=error)
        return self._fail(pre_read_id, error)

    @DBOS.step(name="read")
    def _read(self, pre_read_id: int) -> str:
        place = self.place
        with place.database.reading() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            engine = place.engines[pre_read.engine]
            study = session.get_one(Study, pre_read.study_id)
            wanted = [instance for instance in _archived(session, study) if engine.wants(header_of(instance))]
        with tempfile.TemporaryDirectory(prefix="pre-read-") as folder:
            files = tuple(self._fetch(instance, Path(folder)) for instance in wanted)
            reading = engine.read(StudyFiles(study_instance_uid=study.study_instance_uid, instances=files))
        with place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            keep_reading(session, pre_read, reading)
            return pre_read.state.value

    @DBOS.step(name="fail", retries_allowed=True, max_attempts=10)
    def _fail(self, pre_read_id: int, error: str) -> str:
        with self.place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            keep_failure(session, pre_read, error)
            log.error("pre_read_failed", pre_read=pre_read_id, engine=pre_read.engine, error=error)
            return pre_read.state.value

    @DBOS.step(name="publish", retries_allowed=True, max_attempts=10)
    def _publish(self, pre_read_id: int) -> None:
        """Put the structured report into custody, once."""
        place = self.place
        with place.database.reading() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            if pre_read.sr_sop_instance_uid and in_custody(session, pre_read.sr_sop_instance_uid):
                return
            evidence = self._evidence(session, pre_read)
            document = pre_read_report(
                pre_read,
                evidence,
                sop_instance_uid=str(highdicom.UID()),
                series_instance_uid=str(highdicom.UID()),
                made_at=now(),
            )
        with place.database.writing() as session:
            pre_read = session.get_one(PreRead, pre_read_id)
            put_in_custody(session, place.settings, self.spool, pre_read, document)
            pre_read.sr_sop_instance_uid = str(document.SOPInstanceUID)

    def _evidence(self, session: Session, pre_read: PreRead) -> list[Dataset]:
        """Return the headers of what the pre-read speaks of, or of the first instance that the engine wanted."""
        spoken_of = {row.sop_instance_uid for row in pre_read.measurements} | {
            (row.region or {}).get("sop_instance_uid") for row in pre_read.findings
        }
        engine = self.place.engines[pre_read.engine]
        wanted = [instance for instance in _archived(session, pre_read.study) if engine.wants(header_of(instance))]
        instances = [instance for instance in wanted if instance.sop_instance_uid in spoken_of] or wanted[:1]
        with tempfile.TemporaryDirectory(prefix="evidence-") as folder:
            return [self._fetch(instance, Path(folder)).header for instance in instances]

    def _fetch(self, instance: Instance, folder: Path) -> InstanceFile:
        path = self._fetch_patiently(instance.archive_id or "", folder / f"{instance.id}.dcm")
        header = pydicom.dcmread(path, stop_before_pixels=True)
        header.remove_private_tags()
        return InstanceFile(path=path, header=header)

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


def _archived(session: Session, study: Study) -> list[Instance]:
    query = select(Instance).where(
        Instance.study_id == study.id, Instance.state == CustodyState.COMPARED, Instance.door != Door.OURS
    )
    return list(session.scalars(query.order_by(Instance.series_instance_uid, Instance.instance_number, Instance.id)))
