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
from pydicom.data import get_testdata_file
from sqlalchemy import create_engine, text

from cli.demo.county import CART, CENTRE
from cli.demo.outcome import wait_for_end
from cli.demo.samples import Shipment
from cli.demo.senders import send_all
from cli.demo.show import demo_settings, service
from cli.supervision import ROOT, environment
from core.audit import verify
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
        ("device", "admit", "COUNTY_DR", "--organisation", "COUNTY", "--plain"),
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


@pytest.mark.timeout(300)
def test_one_setting_moves_the_whole_service_to_postgresql(postgresql: str, tmp_path: Path) -> None:
    administration = create_engine(f"{postgresql}/postgres", isolation_level="AUTOCOMMIT")
    with administration.connect() as connection:
        connection.execute(text("CREATE DATABASE journey"))
    administration.dispose()
    settings = demo_settings(tmp_path / "data").model_copy(update={"database_url": f"{postgresql}/journey"})
    ecg, slices = (Path(str(get_testdata_file(name, download=False))) for name in ("waveform_ecg.dcm", "CT_small.dcm"))
    with service(settings) as (database, _):
        sent = send_all([Shipment(ae_title=CART, files=(ecg,)), Shipment(ae_title=CENTRE, files=(slices,))], settings)
        outcomes = wait_for_end(database, sent, seconds=120)
        assert database.engine.dialect.name == "postgresql"
        assert [(outcome.modality, outcome.pre_read, outcome.as_expected) for outcome in outcomes] == [
            ("ECG", "read", True),
            ("CT", "no_model", True),
        ]
        with database.reading() as session:
            assert verify(session) > 0
    assert not (settings.data / "sumu.db").exists()
    assert not (settings.data / "workflows.db").exists()
