"""Two hundred kills at random moments, over devices that send again what was not acknowledged."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from pynetdicom import AE
from sqlalchemy import select

from core.database import Database
from core.lifecycles.custody import CustodyState
from core.settings import Settings
from core.tables import Instance, Quarantined
from pacs_bridge.archive import Archive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.node import run_node
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.registrar import run_registrar
from tests.conftest import County, orthanc
from tests.pacs_bridge.conftest import wait_until

KILLS = {"node": 140, "registrar": 40, "courier": 20, "archive": 4}
DEVICES, EACH = 4, 120
#: Bytes added to every seventh instance, so that kills also come in the middle of one.
PADDING = 3 << 20


def deliver(settings: Settings) -> None:
    """Deliver until killed."""
    archive = Archive(settings.archive_address, archive_credentials(settings.secrets))
    courier = Courier(settings, Database(settings.database_address), archive)
    while True:
        if not courier.round():
            time.sleep(0.02)


class Victim:
    """A process of the service that is killed again and again. Its fork is cheap, so that kills are many."""

    _fork = multiprocessing.get_context("forkserver")
    _fork.set_forkserver_preload(["pacs_bridge.node", "pacs_bridge.registrar", "pacs_bridge.delivery"])

    def __init__(self, work: Callable[[Settings], None], settings: Settings) -> None:
        self._work, self._settings = work, settings
        self._process = self._start()

    def _start(self) -> ForkServerProcess:
        process = self._fork.Process(target=self._work, args=(self._settings,), daemon=False)
        process.start()
        return process

    def kill(self) -> None:
        """End it without goodbye and start it anew."""
        self.end()
        self._process = self._start()

    def end(self) -> None:
        """End it for good."""
        self._process.kill()
        self._process.join()


class Device(threading.Thread):
    """Sends its files over and over until each is acknowledged."""

    def __init__(self, settings: Settings, files: list[Path], stopping: threading.Event) -> None:
        super().__init__(daemon=True)
        self._settings, self._waiting, self._stopping = settings, list(files), stopping
        #: Files in the order of their acknowledgement.
        self.acknowledged: list[Path] = []
        self.cut = 0

    def run(self) -> None:
        """Send."""
        while self._waiting and not self._stopping.is_set():
            entity = AE(ae_title="TOWNSHIP_DR")
            entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
            entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
            association = entity.associate("127.0.0.1", self._settings.node.port, ae_title="SUMU")
            while association.is_established and self._waiting:
                try:
                    status = association.send_c_store(self._waiting[0])
                except (RuntimeError, ValueError):  # the connection went while the request was made
                    break
                if getattr(status, "Status", None) != 0:
                    break
                self.acknowledged.append(self._waiting.pop(0))
            if self._waiting:
                self.cut += 1
                association.abort()
                time.sleep(0.01)
            else:
                association.release()


def write_files(folder: Path, count: int) -> list[Path]:
    """Write small CT slices of one study, some of them large, under fresh UIDs."""
    folder.mkdir()
    study, series, files = generate_uid(), generate_uid(), []
    for number in range(count):
        dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = study, series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        if number % 7 == 0:
            dataset.add_new(0x00431029, "OB", os.urandom(PADDING))
        files.append(folder / f"{number}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


@pytest.mark.timeout(400)
def test_nothing_acknowledged_is_lost_over_two_hundred_kills(
    settings: Settings, database: Database, county: County, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(20261125)
    stopping = threading.Event()
    devices = [Device(settings, write_files(tmp_path / f"device{number}", EACH), stopping) for number in range(DEVICES)]
    with orthanc(settings) as running:
        victims = {
            "node": Victim(run_node, settings),
            "registrar": Victim(run_registrar, settings),
            "courier": Victim(deliver, settings),
        }
        try:
            for device in devices:
                device.start()
            order = [name for name, count in KILLS.items() for _ in range(count)]
            chance.shuffle(order)
            for name in order:
                time.sleep(chance.uniform(0.01, 0.25))
                if name == "archive":
                    running.restart_after_kill()
                else:
                    victims[name].kill()
            for device in devices:
                device.join(120)
                assert not device.is_alive()
            acknowledged = [file for device in devices for file in device.acknowledged]
            wanted = {file: pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID for file in acknowledged}

            def all_compared() -> bool:
                with database.reading() as session:
                    states = list(session.scalars(select(Instance.state)))
                return len(states) >= len(wanted) and set(states) == {CustodyState.COMPARED}

            wait_until(all_compared, seconds=120)
        finally:
            stopping.set()
            for victim in victims.values():
                victim.end()
        with database.reading() as session:
            rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
            quarantined = [row.reason for row in session.scalars(select(Quarantined))]
        missing = [file for file, uid in wanted.items() if uid not in rows]
        digests = running.archive.digests([rows[uid].archive_id or "" for uid in wanted.values() if uid in rows])
        held = dict(zip([uid for uid in wanted.values() if uid in rows], digests, strict=True))
        corrupted = [file for file, uid in wanted.items() if held.get(uid, (0, ""))[1] != dataset_digest(file).sha256]  # type: ignore[index]
        in_archive = running.archive.statistics()["CountInstances"]
    with capsys.disabled():
        print(
            f"\n{sum(KILLS.values())} kills ({', '.join(f'{count} {name}' for name, count in KILLS.items())}); "
            f"{sum(device.cut for device in devices)} associations broken; {len(acknowledged)} instances acknowledged, "
            f"{len(missing)} missing, {len(corrupted)} corrupted, {in_archive - len(wanted)} too many in the archive, "
            f"{sum(row.repeats for row in rows.values())} sent again after a lost acknowledgement"
        )
    assert len(acknowledged) == DEVICES * EACH
    assert sum(KILLS.values()) >= 200
    assert (missing, corrupted, quarantined, in_archive - len(wanted)) == ([], [], [], 0)
