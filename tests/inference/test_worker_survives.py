"""A real worker process whose engine crashes, hangs, or is there when the worker itself is lost: what becomes of the studies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select

from cli.supervision import environment
from core.clock import now
from core.database import Database
from core.lifecycles.preread import END_STATES, PreReadState
from core.settings import Settings
from core.tables import Door, PreRead
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.registration import Arrival, register
from tests.conftest import County, RunningArchive
from tests.inference.conftest import settle

Put = Callable[[str], int]


class Worker:
    """A worker process with the misbehaving engine, on the test's data folder."""

    def __init__(self, settings: Settings) -> None:
        surroundings = environment(settings) | {
            "SUMU_PRE_READ__PARALLEL": "1",
            "SUMU_PRE_READ__SECONDS_BY_ENGINE": '{"misbehaving": 3}',
        }
        self.log = settings.data / "worker.log"
        command = [sys.executable, "-m", "tests.inference.misbehaving", "only"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, env=surroundings, stdout=log, stderr=log)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def home(settings: Settings, running_archive: RunningArchive, tmp_path: Path) -> Settings:
    """The test's own house beside the archive that all tests share."""
    (tmp_path / "secrets").symlink_to(running_archive.settings.secrets.resolve())
    return settings.model_copy(update={"archive": running_archive.settings.archive})


@pytest.fixture
def put(home: Settings, database: Database, county: County, running_archive: RunningArchive) -> Put:
    """Return a function that settles a study of this description and returns its id."""

    def settled(description: str) -> int:
        dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid())
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.StudyDescription = description
        path = home.data / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        with path.open("rb") as file:
            archive_id = running_archive.archive.store(file)
        digest = dataset_digest(path)
        arrival = Arrival(
            door=Door.ARCHIVE,
            organisation_id=county.township,
            received_at=now(),
            size=digest.size,
            sha256=digest.sha256,
            machine=home.machine,
            archive_id=archive_id,
        )
        with database.writing() as session:
            _, instance = register(session, facts_of(read_header(path), county_timezone="Asia/Shanghai"), arrival)
            return settle(session, instance.study_id)

    return settled


@pytest.fixture
def worker(home: Settings, database: Database) -> Iterator[Callable[[], Worker]]:
    """Return a function that starts a worker; they end with the test."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(home))
        return started[-1]

    yield start
    for one in started:
        one.kill()


def the_end_of(database: Database, study_id: int) -> PreRead:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with database.reading() as session:
            pre_read = session.scalars(select(PreRead).where(PreRead.study_id == study_id)).one_or_none()
            if pre_read and pre_read.state in END_STATES:
                return pre_read
        time.sleep(0.1)
    raise AssertionError(f"the pre-read is still {pre_read.state if pre_read else 'not there'}")


def readers_of(home: Settings) -> list[int]:
    """Return the process identifiers that noted a start, one a start."""
    return [int(line) for file in home.data.glob("starts-*") for line in file.read_text().split()]


def started(home: Settings, count: int) -> int:
    """Wait until so many readings have begun, and return the process of the last."""
    deadline = time.monotonic() + 60
    while len(readers := readers_of(home)) < count:
        assert time.monotonic() < deadline, f"{len(readers)} readings have begun"
        time.sleep(0.05)
    return readers[-1]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.timeout(170)
def test_a_study_that_kills_its_process_twice_has_failed_with_the_reason_and_the_worker_goes_on(
    put: Put, worker: Callable[[], Worker], database: Database, home: Settings
) -> None:
    deadly, good = put("segfault"), put("read")
    running = worker()
    failed = the_end_of(database, deadly)
    assert failed.state is PreReadState.FAILED
    assert "SIGSEGV" in (failed.error or "")
    assert "report the file" in (failed.error or "")
    assert the_end_of(database, good).state is PreReadState.DECLINED
    assert the_end_of(database, put("read")).state is PreReadState.DECLINED
    assert running.process.poll() is None
    deadly_starts = max((file.read_text().split() for file in home.data.glob("starts-*")), key=len)
    assert len(deadly_starts) == 2
    assert "Segmentation fault" in running.log.read_text(errors="replace")


@pytest.mark.timeout(170)
def test_a_study_over_its_time_has_failed_with_the_remedy_and_the_worker_goes_on(
    put: Put, worker: Callable[[], Worker], database: Database, home: Settings
) -> None:
    hanging, good = put("hang"), put("read")
    running = worker()
    failed = the_end_of(database, hanging)
    assert failed.state is PreReadState.FAILED
    assert "after 3 seconds" in (failed.error or "")
    assert "pre_read.seconds_by_engine" in (failed.error or "")
    assert the_end_of(database, good).state is PreReadState.DECLINED
    assert len(readers_of(home)) == 2
    assert running.process.poll() is None


@pytest.mark.timeout(170)
def test_a_killed_worker_takes_its_reader_along_and_the_next_worker_reads_the_study(
    put: Put, worker: Callable[[], Worker], database: Database, home: Settings
) -> None:
    study = put("hang")
    running = worker()
    reader = started(home, 1)
    running.kill()
    deadline = time.monotonic() + 10
    while is_there(reader):
        assert time.monotonic() < deadline, "the reading process outlived its worker"
        time.sleep(0.05)
    worker()
    started(home, 2)
    assert the_end_of(database, study).state is PreReadState.FAILED


@pytest.mark.timeout(170)
def test_a_worker_that_is_stopped_leaves_the_study_to_the_next_one(
    put: Put, worker: Callable[[], Worker], database: Database, home: Settings
) -> None:
    study = put("wait")
    running = worker()
    started(home, 1)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(20) == 0
    with database.reading() as session:
        assert session.scalars(select(PreRead.state).where(PreRead.study_id == study)).one() is PreReadState.READING
    (home.data / "go").touch()
    worker()
    assert the_end_of(database, study).state is PreReadState.DECLINED


@pytest.mark.timeout(170)
def test_a_study_at_which_the_worker_is_lost_three_times_is_given_up(
    put: Put, worker: Callable[[], Worker], database: Database, home: Settings
) -> None:
    study = put("wait")
    for number in (1, 2, 3):
        running = worker()
        started(home, number)
        running.kill()
    worker()
    failed = the_end_of(database, study)
    assert failed.state is PreReadState.FAILED
    assert "lost 3 times" in (failed.error or "")
    assert len(readers_of(home)) == 3
