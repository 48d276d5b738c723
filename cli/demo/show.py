"""``sumu demo``: the whole way of a study, from three townships to a patient's phone, in one command."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from cli.demo.county import Account, settle_county
from cli.demo.outcome import StudyOutcome, wait_for_end
from cli.demo.samples import Collected, collect
from cli.demo.senders import Sent, send_all
from cli.demo.visit import FilmVisited, report_and_open_film
from cli.supervision import Supervisor
from core.clock import in_county, now
from core.database import Database
from core.errors import SumuError
from core.migrations import upgrade
from core.settings import Settings

#: Longest wait for everything to settle and be read; a slow machine with a slide needs a minute.
PATIENCE_SECONDS = 300
START_SECONDS = 60


class ServiceDidNotStart(SumuError):
    """The processes did not come up."""

    def __init__(self, logs: Path) -> None:
        super().__init__("The service did not start in time.", remedy=f"Read the logs in {logs}.")


def show(*, once: bool, as_json: bool, samples: Path | None, data: Path | None, pictures: Path | None) -> int:
    """Run the demo and return the exit code."""
    say: Callable[[str], None] = (
        (lambda text: print(text, file=sys.stderr, flush=True)) if as_json else (lambda text: print(text, flush=True))
    )
    folder = data or Path(tempfile.mkdtemp(prefix="sumu-demo-"))
    settings = demo_settings(folder)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with service(settings) as (database, accounts):
            return _show(settings, database, accounts, once=once, as_json=as_json, samples=samples, pictures=pictures, say=say)
    except KeyboardInterrupt:
        say("Stopped.")
        return 0
    finally:
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


def demo_settings(folder: Path) -> Settings:
    """Return settings for a service of its own on free ports of loopback."""
    base = Settings()
    ports = iter(_free_ports(3))
    return base.model_copy(
        update={
            "data": folder.resolve(),
            "database_url": "",
            "node": base.node.model_copy(update={"host": "127.0.0.1", "port": next(ports), "free_bytes": 0}),
            "archive": base.archive.model_copy(update={"port": next(ports)}),
            "web": base.web.model_copy(update={"host": "127.0.0.1", "port": next(ports), "public_url": ""}),
        }
    )


@contextlib.contextmanager
def service(settings: Settings, watch: Callable[[Supervisor], None] = lambda _: None) -> Iterator[tuple[Database, list[Account]]]:
    """Run a whole service with the demo's county in it; ``watch`` is handed the supervisor."""
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_address)
    upgrade(database)
    with database.writing() as session:
        accounts = settle_county(session)
    supervisor = Supervisor(settings)
    try:
        _wait_for_ports(settings, supervisor)
        watch(supervisor)
        yield database, accounts
    finally:
        supervisor.stop()
        database.close()


def _show(
    settings: Settings,
    database: Database,
    accounts: Sequence[Account],
    *,
    once: bool,
    as_json: bool,
    samples: Path | None,
    pictures: Path | None,
    say: Callable[[str], None],
) -> int:
    say(f"Pages   {settings.web_address}")
    for account in accounts:
        say(f"        {account.username:<9} {account.password}   {account.role.value}, {account.home}")
    collected = collect(settings.data / "samples", samples, in_county(now(), settings.county.timezone))
    for note in collected.notes:
        say(f"Input   {note}")
    sent = send_all(collected.shipments, settings)
    say(f"Sent    {len(sent)} instances from {len(collected.shipments)} devices, all acknowledged.")
    outcomes = wait_for_end(database, sent, seconds=PATIENCE_SECONDS)
    for outcome in outcomes:
        say(_line(outcome))
    film = report_and_open_film(settings, database, accounts, outcomes, pictures)
    say(f"Film    {film.url}   second check {film.check}" if film.opened else f"Film    not opened: {film.problem}")
    good = bool(outcomes) and all(outcome.as_expected for outcome in outcomes) and film.opened
    if as_json:
        print(json.dumps(_summary(collected, sent, outcomes, film, good), ensure_ascii=False, indent=2), flush=True)
    if once:
        return 0 if good else 1
    say(f"Worklist {settings.web_address}/worklist   Ctrl-C stops the demo and removes its data.")
    while True:
        time.sleep(3600)


def _line(outcome: StudyOutcome) -> str:
    seconds = outcome.seconds_from_last_acknowledgement_to_pre_read
    return (
        f"        {outcome.modality:<3} {outcome.instances_stored}/{outcome.instances_sent} stored"
        f"{', hash compared' if outcome.hash_compared else ', NOT compared'}, {outcome.state}, {outcome.priority}, "
        f"pre-read {outcome.pre_read}{f' ({outcome.model or outcome.reason})' if outcome.model or outcome.reason else ''}"
        f"{f' after {seconds} s' if seconds is not None else ''}"
    )


def _summary(
    collected: Collected, sent: Sequence[Sent], outcomes: Sequence[StudyOutcome], film: FilmVisited, good: bool
) -> dict[str, object]:
    return {
        "ok": good,
        "devices": [shipment.ae_title for shipment in collected.shipments],
        "instances_sent": len(sent),
        "studies": [outcome.as_json() for outcome in outcomes],
        "film_link_opened": "yes" if film.opened else "no",
        "film_problem": film.problem,
        "input": list(collected.notes),
    }


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; they are taken together, so that they differ."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _wait_for_ports(settings: Settings, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + START_SECONDS
    for port in (settings.node.port, settings.archive.port, settings.web.port):
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if time.monotonic() > deadline or not supervisor.alive():
                raise ServiceDidNotStart(settings.data / "logs")
            time.sleep(0.1)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
