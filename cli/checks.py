"""``sumu test``: style, types, the rooms' contract, then every test. The first check that fails stops the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.supervision import ROOT

#: Rooms whose types are checked strictly.
ROOMS = ("core", "pacs_bridge", "models", "inference", "api", "cli")
#: Tests that need the machine for themselves, and so run after the others, one by one.
JOURNEYS = "tests/journeys"


def run_checks(arguments: Sequence[str]) -> int:
    """Run everything and return the exit code; with arguments, run pytest with them and nothing else."""
    if arguments:
        return _run("pytest", *arguments)
    steps: tuple[tuple[str, ...], ...] = (
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "--quiet", "."),
        ("lint-imports", "--no-cache"),
        ("mypy", *ROOMS),
        ("pytest", "--numprocesses", "2", "--dist", "loadfile", "--ignore", JOURNEYS),
        ("pytest", JOURNEYS),
    )
    for step in steps:
        began = time.monotonic()
        code = _run(*step)
        print(
            f"-- {' '.join(step)}: {'passed' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        if code:
            return code
    return 0


def _run(tool: str, *arguments: str) -> int:
    program = Path(sys.executable).with_name(tool)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TCP_NODELAY": "1"}
    return subprocess.run([str(program), *arguments], cwd=ROOT, env=environment, check=False).returncode
