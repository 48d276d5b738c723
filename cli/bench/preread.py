"""How long a radiograph waits for its pre-read, and how much of the bare networks' speed the whole chain reaches.

Everything is real: node, registrar, Orthanc and worker run as ``sumu up`` starts them. The bare measurement repeats, on the same
machine before and after the burst, exactly the model runs that the engine makes on the same images, with nothing around them.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from sqlalchemy import ColumnElement, func, select

from cli.bench.bare import alone, bare
from cli.bench.radiographs import CODINGS, Batch, Radiographs, study_of
from cli.bench.receivers import CALLING, Receiver, sumu
from cli.bench.senders import Sent, send
from core.database import Database
from core.lifecycles.preread import END_STATES, PreReadState
from core.settings import Settings
from core.tables import Door, Instance, PreRead, Study

LONGEST_WAIT_SECONDS = 900.0
#: The chain's stages, each from the end of the one before it; the first begins at the acknowledgement.
STAGES = ("delivered and compared", "settled", "taken up", "read", "object in custody")
#: Repetitions of what is measured part by part.
TIMES = 7


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One study's way, in seconds on the machine's clock."""

    state: str
    reason: str | None
    received: float
    stages: tuple[float, ...]
    finished: float


def measure(*, tries: int, burst: int, seconds: float, pictures: Path | None, say: bool) -> dict[str, Any]:
    """Run the chain and the bare networks, and return what was found."""

    def tell(what: str) -> None:
        if say:
            typer.echo(what, err=True)

    radiographs = Radiographs(pictures)
    with tempfile.TemporaryDirectory(prefix="sumu-bench-") as place:
        folder = Path(place)
        examples = [_files(radiographs.write(folder / f"example-{name}", name, 1))[0] for name in CODINGS]
        settings = Settings()
        tell("one image, part by part")
        parts = {
            name: {part: round(value, 1) for part, value in asdict(alone(settings, file, TIMES)).items()}
            for name, file in zip(CODINGS, examples, strict=True)
        }
        tell("bare networks")
        before = bare(settings, examples, seconds)
        with sumu(folder / "sumu") as running:
            tell("the first radiograph")
            _one_by_one(running, radiographs, folder / "first", 1)
            tell(f"{tries} radiographs, one by one")
            single = _one_by_one(running, radiographs, folder / "single", tries)
            tell(f"{burst} radiographs at once")
            crowd = _burst(running, radiographs, folder / "burst", burst)
            memory = {name: round(size / 1e6) for name, size in running.peak_memory().items()}
        tell("bare networks again")
        after = bare(settings, examples, seconds)
    rate = statistics.mean((before.images_per_second, after.images_per_second))
    processor = statistics.mean((before.processor_ms, after.processor_ms))
    return {
        "single": single,
        "burst": {
            **crowd,
            "against_bare": round(crowd["images_per_second"] / rate, 3),
            #: Processor time of the bare runs by that of everything, from the last acknowledgement on.
            "processor_against_bare": round(processor / sum(crowd["processor_ms_each"]["until read"].values()), 3),
        },
        "bare": {
            "images_per_second": {"before": round(before.images_per_second, 2), "after": round(after.images_per_second, 2)},
            "processor_ms_each": {"before": round(before.processor_ms, 1), "after": round(after.processor_ms, 1)},
        },
        "milliseconds_alone": parts,
        "peak_memory_mb": memory,
    }


def _one_by_one(running: Receiver, radiographs: Radiographs, folder: Path, count: int) -> dict[str, Any]:
    waits, passages = [], []
    for number in range(count):
        coding = list(CODINGS)[number % len(CODINGS)]
        batch = radiographs.write(folder / str(number), coding, 1)
        acknowledged = _send(running, [batch])
        passages += _passages(_database(running), _studies([batch]))
        waits.append(passages[-1].finished - acknowledged)
    return {
        "tries": count,
        "seconds": _percentiles(waits),
        "stages_p50": _stages(passages),
        "ends": _ends(passages),
    }


def _burst(running: Receiver, radiographs: Radiographs, folder: Path, count: int) -> dict[str, Any]:
    batches = radiographs.burst(folder, count)
    before = running.processor_seconds()
    began = time.time()
    acknowledged = _send(running, batches)
    at_acknowledgement = running.processor_seconds()
    database, studies = _database(running), _studies(batches)
    _wait_until_read(database, studies)
    at_end = running.processor_seconds()
    passages = _passages(database, studies)
    at_objects = running.processor_seconds()
    ends = sorted(passage.finished for passage in passages)
    later = [end for end in ends if end > acknowledged]
    return {
        "count": count,
        "acknowledged_seconds": round(acknowledged - began, 2),
        "seconds": {**_percentiles([end - acknowledged for end in ends]), "last": round(ends[-1] - acknowledged, 2)},
        #: From the last acknowledgement on, of those that were not read before it.
        "images_per_second": round(len(later) / (ends[-1] - acknowledged), 2),
        "while_reading": round((count - 1) / (ends[-1] - ends[0]), 2),
        "from_the_first_byte": round(count / (ends[-1] - began), 2),
        "processor_ms_each": {
            "until acknowledged": _each(before, at_acknowledgement, count),
            "until read": _each(at_acknowledgement, at_end, count),
            "until in custody": _each(at_end, at_objects, count),
        },
        "stages_p50": _stages(passages),
        "ends": _ends(passages),
    }


