"""The way from a settled study to its pre-read: dispatch, the durable queue, rows, the report object."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom
import pytest
from dbos import DBOS
from pydicom import Dataset
from sqlalchemy import select

from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.preread import END_STATES, PreReadState
from core.lifecycles.study import STUDY, StudyEvent
from core.settings import Settings
from core.tables import Door, Finding, Instance, PreRead, Study, Urgency
from inference import engine as engines_module
from inference.dispatch import NO_ENGINE, enqueue_waiting, open_pre_reads
from inference.ecg.engine import EcgEngine
from inference.engine import Engine, Reading, StudyFiles
from inference.outcome import urgency_of
from inference.workflow import PreReader, Workplace, launch
from pacs_bridge.archive import Archive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.spool import Spool
from tests.conftest import RunningArchive, free_port, settings_in
from tests.inference.conftest import SettledStudy, settle


class Stumbling:
    """An engine that fails so many times before it reads; it wants CT."""

    name = "stumbling"

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def wants(self, instance: Dataset) -> bool:
        return str(instance.Modality) == "CT"

    def read(self, study: StudyFiles) -> Reading:
        self.calls += 1
        if self.calls <= self.failures:
            raise RuntimeError("the network stumbled")
        assert study.instances[0].path.is_file()
        return Reading(outcome=engines_module.Outcome.DECLINED, reason="no_engine")


@pytest.fixture
def engines() -> dict[str, Engine]:
    return {"ecg": EcgEngine(), "stumbling": Stumbling(failures=1)}


@pytest.fixture(scope="module")
def launched(running_archive: RunningArchive, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PreReader]:
    """DBOS as a worker process starts it; one a process is what it allows."""
    settings = settings_in(tmp_path_factory.mktemp("worker"))
    place = Workplace(
        settings=settings, database=Database(settings.database_address), archive=running_archive.archive, engines={}
    )
    yield launch(place, worker="test")
    DBOS.destroy()


@pytest.fixture
def reader(launched: PreReader, settings: Settings, database: Database, engines: Mapping[str, Engine]) -> PreReader:
    """The worker, moved into this test's house."""
    launched.place = Workplace(settings=settings, database=database, archive=launched.place.archive, engines=engines)
    launched.spool = Spool(settings.spool)
    return launched


def dispatch(database: Database, engines: Mapping[str, Engine], reader: PreReader) -> None:
    with database.writing() as session:
        open_pre_reads(session, engines)
    enqueue_waiting(database, reader.enqueue)


def the_end_of(database: Database, study_id: int, revision: int = 1) -> PreRead:
    deadline = time.monotonic() + 60
    while True:
        with database.reading() as session:
            query = select(PreRead).where(PreRead.study_id == study_id, PreRead.revision == revision)
            pre_read = session.scalars(query).one()
            _ = pre_read.findings, pre_read.measurements
            if pre_read.state in END_STATES:
                return pre_read
        assert time.monotonic() < deadline, f"still {pre_read.state}"
        time.sleep(0.1)


def test_an_ecg_is_read_and_its_report_object_is_valid_and_reaches_the_archive(
    settled_study: SettledStudy,
    database: Database,
    engines: dict[str, Engine],
    reader: PreReader,
    settings: Settings,
    running_archive: RunningArchive,
    tmp_path: Path,
) -> None:
    study_id = settled_study("waveform_ecg.dcm")
    dispatch(database, engines, reader)
    pre_read = the_end_of(database, study_id)
    assert pre_read.state is PreReadState.READ
    assert pre_read.engine == "ecg"
    assert pre_read.models[0]["name"]
    assert "ecg_heart_rate" in {row.code for row in pre_read.measurements}

    courier = Courier(settings, database, running_archive.archive)
    deadline = time.monotonic() + 30
    while courier.round() == 0:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    courier.close()
    with database.reading() as session:
        ours = session.scalars(select(Instance).where(Instance.door == Door.OURS)).one()
        study = session.get_one(Study, study_id)
        assert ours.state is CustodyState.COMPARED
        assert study.instance_count == 1  # our report is no news of the study
        assert study.revision == 1
    path = running_archive.archive.fetch(ours.archive_id or "", tmp_path / "report.dcm")
    report = pydicom.dcmread(path)
    assert report.StudyInstanceUID == study.study_instance_uid
    assert (report.CompletionFlag, report.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    judged = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")] == []


def test_a_study_that_no_engine_wants_is_marked_so_at_once(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine]
) -> None:
    study_id = settled_study("MR_small.dcm")
    with database.writing() as session:
        open_pre_reads(session, engines)
    pre_read = the_end_of(database, study_id)
    assert (pre_read.engine, pre_read.state, pre_read.reason) == (NO_ENGINE, PreReadState.NO_MODEL, "no_engine")


