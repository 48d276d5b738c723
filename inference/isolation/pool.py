"""The worker's reading processes: kept warm and replaced, so that no study can harm the worker or another study.

Python cannot interrupt a native call, and a native crash takes its whole process; so each reading runs in a child that may
be killed. A process has as many lanes as the images of so many studies may share a model run; a lane reads one study at a time.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import structlog

from core.errors import SumuError
from core.settings import PreReadSettings, Settings
from inference.isolation.assignment import Assignment, StudyRead
from inference.isolation.reader import Answer, ArchiveAway, Begun, EnginesOf, Failed, Warm, run_reader
from inference.onnx_session import hardware_of, require
from pacs_bridge.archive import ArchiveUnreachable

log = structlog.get_logger("reading_processes")

#: How often the keeper looks for processes that died while they were idle.
LOOK_SECONDS = 1.0
#: A process that dies before it was warm is replaced after a pause, which doubles up to this.
LONGEST_PAUSE_SECONDS = 60.0

_spawn = multiprocessing.get_context("spawn")


class EngineFailed(Exception):
    """An engine raised; the text is its error's."""


class ReadingTookTooLong(SumuError):
    """A study was not read within its time."""

    def __init__(self, engine: str, seconds: float) -> None:
        super().__init__(
            f"The engine '{engine}' had not read this study after {seconds:g} seconds and was stopped.",
            remedy="Read the study without a pre-read; if it is merely large, raise `pre_read.seconds_by_engine`.",
        )


class ReadingProcessDied(SumuError):
    """The process that read a study died of it, or beside it."""

    def __init__(self, engine: str, how: str) -> None:
        super().__init__(
            f"The process in which the engine '{engine}' read this study died ({how}).",
            remedy="Read the study without a pre-read, and report the file; the worker's log says what it was doing.",
        )
        self.how = how


class ReadingDisturbed(Exception):
    """The process was ended for another study's sake; this one is to be read again."""


class WorkerStops(BaseException):
    """The worker is being stopped; what was under way begins anew at its next start.

    It is no Exception, so that durable work does not write it down as its end.
    """


