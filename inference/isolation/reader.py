"""The inside of a reading process: engines loaded and warm, one thread a lane, until the worker goes away.

What the worker sends is an :class:`Assignment`; a lane answers with :class:`Begun` and then with one of the others.
"""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from core.settings import Settings
from inference.engine import Engine
from inference.isolation.assignment import Assignment, StudyRead, read_study
from inference.warming import Warmable
from pacs_bridge.archive import ArchiveUnreachable
from pacs_bridge.archive_fetch import ArchiveFiles
from pacs_bridge.credentials import archive_credentials

log = structlog.get_logger("reader")

#: prctl(2): a signal for the child when the thread that started it ends.
_PR_SET_PDEATHSIG = 1

EnginesOf = Callable[[Settings], Mapping[str, Engine]]


@dataclass(frozen=True, kw_only=True)
class Warm:
    """The engines are loaded and have run once."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """The study lies on this machine: from here on its time is counted."""


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The engine raised."""

    error: str


@dataclass(frozen=True, kw_only=True)
class ArchiveAway:
    """The archive did not answer; the study is not to blame."""

    address: str
    cause: str


Answer = Warm | Begun | StudyRead | Failed | ArchiveAway


def run_reader(lanes: Sequence[Connection], settings: Settings, engines_of: EnginesOf, warm: bool) -> None:
    """Answer assignments on every lane until the worker closes them. The main function of a reading process."""
    _belong_to_the_worker()
    archive = ArchiveFiles(
        settings.archive_address, archive_credentials(settings.secrets), timeout_seconds=settings.archive.timeout_seconds
    )
    engines = engines_of(settings)
    if warm:
        for engine in engines.values():
            _warm(engine)
    threads = [threading.Thread(target=_serve, args=(lane, engines, archive), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _belong_to_the_worker() -> None:
    """Die with the worker and by its hand alone, leave a trace of a crash, and be the first to go where memory is short."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    with suppress(OSError, AttributeError):  # Linux alone knows these
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")


def _warm(engine: Engine) -> None:
    if not isinstance(engine, Warmable):
        return
    try:
        engine.warm()
    # A model that cannot be loaded says so at each reading, and takes no other engine with it.
    except Exception as problem:
        log.exception("engine_not_warm", engine=engine.name, error=str(problem))


def _serve(lane: Connection, engines: Mapping[str, Engine], archive: ArchiveFiles) -> None:
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        lane.send(Warm())
        while True:
            lane.send(_answer(lane.recv(), engines, archive, lane))


def _answer(assignment: Assignment, engines: Mapping[str, Engine], archive: ArchiveFiles, lane: Connection) -> Answer:
    try:
        return read_study(assignment, engines[assignment.engine], archive, lambda: lane.send(Begun()))
    except ArchiveUnreachable as away:
        return ArchiveAway(address=archive.address, cause=str(away.args[0]))
    except BrokenPipeError:
        raise
    except Exception as problem:
        return Failed(error=f"{type(problem).__name__}: {problem}")
