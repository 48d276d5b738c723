"""The process that examines, and may die of it: it holds no socket, no secret, little memory, and writes no file.

Started by :mod:`pacs_bridge.examination.guard` as ``python -m pacs_bridge.examination.child``. Lines of JSON come in on its
standard input: first the bounds, then lists of paths; one line a path goes out. It ends with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pacs_bridge.examination.examine import examine
from pacs_bridge.examination.examined import Examined
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Poisoned

_INPUT, _OUTPUT = 0, 1
_LOOK_FOR_PARENT_SECONDS = 1.0
#: Processor time beyond the examination's own limit, after which the kernel ends it.
_GRACE_SECONDS = 2
READY = {"ready": True}


def main(look: Callable[[Path, Limits], Examined] = examine) -> None:
    """Examine what comes in until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_outlive_nobody, args=(os.getppid(),), daemon=True).start()
    lines = _lines()
    bounds = next(lines, None)
    if bounds is None:
        return
    limits = Limits(**bounds["limits"])
    _bound_this_process(bounds["memory_bytes"])
    _say(READY)
    for paths in lines:
        for path in paths:
            _allow_seconds(limits.seconds)
            _say(_answer(look, Path(path), limits))


def _answer(look: Callable[[Path, Limits], Examined], path: Path, limits: Limits) -> dict[str, Any]:
    try:
        return {"examined": look(path, limits).to_plain()}
    except Poisoned as poison:
        return _refusal(poison)
    except OSError as error:
        return {"unreadable": [error.errno or 0, os.strerror(error.errno or 0)]}
    except MemoryError:
        return _refusal(BeyondLimit("Its examination needs more memory than it may have."))
    except Exception as error:  # a file that the examination did not foresee is no file for the others
        return _refusal(Poisoned(f"Its examination failed with {type(error).__name__}: {error}."))


def _refusal(poison: Poisoned) -> dict[str, Any]:
    return {"poisoned": [type(poison).__name__, poison.reason, poison.remedy]}


def _bound_this_process(memory_bytes: int) -> None:
    with contextlib.suppress(OSError):  # where memory runs out this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    start = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, bound in (
        (resource.RLIMIT_AS, start + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (bound, bound))


def _allow_seconds(seconds: float) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + _GRACE_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _outlive_nobody(parent: int) -> None:
    """End with the parent, even in the middle of a file."""
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT_SECONDS)
    os._exit(0)


def _lines() -> Iterator[Any]:
    """Yield what comes in."""
    pieces = b""
    while piece := os.read(_INPUT, 1 << 16):
        pieces += piece
        if piece.endswith(b"\n"):  # the parent waits for its answers before it writes again
            line, pieces = pieces, b""
            yield json.loads(line)


def _say(answer: dict[str, Any]) -> None:
    line = memoryview(json.dumps(answer).encode() + b"\n")
    try:
        while line:
            line = line[os.write(_OUTPUT, line) :]
    except BrokenPipeError:
        raise SystemExit(0) from None


if __name__ == "__main__":
    main()