def _send(running: Receiver, batches: Sequence[Batch]) -> float:
    """Send, and return when the last was acknowledged, on the machine's clock."""
    proposing = {batch.folder: CODINGS[batch.coding].proposing for batch in batches}
    folders = [batch.folder for batch in batches]
    sent: Sent = send(folders, running.port, calling=CALLING, called=running.called, proposing=proposing)
    return time.time() - (time.monotonic() - sent.began - sent.seconds)


def _passages(database: Database, studies: Sequence[str]) -> list[Passage]:
    """Wait until every study has its pre-read and the objects of those that were read are in custody; return their ways."""
    _wait_until_read(database, studies)
    without = (PreRead.state == PreReadState.READ, PreRead.sr_sop_instance_uid.is_(None))
    _wait_while(database, studies, "wait for their objects", *without)
    return [_passage(database, study) for study in studies]


def _wait_until_read(database: Database, studies: Sequence[str]) -> None:
    _wait_while(database, studies, "have no pre-read", PreRead.id.is_(None) | PreRead.state.not_in(END_STATES))


def _wait_while(database: Database, studies: Sequence[str], what: str, *such: ColumnElement[bool]) -> None:
    """Wait while there are studies that have not come, or that ``such`` is true of."""
    ours = Study.study_instance_uid.in_(studies)
    waiting = select(func.count()).select_from(Study).outerjoin(PreRead).where(ours, *such)
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        with database.reading() as session:
            missing = len(studies) - (session.scalar(select(func.count()).where(ours)) or 0)
            left = missing + (session.scalar(waiting) or 0)
        if not left:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} of {len(studies)} studies {what}.")
        time.sleep(0.02 if len(studies) == 1 else 0.3)


def _passage(database: Database, study_instance_uid: str) -> Passage:
    with database.reading() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid)).one()
        pre_read = session.scalars(select(PreRead).where(PreRead.study_id == study.id)).one()
        instance = session.scalars(select(Instance).where(Instance.study_id == study.id, Instance.door != Door.OURS)).one()
        ours = session.scalars(select(Instance.received_at).where(Instance.study_id == study.id, Instance.door == Door.OURS))
        marks = [instance.received_at, instance.compared_at, study.settled_at, pre_read.started_at, pre_read.finished_at]
        times = [_seconds(mark) for mark in [*marks, next(iter(sorted(ours)), None)] if mark is not None]
    steps = tuple(later - earlier for earlier, later in itertools.pairwise(times))
    return Passage(state=pre_read.state.value, reason=pre_read.reason, received=times[0], stages=steps, finished=times[4])


def _seconds(moment: datetime) -> float:
    return moment.astimezone(UTC).timestamp()


def _database(running: Receiver) -> Database:
    assert running.database is not None
    return running.database


def _files(batch: Batch) -> list[Path]:
    return sorted(batch.folder.iterdir())


def _studies(batches: Sequence[Batch]) -> list[str]:
    return [study_of(file) for batch in batches for file in _files(batch)]


def _stages(passages: Sequence[Passage]) -> dict[str, float]:
    return {
        stage: round(statistics.median(values), 3)
        for number, stage in enumerate(STAGES)
        if (values := [passage.stages[number] for passage in passages if len(passage.stages) > number])
    }


def _ends(passages: Sequence[Passage]) -> dict[str, int]:
    return dict(Counter(passage.reason or passage.state for passage in passages))


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 2), "p95": round(ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))], 2)
    }  # fmt: skip


def _each(before: dict[str, float], after: dict[str, float], count: int) -> dict[str, float]:
    return {name: round(1000 * (after[name] - before.get(name, 0.0)) / count, 1) for name in after}


def report(found: dict[str, Any], *, as_json: bool) -> None:
    """Print what was found as text, or as JSON."""
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    single, burst, networks = found["single"], found["burst"], found["bare"]
    waits = single["seconds"]
    typer.echo(f"one radiograph, {single['tries']} tries: p50 {waits['p50']} s, p95 {waits['p95']} s from its acknowledgement")
    typer.echo(f"  {_told(single['stages_p50'], 's')}; ends: {_told(single['ends'])}")
    typer.echo(
        f"{burst['count']} radiographs, acknowledged in {burst['acknowledged_seconds']} s: p50 {burst['seconds']['p50']} s, "
        f"p95 {burst['seconds']['p95']} s, last {burst['seconds']['last']} s after the last acknowledgement"
    )
    typer.echo(f"  {_told(burst['stages_p50'], 's')}; ends: {_told(burst['ends'])}")
    typer.echo(
        f"  {burst['images_per_second']} images/s, bare networks {_told(networks['images_per_second'])}:"
        f" {burst['against_bare']:.2f} of them"
    )
    typer.echo(
        f"  processor time of the bare networks {_told(networks['processor_ms_each'], 'ms')}:"
        f" {burst['processor_against_bare']:.2f} of all that is used until it is read"
    )
    for when, each in burst["processor_ms_each"].items():
        typer.echo(f"  processor time an image, {when}: {_told(each, 'ms')}")
    for coding, parts in found["milliseconds_alone"].items():
        typer.echo(f"alone, {coding}: {_told(parts, 'ms')}")


def _told(figures: dict[str, Any], unit: str = "") -> str:
    return ", ".join(f"{name} {value}{unit and ' '}{unit}" for name, value in figures.items())
