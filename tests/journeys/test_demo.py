"""The whole way of a study, from township machines to a phone: undisturbed, and with its processes killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cli.demo.outcome import wait_for_end
from cli.demo.samples import collect
from cli.demo.senders import send_all
from cli.demo.show import demo_settings, service
from cli.demo.visit import report_and_open_film
from cli.supervision import ROOT, Supervisor
from core.audit import verify
from core.clock import in_county, now

#: What must be the same whether or not something died.
LASTING = ("modality", "instances_sent", "instances_stored", "hash_compared", "state", "pre_read", "reason", "model", "priority")


def lasting(studies: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted(tuple(str(study[key]) for key in LASTING) for study in studies)


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    answer = subprocess.run(
        [sys.executable, "-m", "cli", "demo", "--once", "--json"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-4000:]
    summary: dict[str, Any] = json.loads(answer.stdout)
    return summary


@pytest.mark.timeout(700)
def test_every_study_is_settled_compared_and_read_or_marked_and_the_film_opens(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["ok"] is True
    assert undisturbed["film_link_opened"] == "yes"
    assert len(undisturbed["devices"]) >= 2
    for study in undisturbed["studies"]:
        assert study["instances_sent"] == study["instances_stored"]
        assert study["hash_compared"] is True
        assert study["state"] == "settled"
        assert study["pre_read"] in ("read", "no_model", "declined")
    of_ecg = next(study for study in undisturbed["studies"] if study["modality"] == "ECG")
    assert of_ecg["pre_read"] == "read"
    assert of_ecg["report_object_stored"] is True
    of_mr = next(study for study in undisturbed["studies"] if study["modality"] == "MR")
    assert (of_mr["pre_read"], of_mr["reason"]) == ("no_model", "no_engine")


@pytest.mark.timeout(700)
def test_killed_processes_change_nothing_of_the_end(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    settings = demo_settings(tmp_path / "data")
    supervisors: list[Supervisor] = []
    killed: list[str] = []

    def kill_each_in_turn() -> None:
        """Kill node, registrar, archive and worker while studies come in and are read, by the ids that the supervisor names."""
        for name in ("node", "registrar", "archive", "worker", "worker"):
            time.sleep(1.0)
            process_id = supervisors[0].process_ids().get(name)
            if process_id is not None:
                os.kill(process_id, signal.SIGKILL)
                killed.append(name)

    with service(settings, watch=supervisors.append) as (database, accounts):
        collected = collect(settings.data / "samples", None, in_county(now(), settings.county.timezone))
        killer = threading.Thread(target=kill_each_in_turn)
        killer.start()
        sent = send_all(collected.shipments, settings)
        killer.join()
        outcomes = wait_for_end(database, sent, seconds=300)
        assert set(killed) == {"node", "registrar", "archive", "worker"}
        assert lasting([outcome.as_json() for outcome in outcomes]) == lasting(undisturbed["studies"])
        assert report_and_open_film(settings, database, accounts, outcomes).opened
        with database.reading() as session:
            assert verify(session) > 0
