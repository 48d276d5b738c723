"""Instances in a transfer syntax that a device takes: decoded and written anew by a process that may die.

Decoders are native code, and a bitstream may have been written to break them. One process serves all instances of a fetch:
its libraries take longer to load than a slice to decode.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from core.errors import SumuError

_ROOT = Path(__file__).parents[2]
#: Address space of the process: an instance is held in memory about twice, decoded.
MEMORY_BYTES = 3 << 30
#: Longest time for one instance.
SECONDS = 300.0


class CannotConvert(SumuError):
    """An instance cannot be written in a transfer syntax that the device takes."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"The instance cannot be converted: {problem}.",
            remedy="Let the device accept the transfer syntax in which it is stored, or open it in the viewer.",
        )


class Converter:
    """Converts instances one after the other, while its block lasts. The process starts with the first of them."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS) -> None:
        self._memory_bytes, self._seconds = memory_bytes, seconds
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Converter:
        """Begin."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the process."""
        self._end()

    def convert(self, source: Path, target: Path, transfer_syntax: str) -> Path:
        """Write ``source`` (a Part 10 file) in an uncompressed little endian transfer syntax to ``target`` and return it.

        Colours come as RGB where the pixels were compressed.

        Raises
        ------
        CannotConvert
            If it cannot be decoded, needs too much memory, or takes too long.
        """
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps([str(source), str(target), transfer_syntax]) + "\n")
            child.stdin.flush()
            answer = child.stdout.readline() if select.select([child.stdout], [], [], self._seconds)[0] else None
        except OSError:
            answer = ""
        if answer is None or not answer:
            self._end()
            target.unlink(missing_ok=True)
            raise CannotConvert(f"it takes longer than {self._seconds:g} s" if answer is None else "the decoder died of it")
        problem = json.loads(answer)
        if problem is not None:
            target.unlink(missing_ok=True)
            raise CannotConvert(str(problem))
        return target

    def _start(self) -> subprocess.Popen[str]:
        # No secrets of the node go where a decoder may be taken over.
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        self._child = subprocess.Popen(
            [sys.executable, "-m", "pacs_bridge.services.conversion_child", str(self._memory_bytes)],
            env=kept | {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self._child

    def _end(self) -> None:
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        self._child = None
