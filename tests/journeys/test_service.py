"""``sumu up`` as an administrator meets it: started on nothing, filled by commands, examined, stopped as a whole."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.supervision import ROOT, environment
from core.settings import Settings
from tests.conftest import settings_in


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path / "var")


def sumu(settings: Settings, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        cwd=ROOT,
        env=environment(settings),
        input=typed,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def running(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "up"], cwd=ROOT, env=environment(settings), stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    for port in (settings.node.port, settings.archive.port, settings.web.port):
        while not listens(port):
            assert time.monotonic() < deadline, "the service did not start"
            time.sleep(0.2)
    yield process
    if process.poll() is None:
        process.terminate()
        process.wait(60)


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_a_county_starts_from_nothing(settings: Settings, running: subprocess.Popen[str]) -> None:
    for words in (
        ("organisation", "add", "COUNTY", "--level", "county", "--zh", "县医院", "--en", "County Hospital"),
        ("user", "add", "doctor", "--organisation", "COUNTY", "--role", "doctor"),
        ("device", "admit", "COUNTY_DR", "--organisation", "COUNTY"),
    ):
        answer = sumu(settings, *words, typed="a long password\n")
        assert answer.returncode == 0, answer.stderr
    examined = sumu(settings, "doctor")
    assert "node" in examined.stdout
    assert [line for line in examined.stdout.splitlines() if line.startswith("!!") and "viewer" not in line] == []
    echo = ["echoscu", "-aet", "COUNTY_DR", "-aec", "SUMU", "127.0.0.1", str(settings.node.port)]
    assert subprocess.run(echo, check=False, timeout=30).returncode == 0

    running.send_signal(signal.SIGTERM)
    assert running.wait(60) is not None
    assert not any(listens(port) for port in (settings.node.port, settings.archive.port, settings.web.port))


def test_the_doctor_says_what_is_wrong_and_what_to_do(settings: Settings) -> None:
    examined = sumu(settings, "doctor")
    assert examined.returncode == 1
    assert "./sumu up" in examined.stdout
