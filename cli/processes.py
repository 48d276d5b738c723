"""The kinds of process, each as one function that runs until it is told to stop and imports only what it needs."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import StrEnum

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.settings import Settings

log = structlog.get_logger("worker")


class ProcessKind(StrEnum):
    """What ``sumu up`` starts."""

    ARCHIVE = "archive"
    NODE = "node"
    REGISTRAR = "registrar"
    WORKER = "worker"
    WEB = "web"
    #: Of an edge alone: it brings what the node acknowledged to the county.
    FORWARDER = "forwarder"


#: Receiving comes first: what can wait behind an acknowledgement gives way where processors are few (nice(2)).
_GIVES_WAY = {ProcessKind.REGISTRAR: 5, ProcessKind.WORKER: 10, ProcessKind.ARCHIVE: 5, ProcessKind.FORWARDER: 5}


def run(kind: ProcessKind, settings: Settings, *, name: str) -> None:
    """Run one process in the foreground until SIGTERM. ``name`` tells workers of one machine apart."""
    os.nice(_GIVES_WAY.get(kind, 0))
    logging.basicConfig(level=logging.WARNING, stream=sys.stdout)
    _RUN[kind](settings, name)


def _archive(settings: Settings, _: str) -> None:
    """Become Orthanc."""
    from pacs_bridge.orthanc.configuration import write_configuration

    configuration = write_configuration(settings)
    os.execvp(settings.archive.program, [settings.archive.program, str(configuration)])


def _node(settings: Settings, name: str) -> None:
    from pacs_bridge.node import run_node
    from pacs_bridge.orders.mllp import taking_orders

    with taking_orders(settings):
        run_node(settings, name=name)


def _registrar(settings: Settings, _: str) -> None:
    from pacs_bridge.registrar import run_registrar

    run_registrar(settings)


def _forwarder(settings: Settings, _: str) -> None:
    from pacs_bridge.edge.forwarding import run_forwarder

    run_forwarder(settings)


def _web(settings: Settings, _: str) -> None:
    import uvicorn

    from api.app import create_app

    uvicorn.run(
        create_app(settings),
        host=settings.web.host,
        port=settings.web.port,
        log_level="warning",
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
        timeout_graceful_shutdown=5,
    )


def _worker(settings: Settings, name: str) -> None:
    """Deliver, settle, pre-read, report about commitment, and take in what was dropped."""
    from dbos import DBOS

    from inference.dispatch import enqueue_waiting, open_pre_reads
    from inference.isolation.pool import ReadingProcesses
    from inference.roster import engines_of
    from inference.workflow import Workplace, launch
    from pacs_bridge.archive import Archive
    from pacs_bridge.completeness import settle_due
    from pacs_bridge.credentials import archive_credentials
    from pacs_bridge.delivery import Courier
    from pacs_bridge.drop_folder import DropFolder
    from pacs_bridge.services.commitment_reports import report_due

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    database = Database(settings.database_address)
    archive = Archive(
        settings.archive_address, archive_credentials(settings.secrets), timeout_seconds=settings.archive.timeout_seconds
    )
    engines = engines_of(settings)
    courier = Courier(settings, database, archive)
    reading = ReadingProcesses(settings, engines_of)
    place = Workplace(settings=settings, database=database, archive=archive, engines=engines, reader=reading)
    reader = launch(place, worker=name)

    def settle() -> int:
        with database.writing() as session:
            settled = settle_due(session, settings.completeness)
        with database.writing() as session:
            opened = open_pre_reads(session, engines)
        return len(settled) + len(opened) + enqueue_waiting(database, reader.enqueue)

    def report() -> int:
        return report_due(database, settings)

    rounds = [
        threading.Thread(target=_repeat, args=(courier.round, 0.03, stopping), name="deliver"),
        threading.Thread(target=_repeat, args=(settle, 0.3, stopping), name="settle"),
        threading.Thread(target=_repeat, args=(report, 1, stopping), name="report"),
        threading.Thread(target=_repeat, args=(DropFolder(settings, database).round, 1, stopping), name="drop"),
    ]
    for thread in rounds:
        thread.start()
    stopping.wait()
    for thread in rounds:
        thread.join()
    reading.close()
    DBOS.destroy()
    courier.close()
    archive.close()
    database.close()


def _repeat(step: Callable[[], int], pause: float, stopping: threading.Event) -> None:
    """Repeat a step; rest when it found nothing to do, and longer when the database is away."""
    while not stopping.is_set():
        try:
            if not step():
                stopping.wait(pause)
        except DBAPIError as error:
            log.warning("database_unreachable", step=step.__name__, error=str(error.orig))
            stopping.wait(2)
        except Exception:
            log.exception("step_failed", step=step.__name__)
            time.sleep(1)


_RUN: dict[ProcessKind, Callable[[Settings, str], None]] = {
    ProcessKind.ARCHIVE: _archive,
    ProcessKind.NODE: _node,
    ProcessKind.REGISTRAR: _registrar,
    ProcessKind.WORKER: _worker,
    ProcessKind.WEB: _web,
    ProcessKind.FORWARDER: _forwarder,
}
