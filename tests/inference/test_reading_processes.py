"""Reading processes: what a study does to the one that reads it, and that the next study does not notice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from core.settings import PreReadSettings, Settings
from inference.isolation.assignment import Assignment
from inference.isolation.pool import (
    EngineFailed,
    ReadingDisturbed,
    ReadingProcessDied,
    ReadingProcesses,
    ReadingTookTooLong,
    WorkerStops,
)
from pacs_bridge.archive import Archive, ArchiveUnreachable
from tests.conftest import RunningArchive
from tests.inference.misbehaving import Misbehaving, engines_of

Put = Callable[[str], Assignment]


@pytest.fixture
def put(tmp_path: Path, running_archive: RunningArchive) -> Put:
    """Return a function that puts a study of this description into the archive."""
    return lambda description: stored(tmp_path, running_archive.archive, description)


def stored(folder: Path, archive: Archive, description: str) -> Assignment:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyDescription = description
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    with path.open("rb") as file:
        archive_id = archive.store(file)
    return Assignment(engine=Misbehaving.name, study_instance_uid=dataset.StudyInstanceUID, archive_ids=(archive_id,))


@contextmanager
def processes(folder: Path, running_archive: RunningArchive, **limits: object) -> Iterator[ReadingProcesses]:
    """Run reading processes on the archive, with a data folder of their own."""
    home = running_archive.settings
    settings = Settings(
        data=folder,
        database_url="",
        archive=home.archive,
        pre_read=PreReadSettings.model_validate({"parallel": 1, "seconds": 20, **limits}),
    )
    (folder / "secrets").symlink_to(home.secrets.resolve())
    pool = ReadingProcesses(settings, engines_of)
    try:
        yield pool
    finally:
        pool.close()


def test_a_process_is_warm_before_its_first_study_and_reads_on_in_the_same_one(
    put: Put, tmp_path: Path, running_archive: RunningArchive
) -> None:
    with processes(tmp_path, running_archive) as pool:
        assert pool.wait_until_warm(60)
        first, second = pool.read(put("read")).reading, pool.read(put("read")).reading
        assert first.evidence["warm"] is True
        assert first.evidence["pid"] == second.evidence["pid"]


def test_the_headers_of_what_was_read_come_back_without_pixels(put: Put, tmp_path: Path, running_archive: RunningArchive) -> None:
    assignment = put("read")
    with processes(tmp_path, running_archive) as pool:
        ((uid, start),) = pool.read(assignment).headers.items()
    header = pydicom.dcmread(pydicom.filebase.DicomBytesIO(start), stop_before_pixels=True)
    assert (header.SOPInstanceUID, header.StudyInstanceUID) == (uid, assignment.study_instance_uid)
    assert header.Rows == 128
    assert len(start) < 128 * 128


@pytest.mark.parametrize(("deed", "signal"), [("segfault", "SIGSEGV"), ("abort", "SIGABRT")])
def test_a_native_crash_ends_the_process_and_the_next_study_is_read_in_another(
    put: Put, tmp_path: Path, running_archive: RunningArchive, deed: str, signal: str
) -> None:
    with processes(tmp_path, running_archive) as pool:
        before = pool.read(put("read")).reading.evidence["pid"]
        with pytest.raises(ReadingProcessDied, match=signal):
            pool.read(put(deed))
        assert pool.read(put("read")).reading.evidence["pid"] != before


def test_a_study_over_its_time_is_stopped_though_native_code_hangs(
    put: Put, tmp_path: Path, running_archive: RunningArchive
) -> None:
    with processes(tmp_path, running_archive, seconds_by_engine={"misbehaving": 1}) as pool:
        assert pool.wait_until_warm(60)
        began = time.monotonic()
        with pytest.raises(ReadingTookTooLong, match="after 1 seconds") as stopped:
            pool.read(put("hang"))
        assert time.monotonic() - began < 10
        assert "pre_read.seconds_by_engine" in stopped.value.remedy
        assert pool.read(put("read")).reading.reason == "no_engine"


def test_an_engines_error_is_told_and_the_process_stays(put: Put, tmp_path: Path, running_archive: RunningArchive) -> None:
    with processes(tmp_path, running_archive) as pool:
        before = pool.read(put("read")).reading.evidence["pid"]
        with pytest.raises(EngineFailed, match="RuntimeError: the network stumbled"):
            pool.read(put("raise"))
        assert pool.read(put("read")).reading.evidence["pid"] == before


def test_a_process_that_has_grown_is_replaced_after_its_study(put: Put, tmp_path: Path, running_archive: RunningArchive) -> None:
    with processes(tmp_path, running_archive, memory_mb=400) as pool:
        large = pool.read(put("grow")).reading
        assert large.reason == "no_engine"
        assert pool.read(put("read")).reading.evidence["pid"] != large.evidence["pid"]


def test_a_study_read_alone_harms_no_other(put: Put, tmp_path: Path, running_archive: RunningArchive) -> None:
    with processes(tmp_path, running_archive) as pool:
        before = pool.read(put("read")).reading.evidence["pid"]
        with pytest.raises(ReadingProcessDied):
            pool.read(put("segfault"), alone=True)
        assert pool.read(put("read"), alone=True).reading.evidence["pid"] != before
        assert pool.read(put("read")).reading.evidence["pid"] == before


def test_what_shares_a_process_with_one_over_its_time_is_only_disturbed(
    put: Put, tmp_path: Path, running_archive: RunningArchive
) -> None:
    limits = {"parallel": 2, "batch": 2, "seconds_by_engine": {"misbehaving": 2}}
    with processes(tmp_path, running_archive, **limits) as pool, ThreadPoolExecutor(2) as hands:
        assert pool.wait_until_warm(60)
        hanging = hands.submit(pool.read, put("wait"))
        time.sleep(1.2)
        innocent = hands.submit(pool.read, put("together"))
        assert isinstance(hanging.exception(30), ReadingTookTooLong)
        assert isinstance(innocent.exception(30), ReadingDisturbed)
        assert pool.read(put("read")).reading.reason == "no_engine"


def test_an_archive_that_is_away_is_no_failure_of_the_study(put: Put, settings: Settings) -> None:
    pool = ReadingProcesses(settings, engines_of)
    with pytest.raises(ArchiveUnreachable):
        pool.read(put("read"))
    pool.close()


def test_what_is_under_way_when_the_worker_stops_has_no_end(put: Put, tmp_path: Path, running_archive: RunningArchive) -> None:
    with processes(tmp_path, running_archive) as pool:
        assert pool.wait_until_warm(60)
        ends: list[BaseException] = []

        def read() -> None:
            try:
                pool.read(put("wait"))
            except BaseException as end:
                ends.append(end)

        reading = threading.Thread(target=read)
        reading.start()
        while not list(tmp_path.glob("starts-*")):
            time.sleep(0.02)
        pool.close()
        reading.join(10)
        assert [type(end) for end in ends] == [WorkerStops]
