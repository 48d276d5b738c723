"""Transcoding in a process that may die: decoders are native code, and a bitstream may have been written to break them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from pacs_bridge.transcoding.errors import CannotTranscode
from pacs_bridge.transcoding.transcode import Transcoded

_ROOT = Path(__file__).parents[2]


def transcode_guarded(
    source: Path, target: Path, *, memory_bytes: int = 3 << 30, seconds: float = 600, most_bytes: int = 64 << 30
) -> Transcoded:
    """Do as ``transcode_for_archive`` does, in a child process with limits.

    Parameters
    ----------
    memory_bytes
        Address space of the child; about 1 GB goes to the libraries and to one frame of a large radiograph.
    seconds
        Longest time for the whole instance.
    most_bytes
        Longest target file.

    Raises
    ------
    CannotTranscode
        If it cannot be done, or the child died or took too long. ``target`` is then not there.
    """
    limits = [str(memory_bytes), str(int(seconds) + 1), str(most_bytes)]
    command = [sys.executable, "-m", "pacs_bridge.transcoding.child", str(source), str(target), *limits]
    # No secrets of the parent go where a decoder may be taken over.
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    environment = kept | {"PYTHONPATH": str(_ROOT), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        child = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise CannotTranscode(source.name, f"it took longer than {seconds:g} s") from error
    finally:
        target.with_name(f"{target.name}.part").unlink(missing_ok=True)
    if child.returncode == 0:
        return Transcoded(**json.loads(child.stdout))
    if child.returncode == os.EX_DATAERR:
        raise CannotTranscode(source.name, child.stdout.decode("utf-8", "replace"))
    how = f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
    raise CannotTranscode(source.name, f"the decoder ended with {how}")


def told(transcoded: Transcoded) -> str:
    """Return the result as the child writes it."""
    return json.dumps(asdict(transcoded))
