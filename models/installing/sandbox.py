"""Starts the trial of a bundle in a process of its own and turns however that ends into facts or a refusal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from models.bundle_fields import BundleRefused

_ROOT = Path(__file__).resolve().parents[2]
#: On a machine with other work, the wall's clock runs ahead of the processor's.
_WALL = 4
_SIGNALS = {
    signal.SIGXCPU: "it took more processor time than it may",
    signal.SIGKILL: "it was ended, by the time limit or by the system for want of memory",
    signal.SIGSEGV: "it made the runtime crash (segmentation fault)",
    signal.SIGABRT: "it made the runtime give up (abort)",
    signal.SIGXFSZ: "it tried to write a file",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one trial may use."""

    #: Processor time; the clock may run four times as long.
    seconds: int
    #: Address space.
    memory_bytes: int
    threads: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured of a bundle that passed."""

    opset: int
    operators: int
    #: Of the run that was measured.
    input_shape: tuple[int, ...]
    #: Of one run, on as many threads as a worker uses.
    seconds: float
    processor_seconds: float
    #: Of the whole process, the runtime included.
    peak_bytes: int
    #: Whether the network could be taken away.
    offline: bool


def try_out(bundle: Bundle, limits: Limits) -> Trial:
    """Run the bundle's network on zeros and on noise in another process.

    Raises
    ------
    BundleRefused
        If the bundle has a fault, or the process died or took too long.
    """
    words = [str(bundle.folder.resolve()), str(limits.seconds), str(limits.memory_bytes), str(limits.threads)]
    # -P: neither the folder of the bundle nor that of the caller gives modules.
    command = [sys.executable, "-P", "-m", "models.installing.trial", *words]
    environment = {"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="model-trial-") as scratch:
        try:
            ended = subprocess.run(
                command,
                cwd=scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=limits.seconds * _WALL,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _died(bundle, f"it took more than {limits.seconds * _WALL} seconds", limits) from error
    told = _told(ended.stdout)
    if ended.returncode or told is None:
        how = _SIGNALS.get(signal.Signals(-ended.returncode), "") if ended.returncode < 0 else ""
        last = (ended.stderr.strip().splitlines() or ["no word"])[-1][:300]
        raise _died(bundle, how or f"its process ended with {ended.returncode}: {last}", limits)
    if "problem" in told:
        raise BundleRefused(bundle.name, told["problem"], remedy=told["remedy"])
    return Trial(**{**told, "input_shape": tuple(told["input_shape"])})


def _told(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text.strip().splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        return None
    return told if isinstance(told, dict) else None


def _died(bundle: Bundle, how: str, limits: Limits) -> BundleRefused:
    return BundleRefused(
        bundle.name,
        f"its trial failed: {how}",
        remedy=f"It may use {limits.seconds} s of processor time and {limits.memory_bytes / 1e9:.1f} GB; the settings "
        "models.trial_seconds and models.trial_memory_bytes raise that. If it crashes, ask its maker for another export.",
    )