def test_an_engine_that_stumbles_once_is_tried_again(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine], reader: PreReader
) -> None:
    study_id = settled_study("CT_small.dcm")
    dispatch(database, engines, reader)
    assert the_end_of(database, study_id).state is PreReadState.DECLINED


def test_an_engine_that_always_fails_marks_the_pre_read_and_the_next_study_goes_on(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine], reader: PreReader
) -> None:
    engines["stumbling"] = Stumbling(failures=1000)
    broken, good = settled_study("CT_small.dcm"), settled_study("waveform_ecg.dcm")
    dispatch(database, engines, reader)
    failed = the_end_of(database, broken)
    assert failed.state is PreReadState.FAILED
    assert "the network stumbled" in (failed.error or "")
    assert the_end_of(database, good).state is PreReadState.READ


def test_dispatching_twice_opens_and_reads_once(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine], reader: PreReader
) -> None:
    study_id = settled_study("CT_small.dcm")
    stumbling = engines["stumbling"]
    assert isinstance(stumbling, Stumbling)
    stumbling.failures = 0
    for _ in range(3):
        dispatch(database, engines, reader)
        with database.writing() as session:  # as if the worker had died between the queue and the row
            for pre_read in session.scalars(select(PreRead).where(PreRead.state == PreReadState.QUEUED)):
                pre_read.enqueued_at = None
    the_end_of(database, study_id)
    dispatch(database, engines, reader)
    time.sleep(0.5)
    assert stumbling.calls == 1


def test_a_reopened_study_is_read_again_under_its_next_revision(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine], reader: PreReader
) -> None:
    study_id = settled_study("waveform_ecg.dcm")
    dispatch(database, engines, reader)
    the_end_of(database, study_id)
    with database.writing() as session:
        study = session.get_one(Study, study_id)
        study.state = STUDY.next(study.state, StudyEvent.INSTANCE)
        settle(session, study_id)
    dispatch(database, engines, reader)
    assert the_end_of(database, study_id, revision=2).state is PreReadState.READ
    assert the_end_of(database, study_id, revision=1).state is PreReadState.READ


def test_what_was_queued_for_an_earlier_revision_is_superseded(
    settled_study: SettledStudy, database: Database, engines: dict[str, Engine]
) -> None:
    study_id = settled_study("waveform_ecg.dcm")
    with database.writing() as session:
        open_pre_reads(session, engines)
        study = session.get_one(Study, study_id)
        study.state = STUDY.next(study.state, StudyEvent.INSTANCE)
        settle(session, study_id)
        open_pre_reads(session, engines)
    assert the_end_of(database, study_id, revision=1).state is PreReadState.SUPERSEDED


def test_the_most_urgent_finding_decides_the_place_in_the_worklist(settled_study: SettledStudy, database: Database) -> None:
    study_id = settled_study("waveform_ecg.dcm")
    with database.writing() as session:
        study = session.get_one(Study, study_id)
        pre_read = PreRead(
            study_id=study_id, revision=1, engine="ecg", state=PreReadState.READ, queued_at=study.first_received_at
        )
        pre_read.findings = [Finding(code="ecg_sinus_rhythm"), Finding(code="ecg_critical_bradycardia")]
        session.add(pre_read)
        session.flush()
        assert urgency_of(session, study) is Urgency.CRITICAL


def test_while_the_archive_is_away_a_pre_read_waits_and_does_not_fail(
    settled_study: SettledStudy,
    database: Database,
    engines: dict[str, Engine],
    reader: PreReader,
    settings: Settings,
    running_archive: RunningArchive,
) -> None:
    study_id = settled_study("waveform_ecg.dcm")
    present = reader.place
    credentials = archive_credentials(settings.secrets)
    away = Archive(f"http://127.0.0.1:{free_port()}", credentials)
    reader.place = Workplace(settings=settings, database=database, archive=away, engines=engines)
    dispatch(database, engines, reader)
    time.sleep(2)
    with database.reading() as session:
        assert session.scalars(select(PreRead.state).where(PreRead.study_id == study_id)).one() is PreReadState.READING
    reader.place = present  # it is back
    assert the_end_of(database, study_id).state is PreReadState.READ
