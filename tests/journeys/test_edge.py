"""A township behind a bad line: its node acknowledges, the line breaks, the forwarder is killed, the county has it all, once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select

from cli.supervision import ROOT, Supervisor, environment
from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.passwords import token_hash
from core.settings import EdgeSettings, ServiceRole, Settings
from core.tables import Device, Instance, Quarantined
from pacs_bridge.archive import Archive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.part10 import dataset_digest
from tests.conftest import RunningArchive, drain, make_county, settings_in
from tests.pacs_bridge.conftest import books_kept, storescu, wait_until
from tests.pacs_bridge.edge.line import Line

TOKEN = "a-token-of-the-journey"


class Site:
    """One machine: its settings, its tables, and the processes that a test starts and kills."""

    def __init__(self, settings: Settings, more: dict[str, str]) -> None:
        settings.data.mkdir(parents=True)
        self.settings, self._more = settings, more
        self.database = Database(settings.database_address)
        upgrade(self.database)
        self.county = make_county(self.database)

    def start(self, kind: str) -> subprocess.Popen[bytes]:
        """Start a process of the service."""
        with (self.settings.data / f"{kind}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "cli", "process", kind],
                cwd=ROOT, env={**environment(self.settings), **self._more}, stdout=log, stderr=log,
            )  # fmt: skip

    def instances(self) -> list[Instance]:
        """Return the custody rows."""
        with self.database.reading() as session:
            return list(session.scalars(select(Instance)))


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        process.wait(30)


@pytest.fixture
def sites(tmp_path: Path, running_archive: RunningArchive) -> Iterator[tuple[Site, Site, Line]]:
    county = Site(settings_in(tmp_path / "county"), {})
    with county.database.writing() as session:
        session.add(
            Device(
                organisation_id=county.county.township, ae_title="NEAR_EDGE", name="edge", may_store=False, may_forward=True,
                token_hash=token_hash(TOKEN), admitted_at=now(),
            )
        )  # fmt: skip
    line = Line(county.settings.web.port)
    edge = EdgeSettings(county_url=f"http://127.0.0.1:{line.port}")
    settings = settings_in(tmp_path / "township").model_copy(update={"edge": edge, "role": ServiceRole.EDGE})
    township = Site(
        settings,
        {
            "SUMU_ROLE": "edge",
            "SUMU_EDGE__COUNTY_URL": edge.county_url,
            "SUMU_EDGE__LINE_SECONDS": "0.3",
            "SUMU_EDGE__STALLED_SECONDS": "5",
            "SUMU_EDGE__REQUEST_BYTES": "600000",
            "SUMU_EDGE__PIECE_BYTES": "700000",
            "SUMU_DELIVERY__FIRST_RETRY_SECONDS": "0.1",
            "SUMU_DELIVERY__LONGEST_RETRY_SECONDS": "0.5",
        },
    )
    settings.secrets.mkdir(parents=True, exist_ok=True)
    (settings.secrets / "edge.token").write_text(TOKEN)
    yield county, township, line
    line.close()
    for site in (county, township):
        site.database.close()


def study_of(folder: Path, slices: int) -> list[Path]:
    """Write a CT study whose slices do not compress, and one large among them."""
    folder.mkdir()
    study, files = generate_uid(), []
    for number in range(1, slices + 1):
        dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.StudyInstanceUID, dataset.SOPInstanceUID, dataset.InstanceNumber = study, generate_uid(), number
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.add_new(0x00431029, "OB", os.urandom(3_000_000 if number == slices // 2 else 120_000))
        files.append(folder / f"{number}.dcm")
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def answers(address: str) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            return httpx.get(f"{address}/api/health", timeout=2, trust_env=False).status_code in (200, 503)
        except httpx.TransportError:
            return False

    return ask


def break_and_wait(line: Line, waiting: Callable[[], int]) -> None:
    """Cut the line once, and wait until something goes over it again."""
    before = line.cuts
    line.cut_after(1_100_000)
    wait_until(lambda: line.cuts > before or not waiting(), 60)
    gone = line.up
    wait_until(lambda: line.up > gone + 100_000 or not waiting(), 60)


@pytest.mark.timeout(170)
def test_a_study_crosses_a_line_that_breaks_and_a_forwarder_that_is_killed(
    sites: tuple[Site, Site, Line], running_archive: RunningArchive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    county, township, line = sites
    files = study_of(tmp_path / "study", 24)
    sent = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): dataset_digest(file).sha256 for file in files}
    kills = 0
    with ExitStack() as running:
        web = county.start("web")
        running.callback(end, web)
        node = township.start("node")
        running.callback(end, node)
        wait_until(answers(f"http://127.0.0.1:{county.settings.web.port}"), 60)
        wait_until(lambda: storescu(township.settings, files[0]).returncode == 0, 60)
        with books_kept(township.settings, township.database):
            assert storescu(township.settings, *files).returncode == 0
        assert {row.sop_instance_uid for row in township.instances()} == sent.keys()
        own = {row.sop_instance_uid: row.sha256 for row in township.instances()}

        def waiting() -> int:
            return sum(row.state is CustodyState.RECEIVED for row in township.instances())

        line.refuse()
        forwarder = township.start("forwarder")
        with books_kept(county.settings, county.database):
            time.sleep(1)
            assert waiting() == len(files)
            line.refuse(False)
            while line.cuts < 3:  # in the middle of a request, and of the large instance's pieces
                break_and_wait(line, waiting)
                forwarder.send_signal(signal.SIGKILL)
                forwarder.wait()
                kills += 1
                forwarder = township.start("forwarder")
                if kills == 2:  # and once the county's end
                    web.send_signal(signal.SIGKILL)
                    web.wait()
                    web = county.start("web")
                    running.callback(end, web)
            running.callback(end, forwarder)
            wait_until(lambda: not waiting(), 60)
        rows = county.instances()
        courier = Courier(
            county.settings,
            county.database,
            Archive(running_archive.settings.archive_address, archive_credentials(running_archive.settings.secrets)),
        )
        drain(courier)
        courier.close()
    with capsys.disabled():
        print(
            f"\n{len(files)} instances over a line with {line.cuts} cuts, {kills} kills of the forwarder and one of the county: "
            f"{len(rows)} at the county, {sum(row.repeats for row in rows)} sent again, "
            f"{line.connections} connections, {line.most_at_once} at once"
        )
    assert (line.cuts, kills) == (3, 3)
    assert line.most_at_once == 1
    assert {row.sop_instance_uid: row.sha256 for row in rows} == own
    held = county.instances()
    assert {row.state for row in held} == {CustodyState.COMPARED}
    digests = running_archive.archive.digests([row.archive_id or "" for row in held])
    assert [digest and digest[1] for digest in digests] == [row.delivered_sha256 or own[row.sop_instance_uid] for row in held]
    assert {row.state for row in township.instances()} == {CustodyState.COMPARED}
    assert list((township.settings.spool / "held").iterdir()) == []
    with county.database.reading() as session:
        assert list(session.scalars(select(Quarantined))) == []


@pytest.mark.timeout(120)
def test_an_edge_starts_as_one_service_without_an_archive(
    sites: tuple[Site, Site, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    county, township, line = sites
    for name, value in township._more.items():
        monkeypatch.setenv(name, value)
    web = county.start("web")
    try:
        supervisor = Supervisor(township.settings)
        try:
            page = f"http://127.0.0.1:{township.settings.web.port}"
            wait_until(answers(page), 60)
            wait_until(lambda: httpx.get(f"{page}/api/health", trust_env=False).json()["line"], 60)
            wait_until(lambda: storescu(township.settings, Path(str(get_testdata_file("CT_small.dcm")))).returncode == 0, 60)
            wait_until(lambda: [row.state for row in township.instances()] == [CustodyState.COMPARED], 60)
            assert set(supervisor.process_ids()) == {"node", "registrar", "forwarder", "web"}
            assert "线路正常" in httpx.get(f"{page}/edge", trust_env=False).text
        finally:
            supervisor.stop()
    finally:
        end(web)
    assert line.most_at_once == 1
