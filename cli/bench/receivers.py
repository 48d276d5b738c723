"""The three that receive: Sumu's node with everything behind it, Orthanc's own receiver, DCMTK's storescp."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from cli.processes import ProcessKind
from cli.supervision import environment
from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.settings import ArchiveSettings, NodeSettings, Settings, WebSettings
from core.tables import Device, Instance, Level, Organisation
from pacs_bridge.archive import Archive, ArchiveUnreachable
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.orthanc.configuration import write_configuration

CALLING = "BENCH"
#: A receiver whose processes use less than this share of one processor has nothing left of its start to do.
AT_REST, LONGEST_START_SECONDS = 0.15, 60.0


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A receiver that runs."""

    port: int
    called: str
    #: Processes by what they are for; the first is the one that devices talk to.
    processes: dict[str, subprocess.Popen[bytes]]
    archive: Archive | None = None
    database: Database | None = None

    def in_archive(self) -> int:
        """Return how many instances Orthanc holds."""
        assert self.archive is not None
        return int(self.archive.statistics()["CountInstances"])

    def compared(self) -> int:
        """Return how many instances have been read back from Orthanc and found equal."""
        assert self.database is not None
        with self.database.reading() as session:
            compared = select(func.count()).where(Instance.state == CustodyState.COMPARED)
            return session.scalar(compared) or 0

    def peak_memory(self) -> dict[str, int]:
        """Return the largest resident size so far of each process, in bytes."""
        return {name: _peak(process.pid) for name, process in self.processes.items()}

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time that each process has used so far, and that of all descendants of those that have any."""
        own = {name: _processor_seconds(process.pid) for name, process in self.processes.items()}
        families = {name: _family(process.pid)[1:] for name, process in self.processes.items()}
        return own | {f"{name}'s children": sum(map(_processor_seconds, pids)) for name, pids in families.items() if pids}

    def wait_for_rest(self) -> None:
        """Wait until the start is over: the worker's models load in the background, and a county does that once a day."""
        deadline, used = time.monotonic() + LONGEST_START_SECONDS, sum(self.processor_seconds().values())
        while time.monotonic() < deadline:
            time.sleep(1)
            before, used = used, sum(self.processor_seconds().values())
            if used - before < AT_REST:
                return


@contextmanager
def sumu(folder: Path) -> Iterator[Receiver]:
    """Run archive, node, registrar and worker as ``sumu up`` does, with custody and durability on."""
    settings = Settings(
        data=folder, database_url="", node=NodeSettings(host="127.0.0.1", port=free_port(), free_bytes=0),
        archive=ArchiveSettings(port=free_port()), web=WebSettings(port=free_port()),
    )  # fmt: skip
    folder.mkdir(parents=True)
    database = Database(settings.database_address)
    upgrade(database)
    with database.writing() as session:
        home = Organisation(level=Level.TOWNSHIP, code="BENCH", name_zh="苏木", name_en="Bench")
        session.add(home)
        session.flush()
        session.add(Device(organisation_id=home.id, ae_title=CALLING, name="bench", plain=True, admitted_at=now()))
    kinds = (ProcessKind.NODE, ProcessKind.REGISTRAR, ProcessKind.WORKER, ProcessKind.ARCHIVE)
    surroundings = {**environment(settings), "SUMU_NODE__FREE_BYTES": "0"}
    with ExitStack() as stack:
        processes = {
            kind.value: stack.enter_context(_running([sys.executable, "-m", "cli", "process", kind], surroundings, folder))
            for kind in kinds
        }
        archive = stack.enter_context(_answering(settings))
        _wait_for_port(settings.node.port)
        yield Receiver(
            port=settings.node.port, called=settings.node.ae_title, processes=processes, archive=archive, database=database
        )
    database.close()


@contextmanager
def orthanc(folder: Path) -> Iterator[Receiver]:
    """Run Orthanc with its own DICOM receiver, storing as it does by default: each file synced, with its MD5."""
    settings = Settings(data=folder, archive=ArchiveSettings(port=free_port()), web=WebSettings(port=free_port()))
    port = free_port()
    file = write_configuration(settings)
    options = json.loads(file.read_text(encoding="utf-8"))
    options |= {
        "DicomServerEnabled": True, "DicomPort": port, "DicomAet": "ORTHANC", "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True, "DicomThreadsCount": 16, "PythonScript": "", "Plugins": [],
        "SyncStorageArea": True, "StoreMD5ForAttachments": True, "MaximumStorageCacheSize": 128,
    }  # fmt: skip
    file.write_text(json.dumps(options), encoding="utf-8")
    with (
        _running([settings.archive.program, str(file)], {**os.environ, "TCP_NODELAY": "1"}, folder) as process,
        _answering(settings) as archive,
    ):
        _wait_for_port(port)
        yield Receiver(port=port, called="ORTHANC", processes={"orthanc": process}, archive=archive)


@contextmanager
def storescp(folder: Path) -> Iterator[Receiver]:
    """Run DCMTK's storescp, which keeps files without syncing them, one process an association."""
    port, store = free_port(), folder / "store"
    store.mkdir(parents=True)
    command = ["storescp", "--fork", "--max-pdu", "131072", "-od", str(store), str(port)]
    with _running(command, {**os.environ, "TCP_NODELAY": "1"}, folder) as process:
        _wait_for_port(port)
        yield Receiver(port=port, called="STORESCP", processes={"storescp": process})


RECEIVERS = {"sumu": sumu, "orthanc": orthanc, "storescp": storescp}


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _running(command: list[str], surroundings: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "processes.log").open("ab") as log:
        process = subprocess.Popen(command, env=surroundings, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _answering(settings: Settings) -> Iterator[Archive]:
    archive = Archive(settings.archive_address, archive_credentials(settings.secrets))
    deadline = time.monotonic() + 60
    while True:
        try:
            archive.system()
            break
        except ArchiveUnreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
    try:
        yield archive
    finally:
        archive.close()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _peak(pid: int) -> int:
    """Return VmHWM of a process in bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def _family(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for thread in threads for child in (thread / "children").read_text(encoding="ascii").split()]
    except OSError:
        return [pid]
    return [pid, *(descendant for child in children for descendant in _family(child))]


def _processor_seconds(pid: int) -> float:
    """Return user and system time of a process in seconds (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
