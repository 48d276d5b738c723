"""A node in a process of its own, and senders that push to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE, _config

from core.database import Database
from core.settings import Settings
from pacs_bridge.registrar import Registrar
from tests.conftest import County

ROOT = Path(__file__).parents[2]


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment by which a child process gets the same settings."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SUMU_DATA": str(settings.data),
        "SUMU_NODE__HOST": "127.0.0.1",
        "SUMU_NODE__PORT": str(settings.node.port),
        "SUMU_NODE__FREE_BYTES": str(settings.node.free_bytes),
        "SUMU_ARCHIVE__PORT": str(settings.archive.port),
        "SUMU_WEB__PORT": str(settings.web.port),
        "SUMU_DATABASE_URL": settings.database_url,
    }


class RunningNode:
    """The node as its own process, which a test may kill."""

    def __init__(self, settings: Settings, name: str = "1") -> None:
        self.settings = settings
        self._name = name
        self.log = settings.data / "node.log"
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "cli", "process", "node", "--name", self._name]
        with self.log.open("ab") as log:
            process = subprocess.Popen(command, env=environment(self.settings), stdout=log, stderr=log)
        deadline = time.monotonic() + 30
        while not echo(self.settings):
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.log.read_text()[-3000:])
            time.sleep(0.1)
        return process

    def kill(self) -> None:
        """End it as a power cut would: no goodbye."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Start it again in the same data folder."""
        self.process = self._start()

    def stop(self) -> None:
        """End it as the supervisor does."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def echo(settings: Settings, ae_title: str = "TOWNSHIP_DR") -> bool:
    """Return whether the node answers C-ECHO."""
    entity = AE(ae_title=ae_title)
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", settings.node.port, ae_title="SUMU")
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return getattr(status, "Status", None) == 0


@pytest.fixture
def node(settings: Settings, county: County, database: Database) -> Iterator[RunningNode]:
    """A running node that knows the small county's device, and a registrar that keeps its books."""
    with books_kept(settings, database):
        running = RunningNode(settings)
        yield running
        running.stop()


@contextmanager
def books_kept(settings: Settings, database: Database) -> Iterator[None]:
    """Run a registrar in a thread while the block lasts; when it ends, everything acknowledged has its row."""
    registrar, stopping = Registrar(settings, database), threading.Event()

    def work() -> None:
        while not stopping.is_set():
            if not registrar.round():
                stopping.wait(0.02)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        registrar.round()
        registrar.close()


@pytest.fixture
def ct_study(tmp_path: Path) -> Callable[[int], list[Path]]:
    """Write a CT study of so many slices under fresh UIDs."""

    def write(slices: int) -> list[Path]:
        study, series = generate_uid(), generate_uid()
        folder = tmp_path / f"study{study[-6:]}"
        folder.mkdir()
        paths = []
        for number in range(1, slices + 1):
            dataset: Dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
            dataset.InstanceNumber = number
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            paths.append(folder / f"{number}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
        return paths

    return write


def storescu(settings: Settings, *paths: Path, ae_title: str = "TOWNSHIP_DR") -> subprocess.CompletedProcess[str]:
    """Push files with DCMTK."""
    command = ["storescu", "-aet", ae_title, "-aec", "SUMU", "127.0.0.1", str(settings.node.port), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def send_bytes(settings: Settings, path: Path, ae_title: str = "TOWNSHIP_DR") -> int:
    """Push a file with pynetdicom, its data set byte for byte (DCMTK encodes anew), and return the status."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    entity = AE(ae_title=ae_title)
    meta = pydicom.filereader.read_file_meta_info(path)
    entity.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", settings.node.port, ae_title="SUMU")
    try:
        return int(association.send_c_store(path).Status)
    finally:
        association.release()


def wait_until(what: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise AssertionError("did not become true in time")
        time.sleep(0.05)
