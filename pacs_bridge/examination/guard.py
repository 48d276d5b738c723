"""Examines files in a process of its own, so that a file which kills its examination kills nothing else."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from core.errors import SumuError
from pacs_bridge.examination.examined import Examined
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Malformed, MediaDirectory, Poisoned, Unreadable

log = structlog.get_logger("examiner")

#: What is said of one file.
Verdict = Examined | Poisoned | Unreadable

_ROOT = Path(__file__).parents[2]
_CHILD = "pacs_bridge.examination.child"
_BATCH = 64
_START_SECONDS = 60.0
#: What a verdict may weigh; the texts and values that are kept stay far below.
_LONGEST_ANSWER = 16 << 20
#: How long an answer may take on a busy machine: so many times the processor time that it may take, and some more.
_PATIENCE, _GRACE_SECONDS = 3.0, 30.0
#: How often a process that dies before its first file is started anew.
_STARTS = 3
_HANDED_DOWN = ("LD_LIBRARY_PATH", "PYTHONHOME", "TZ")
_DEATH_REMEDY = "Never open it outside a sandbox; report it to Sumu's makers with the device that sent it."


class ExaminerUnavailable(SumuError):
    """The examining process cannot be started; of the files that says nothing, so they wait."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The examination of instances does not start: {why}.",
            remedy="See the lines before this one in the log, and whether the machine has free memory and processes.",
        )


class Examiner:
    """Examines one batch after the other; any thread may ask. Use it as a context manager, or close it."""

    def __init__(self, limits: Limits | None = None, *, memory_bytes: int = 512 << 20, child: str = _CHILD) -> None:
        """Prepare; the process starts with the first batch.

        Parameters
        ----------
        memory_bytes
            Address space that the process may take above what it needs to start.
        child
            Module that is run in it.
        """
        self._limits = limits or Limits()
        self._memory_bytes, self._child = memory_bytes, child
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""
        self._too_slow = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Id of the examining process, while there is one."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process and wait for it."""
        with self._lock:
            self._end()

    def examine_many(self, paths: Sequence[Path]) -> list[Verdict]:
        """Return one verdict a path, in their order.

        A file whose examination dies is examined once more, alone; if that dies too, the file is :class:`Poisoned`. If it
        neither dies nor ends, though it may not use the processor for so long, the disk hangs: :class:`Unreadable`.

        Raises
        ------
        ExaminerUnavailable
            If the process cannot be started.
        """
        verdicts: list[Verdict] = []
        with self._lock:
            while len(verdicts) < len(paths):
                batch = paths[len(verdicts) : len(verdicts) + _BATCH]
                answers = self._ask(batch)
                verdicts += answers
                if len(answers) < len(batch):
                    suspect = batch[len(answers)]
                    log.warning("examination_died", file=suspect.name, next="it is examined once more, alone")
                    verdicts += self._ask([suspect]) or [self._last_words(suspect)]
        return verdicts

    def _ask(self, paths: Sequence[Path]) -> list[Verdict]:
        """Return the verdicts that came before the process died, if it did."""
        self._request([os.path.abspath(path) for path in paths])
        verdicts: list[Verdict] = []
        for path in paths:
            answer = self._answer(_PATIENCE * self._limits.seconds + _GRACE_SECONDS)
            verdict = None if answer is None else _verdict(answer, path)
            if verdict is None:
                self._end()
                break
            verdicts.append(verdict)
        return verdicts

    def _last_words(self, suspect: Path) -> Verdict:
        if self._too_slow:
            return Unreadable(suspect, OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        return Poisoned("The examination died of it, twice.", remedy=_DEATH_REMEDY)

    def _request(self, words: list[str]) -> None:
        for _ in range(_STARTS):
            process = self._process or self._start()
            try:
                _write(process, words)
                return
            except BrokenPipeError:  # it died between two batches, which no file is to blame for
                self._end()
        raise ExaminerUnavailable("it dies before its first file")

    def _start(self) -> subprocess.Popen[bytes]:
        environment = {name: os.environ[name] for name in _HANDED_DOWN if name in os.environ}
        try:
            # close_fds is the default: no socket and no database of ours goes along.
            self._process = process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._child],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**environment, "PYTHONPATH": str(_ROOT), "PYTHONUTF8": "1"},
                bufsize=0,
            )
        except OSError as error:
            raise ExaminerUnavailable(str(error.strerror)) from error
        answer = None
        with contextlib.suppress(BrokenPipeError):
            _write(process, {"limits": asdict(self._limits), "memory_bytes": self._memory_bytes})
            answer = self._answer(_START_SECONDS)
        if answer != {"ready": True}:
            self._end()
            raise ExaminerUnavailable("its process did not come up")
        return process

    def _answer(self, seconds: float) -> Any:
        """Return the next line, or None if the process died, takes too long or says nonsense."""
        assert self._process is not None
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        # select() ends at 1 024 descriptors, and a node with many associations has more.
        poll = select.poll()
        poll.register(output, select.POLLIN)
        deadline = time.monotonic() + seconds
        pieces = [self._unread]
        size = len(self._unread)
        while b"\n" not in pieces[-1]:
            self._too_slow = not poll.poll(1000 * max(0.0, deadline - time.monotonic()))
            piece = b"" if self._too_slow else os.read(output, 1 << 16)
            size += len(piece)
            if not piece or size > _LONGEST_ANSWER:
                return None
            pieces.append(piece)
        line, _, self._unread = b"".join(pieces).partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            return None

    def _end(self) -> None:
        process, self._process, self._unread = self._process, None, b""
        if process is None:
            return
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # a disk that hangs holds it; the kernel ends it later
            process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _write(process: subprocess.Popen[bytes], words: Any) -> None:
    assert process.stdin is not None
    line = memoryview(json.dumps(words).encode() + b"\n")
    while line:
        line = line[process.stdin.write(line) or 0 :]


def _verdict(answer: Any, path: Path) -> Verdict | None:
    match answer:
        case {"examined": dict(plain)}:
            return Examined.from_plain(plain)
        case {"poisoned": [str(kind), str(reason), str(remedy)]}:
            return _poisoned(kind, reason, remedy)
        case {"unreadable": [int(number), str(words)]}:
            return Unreadable(path, OSError(number, words))
    return None


def _poisoned(kind: str, reason: str, remedy: str) -> Poisoned:
    match kind:
        case "MediaDirectory":
            return MediaDirectory()
        case "BeyondLimit":
            return BeyondLimit(reason)
        case "Malformed":
            return Malformed(reason, remedy=remedy)
    return Poisoned(reason, remedy=remedy)
