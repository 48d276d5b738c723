"""``sumu doctor``: each part, its version, its state, and for each fault the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import typer
from pynetdicom import AE
from sqlalchemy import func, select

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.settings import ServiceRole, Settings
from core.tables import Instance, Quarantined
from models.bundle import BUNDLES, read_bundle
from pacs_bridge.archive import Archive
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.devices import PROBE
from pacs_bridge.orthanc.configuration import NEEDED_PLUGINS
from pacs_bridge.spool import SpoolName

PACKAGES = ("pydicom", "pynetdicom", "highdicom", "onnxruntime", "dbos", "fastapi", "sqlalchemy", "supervisor")

#: An acknowledged instance has its custody row within a second; after so long something is wrong.
BOOKS_LATE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at and what was seen."""

    part: str
    state: str
    #: None when all is well.
    remedy: str | None = None


def report(settings: Settings) -> int:
    """Print every check and return 0 when none has a remedy, else 1."""
    faults = 0
    for check in examine(settings):
        mark = "ok " if check.remedy is None else "!! "
        typer.echo(f"{mark} {check.part:<14} {check.state}")
        if check.remedy is not None:
            faults += 1
            typer.echo(f"    {'':<14} -> {check.remedy}")
    return 1 if faults else 0


def examine(settings: Settings) -> Iterator[Check]:
    """Look at each part in turn; a fault in one stops no other."""
    looks: list[tuple[str, Callable[[Settings], Check]]] = [
        ("python", _python),
        ("packages", _packages),
        ("orthanc", _orthanc),
        ("viewer", _viewer),
        ("models", _models),
        ("disk", _disk),
        ("database", _database),
        ("archive", _archive),
        ("node", _node),
        ("books", _books),
        ("web", _web),
    ]
    if settings.role is ServiceRole.EDGE:  # it keeps no images and reads none
        looks = [look for look in looks if look[0] not in ("orthanc", "viewer", "models", "archive")]
    for part, look in looks:
        try:
            yield look(settings)
        except SumuError as error:
            yield Check(part=part, state=str(error.args[0]), remedy=error.remedy)
        except Exception as error:
            yield Check(part=part, state=f"{type(error).__name__}: {error}", remedy="Read the logs in the data folder.")


def _python(_: Settings) -> Check:
    return Check(part="python", state=sys.version.split()[0])


def _packages(_: Settings) -> Check:
    try:
        return Check(part="packages", state=", ".join(f"{name} {version(name)}" for name in PACKAGES))
    except PackageNotFoundError as error:
        return Check(part="packages", state=f"{error.name} is missing", remedy="Remove .venv and run ./sumu again.")


def _orthanc(settings: Settings) -> Check:
    program = shutil.which(settings.archive.program)
    if program is None:
        return Check(part="orthanc", state="not installed", remedy="apt-get install orthanc orthanc-dicomweb orthanc-python")
    missing = [name for name in NEEDED_PLUGINS if not (settings.archive.plugins / name).exists()]
    if missing:
        return Check(
            part="orthanc",
            state=f"plugins missing: {', '.join(missing)}",
            remedy="apt-get install orthanc-dicomweb orthanc-python",
        )
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=30)
    return Check(part="orthanc", state=answer.stdout.splitlines()[0])


def _viewer(settings: Settings) -> Check:
    if not (settings.viewer / "index.html").is_file():
        return Check(part="viewer", state="OHIF is not unpacked", remedy="Start through ./sumu once while the line is up.")
    return Check(part="viewer", state=f"OHIF in {settings.viewer}")


def _models(_: Settings) -> Check:
    bundles = [read_bundle(folder) for folder in sorted(BUNDLES.iterdir()) if folder.is_dir()]
    return Check(part="models", state=", ".join(f"{bundle.name} {bundle.version}" for bundle in bundles) or "none")


def _disk(settings: Settings) -> Check:
    folder = settings.data if settings.data.exists() else settings.data.resolve().parent
    free = shutil.disk_usage(folder).free
    state = f"{free / 1e9:.0f} GB free for {settings.data.resolve()}"
    if free < settings.node.free_bytes:
        return Check(part="disk", state=state, remedy="Free space: below node.free_bytes devices are told to keep their studies.")
    return Check(part="disk", state=state)


def _database(settings: Settings) -> Check:
    if not settings.database_url and not (settings.data / "sumu.db").exists():
        return Check(part="database", state="not made yet; `sumu up` makes it")
    database = Database(settings.database_address)
    upgrade(database)
    with database.reading() as session:
        counts = dict(session.execute(select(Instance.state, func.count()).group_by(Instance.state)).tuples().all())
        aside = session.scalar(select(func.count()).select_from(Quarantined)) or 0
    database.close()
    state = f"{database.engine.dialect.name}: " + (", ".join(f"{n} {s.value}" for s, n in counts.items()) or "no instances yet")
    if aside or counts.get(CustodyState.QUARANTINED):
        return Check(
            part="database",
            state=state,
            remedy=f"{aside} files are in quarantine ({settings.quarantine}); their reasons stand in the table 'quarantined'.",
        )
    return Check(part="database", state=state)


def _archive(settings: Settings) -> Check:
    archive = Archive(settings.archive_address, archive_credentials(settings.secrets), timeout_seconds=5)
    system = archive.system()
    return Check(part="archive", state=f"Orthanc {system['Version']} answers at {settings.archive_address}")


def _node(settings: Settings) -> Check:
    entity = AE(ae_title=PROBE)
    entity.connection_timeout = entity.acse_timeout = 5
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", settings.node.port, ae_title=settings.node.ae_title)
    if association.is_established:
        association.release()
    # A node that does not know us and says so is a node that works.
    if association.is_established or association.is_rejected:
        return Check(part="node", state=f"{settings.node.ae_title} answers on port {settings.node.port}")
    return Check(part="node", state=f"nobody answers on port {settings.node.port}", remedy="Start the service: ./sumu up")


def _books(settings: Settings) -> Check:
    """Look whether what was acknowledged gets its custody rows."""
    new = settings.spool / "new"
    waiting = sorted(entry.name for entry in os.scandir(new)) if new.is_dir() else []
    if waiting and (age := (now() - SpoolName.parse(waiting[0]).received_at).total_seconds()) > BOOKS_LATE_SECONDS:
        remedy = "They are safe on the disk. Start the service, or read logs/registrar.log."
        return Check(part="books", state=f"{len(waiting)} instances wait for their rows, since {age:.0f} s", remedy=remedy)
    return Check(part="books", state="every acknowledged instance has its row")


def _web(settings: Settings) -> Check:
    import httpx

    try:
        answer = httpx.get(f"http://127.0.0.1:{settings.web.port}/api/health", timeout=5, trust_env=False)
    except httpx.TransportError:
        return Check(part="web", state=f"nobody answers on port {settings.web.port}", remedy="Start the service: ./sumu up")
    return Check(part="web", state=f"pages at {settings.web_address} ({answer.status_code})")