def places(settings: PreReadSettings) -> tuple[int, int]:
    """Return how many reading processes there are and how many lanes each has."""
    wanted = settings.parallel or len(os.sched_getaffinity(0))
    return max(1, wanted // settings.batch), settings.batch


class _Process:
    """One child and the worker's ends of its lanes."""

    def __init__(self, settings: Settings, engines_of: EnginesOf, *, lanes: int, warm: bool) -> None:
        pipes = [_spawn.Pipe() for _ in range(lanes)]
        theirs = [end for _, end in pipes]
        self.child: SpawnProcess = _spawn.Process(
            target=run_reader, args=(theirs, settings, engines_of, warm), name="reader", daemon=True
        )
        self.child.start()
        for end in theirs:
            end.close()
        self.lanes = [Lane(process=self, connection=ours) for ours, _ in pipes]
        self.warm = False
        #: Whether the worker itself ended it, for the sake of one study.
        self.stopped = False

    def kill(self) -> None:
        """End it at once, whatever it is doing; its other lanes see that it is gone."""
        self.stopped = True
        self.child.kill()
        self.child.join()

    def resident_bytes(self) -> int:
        """Return its resident memory; 0 when it is gone."""
        try:
            pages = Path(f"/proc/{self.child.pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def how_it_ended(self) -> str:
        """Return what ended it, in words."""
        deadline = time.monotonic() + 5
        while (code := self.child.exitcode) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"


class Lane:
    """A way to one thread of a reading process."""

    def __init__(self, *, process: _Process, connection: Connection) -> None:
        self.process, self.connection = process, connection

    def ask(self, assignment: Assignment, seconds: float) -> StudyRead:
        """Have a study read within ``seconds`` after its files have arrived."""
        child, engine = self.process.child, assignment.engine
        deadline: float | None = None
        try:
            self.connection.send(assignment)
        except OSError as error:
            raise ReadingDisturbed from error
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                ready = wait([self.connection, child.sentinel], left)
                if not ready:
                    raise ReadingTookTooLong(engine, seconds)
                if self.connection not in ready:
                    raise EOFError
                answer: Answer = self.connection.recv()
            except (EOFError, OSError, ValueError) as error:
                if self.process.stopped:
                    raise ReadingDisturbed from error
                raise ReadingProcessDied(engine, self.process.how_it_ended()) from error
            if isinstance(answer, StudyRead):
                return answer
            if isinstance(answer, Failed):
                raise EngineFailed(answer.error)
            if isinstance(answer, ArchiveAway):
                raise ArchiveUnreachable(answer.address, ConnectionError(answer.cause))
            if isinstance(answer, Begun):
                deadline = time.monotonic() + seconds
            else:
                self.process.warm = True

    def listen(self) -> None:
        """Take note that the process is warm, if it has said so. Only while nobody asks."""
        with suppress(EOFError, OSError):
            if not self.process.warm and self.connection.poll():
                self.process.warm = isinstance(self.connection.recv(), Warm)


class ReadingProcesses:
    """Reads studies in processes of its own. Threads share it.

    Raises
    ------
    RuntimeMissing
        If the settings ask for a runtime that is not installed.
    """

    def __init__(self, settings: Settings, engines_of: EnginesOf) -> None:
        require(hardware_of(settings.pre_read))
        self._settings, self._engines_of = settings, engines_of
        self._count, self._lanes = places(settings.pre_read)
        self._changed = threading.Condition()
        self._processes: list[_Process] = []
        self._free: list[Lane] = []
        self._alone: set[_Process] = set()
        self._closing = False
        # A child dies with the thread that started it: this one lives as long as the worker.
        self._wishes: list[threading.Event] = []
        self._granted: dict[threading.Event, _Process] = {}
        self._keeper = threading.Thread(target=self._keep, name="reading processes", daemon=True)
        self._keeper.start()
        # multiprocessing waits at the worker's end for children that take no signal but this one.
        atexit.register(self.close)

    @property
    def at_once(self) -> int:
        """How many studies are read at once."""
        return self._count * self._lanes

    def wait_until_warm(self, seconds: float) -> bool:
        """Return whether every process was warm within ``seconds``."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._changed:
                if len({lane.process for lane in _warm_first(self._free) if lane.process.warm}) == self._count:
                    return True
            time.sleep(0.05)
        return False

    def read(self, assignment: Assignment, *, alone: bool = False) -> StudyRead:
        """Have a study read; ``alone``: in a process that reads nothing else and ends with it.

        Raises
        ------
        EngineFailed
            If the engine raised.
        ReadingTookTooLong, ReadingProcessDied
            If it was over its time, or its process died.
        ReadingDisturbed
            If its process was ended because of another study.
        ArchiveUnreachable
            If the archive is away.
        """
        limits = self._settings.pre_read
        seconds = limits.seconds_by_engine.get(assignment.engine, limits.seconds)
        lane = self._own_lane() if alone else self._take()
        fit = False
        try:
            answer = lane.ask(assignment, seconds)
            fit = True
            return answer
        except (EngineFailed, ArchiveUnreachable):
            fit = True
            raise
        except (ReadingProcessDied, ReadingDisturbed):
            if self._closing:
                raise WorkerStops from None
            raise
        finally:
            self._give_back(lane, fit=fit and not alone)

    def close(self) -> None:
        """End every process; a reading that is under way raises :class:`WorkerStops`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._keeper.join()
        atexit.unregister(self.close)

    def _take(self) -> Lane:
        """Return a lane of a living process, a warm one where there is one."""
        with self._changed:
            while True:
                if self._closing:
                    raise WorkerStops
                lane = next(iter(_warm_first(self._free)), None)
                if lane is None:
                    self._changed.wait()
                    continue
                self._free.remove(lane)
                if lane.process.child.is_alive():
                    return lane

    def _own_lane(self) -> Lane:
        wish = threading.Event()
        with self._changed:
            if self._closing:
                raise WorkerStops
            self._wishes.append(wish)
            self._changed.notify_all()
        wish.wait()
        with self._changed:
            if wish not in self._granted:
                raise WorkerStops
            return self._granted.pop(wish).lanes[0]

    def _give_back(self, lane: Lane, *, fit: bool) -> None:
        """Free a lane, or end its process where that is not fit to go on."""
        process = lane.process
        grown = fit and process.resident_bytes() > self._settings.pre_read.memory_mb * 1_000_000
        with self._changed:
            if grown:
                log.warning("reading_process_has_grown", megabytes=process.resident_bytes() // 1_000_000)
            if fit and not grown and not process.stopped and not self._closing:
                self._free.append(lane)
            else:
                lane.connection.close()
                process.kill()
            self._alone.discard(process)
            self._changed.notify_all()

    def _keep(self) -> None:
        """Start what is missing and forget what has died, until the worker stops."""
        pause, again_at = LOOK_SECONDS, 0.0
        while True:
            with self._changed:
                if self._closing:
                    break
                _warm_first(self._free)
                dead = [process for process in self._processes if process.stopped or not process.child.is_alive()]
                if any(not process.stopped and not process.warm for process in dead):
                    log.error("reading_process_died_at_its_start", seconds=pause)
                    again_at, pause = time.monotonic() + pause, min(2 * pause, LONGEST_PAUSE_SECONDS)
                elif dead:
                    pause = LOOK_SECONDS
                self._processes = [process for process in self._processes if process not in dead]
                self._free = [lane for lane in self._free if lane.process not in dead]
                missing = self._count - len(self._processes) if time.monotonic() >= again_at else 0
                wishes, self._wishes = self._wishes, []
            for wish in wishes:
                own = _Process(self._settings, self._engines_of, lanes=1, warm=False)
                with self._changed:
                    self._alone.add(own)
                    self._granted[wish] = own
                wish.set()
            for _ in range(missing):
                process = _Process(self._settings, self._engines_of, lanes=self._lanes, warm=True)
                with self._changed:
                    self._processes.append(process)
                    self._free.extend(process.lanes)
                    self._changed.notify_all()
            with self._changed:
                if not self._wishes and not self._closing:
                    self._changed.wait(LOOK_SECONDS)
        self._end_all()

    def _end_all(self) -> None:
        with self._changed:
            for process in [*self._processes, *self._alone]:
                process.kill()
            for wish in self._wishes:
                wish.set()
            self._changed.notify_all()


def _warm_first(lanes: Iterable[Lane]) -> list[Lane]:
    """Return free lanes, those of warm processes first."""
    free = list(lanes)
    for lane in free:
        lane.listen()
    return sorted(free, key=lambda lane: not lane.process.warm)
