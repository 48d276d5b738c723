"""What every test may ask for: a data folder, a database, a real Orthanc, a small county with people and devices."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.clock import now
from core.database import Database
from core.migrations import upgrade
from core.passwords import hash_password
from core.settings import ArchiveSettings, NodeSettings, Settings, WebSettings
from core.tables import Device, Level, Organisation, Role, User, UserRole
from pacs_bridge.archive import Archive, ArchiveUnreachable
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.orthanc.configuration import write_configuration

# DCMTK programs wait 40 ms a message for Nagle's algorithm without this.
os.environ["TCP_NODELAY"] = "1"

PASSWORD = "correct horse battery"


def free_port() -> int:
    """Return a port that nobody listens on and that no other test of this run was given of late.

    They lie below those that the kernel gives to outgoing connections meanwhile.
    """
    while True:
        port = next(_ports)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _own_ports() -> Iterator[int]:
    """Each process of a run has a thousand ports of its own, and goes round them."""
    first = 15000 + 1000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 16)
    start = random.SystemRandom().randrange(1000)
    return itertools.cycle(first + (start + step) % 1000 for step in range(1000))


_ports = _own_ports()


def settings_in(folder: Path) -> Settings:
    """Return settings of a whole service in ``folder`` on free ports."""
    return Settings(
        data=folder,
        # Whatever the environment says, a test has its own database and no viewer but the one it brings.
        database_url="",
        viewer=Path(),
        node=NodeSettings(host="127.0.0.1", port=free_port(), free_bytes=0),
        archive=ArchiveSettings(port=free_port()),
        web=WebSettings(port=free_port()),
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a service of its own for this test."""
    return settings_in(tmp_path)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A migrated SQLite database in the test's folder."""
    database = Database(settings.database_address)
    upgrade(database)
    yield database
    database.close()


@dataclass(frozen=True, kw_only=True)
class County:
    """Identifiers of the small county that tests live in."""

    city: int
    county: int
    township: int
    other_township: int
    #: Device of ``township``; its AE title is ``TOWNSHIP_DR``.
    device: int
    #: Doctor of the county: ``doctor``; operator of the township: ``operator``; both with ``PASSWORD``.
    doctor: int
    operator: int


@pytest.fixture
def county(database: Database) -> County:
    """A city, a county, two townships, a device, a doctor, an operator, an administrator."""
    return make_county(database)


def make_county(database: Database) -> County:
    """Put the small county into an empty database."""
    with database.writing() as session:
        city = Organisation(level=Level.CITY, code="CITY", name_zh="市医院", name_en="City Hospital")
        session.add(city)
        session.flush()
        county = Organisation(level=Level.COUNTY, code="COUNTY", name_zh="县医院", name_en="County Hospital", parent_id=city.id)
        session.add(county)
        session.flush()
        near = Organisation(
            level=Level.TOWNSHIP, code="NEAR", name_zh="近苏木卫生院", name_en="Near Township", parent_id=county.id
        )
        far = Organisation(level=Level.TOWNSHIP, code="FAR", name_zh="远苏木卫生院", name_en="Far Township", parent_id=county.id)
        session.add_all([near, far])
        session.flush()
        device = Device(organisation_id=near.id, ae_title="TOWNSHIP_DR", name="DR", plain=True, admitted_at=now())
        secret = hash_password(PASSWORD)
        people = [
            User(
                organisation_id=home.id,
                username=role.value,
                display_name=name,
                password_hash=secret,
                created_at=now(),
                roles=[UserRole(role=role)],
            )
            for home, role, name in (
                (county, Role.DOCTOR, "王医生"),
                (near, Role.OPERATOR, "李技师"),
                (county, Role.ADMINISTRATOR, "管理员"),
            )
        ]
        session.add_all([device, *people])
        session.flush()
        return County(
            city=city.id,
            county=county.id,
            township=near.id,
            other_township=far.id,
            device=device.id,
            doctor=people[0].id,
            operator=people[1].id,
        )


@dataclass(kw_only=True)
class RunningArchive:
    """A real Orthanc for a test session."""

    settings: Settings
    archive: Archive
    process: subprocess.Popen[bytes]

    def restart_after_kill(self) -> None:
        """End it as a power cut of the process would, and start it again."""
        self.process.kill()
        self.process.wait()
        self.process = start_orthanc(self.settings)


@pytest.fixture(scope="session")
def running_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    """One Orthanc with DICOMweb and our plugin, shared by the tests of a session; use fresh UIDs in it."""
    settings = settings_in(tmp_path_factory.mktemp("archive"))
    with orthanc(settings) as running:
        yield running


@contextmanager
def orthanc(settings: Settings) -> Iterator[RunningArchive]:
    """Run a real Orthanc on ``settings`` while the block lasts."""
    process = start_orthanc(settings)
    archive = Archive(settings.archive_address, archive_credentials(settings.secrets))
    running = RunningArchive(settings=settings, archive=archive, process=process)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                archive.system()
                break
            except ArchiveUnreachable:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise AssertionError((settings.data / "orthanc.log").read_text()[-2000:]) from None
                time.sleep(0.1)
        yield running
    finally:
        archive.close()
        running.process.terminate()
        try:
            running.process.wait(10)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()


def start_orthanc(settings: Settings) -> subprocess.Popen[bytes]:
    """Start the archive's process."""
    configuration = write_configuration(settings)
    with (settings.data / "orthanc.log").open("ab") as log:
        return subprocess.Popen([settings.archive.program, str(configuration)], stdout=log, stderr=log)


def drain(courier: Courier) -> None:
    """Deliver and compare until nothing is due."""
    while courier.round():
        pass


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start PostgreSQL on loopback in a folder of its own and return its address."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("PostgreSQL is not installed; ./sumu test installs it.")
    # Not under pytest's own folder: its parents are closed to the server's user.
    folder, port = Path(tempfile.mkdtemp(prefix="sumu-postgresql-")), free_port()
    as_postgres: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        owner = pwd.getpwnam("postgres")
        shutil.chown(folder, owner.pw_uid, owner.pw_gid)
        as_postgres = ["runuser", "-u", "postgres", "--"]
    run = [*as_postgres, str(programs[-1] / "pg_ctl"), "-D", str(folder / "data")]
    subprocess.run([*run, "initdb", "-o", "--auth=trust --username=sumu --encoding=UTF8"], check=True, capture_output=True)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([*run, "-w", "-l", str(folder / "log"), "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://sumu@127.0.0.1:{port}"
    finally:
        subprocess.run([*run, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
