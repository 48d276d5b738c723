"""The engine's model runs without the engine: recorded while it reads, then repeated with nothing around them."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import onnxruntime
from pydicom import dcmread

from core.errors import SumuError
from core.settings import Settings
from inference.engine import Engine, InstanceFile, StudyFiles
from inference.isolation.pool import places
from inference.radiograph.rendering import displayed
from inference.roster import engines_of

ENGINE = "radiograph"


class EngineNotRun(SumuError):
    """The engine could not read the images of the measurement."""

    def __init__(self, engine: str) -> None:
        super().__init__(
            f"The engine '{engine}' could not read the images of this measurement.",
            remedy="What it said stands above; look at its models with `sumu model list`.",
        )


#: One call of ``session.run``, ready to be made again.
Call = Callable[[], Any]


@dataclass(frozen=True, kw_only=True)
class Alone:
    """Milliseconds that one image takes of one process that does nothing else; medians, by coding."""

    #: Decoding and windowing.
    decode: float
    #: All model runs.
    run: float
    #: The rest of the engine: preparing the inputs, measuring the outlines, saying it.
    rest: float


@dataclass(frozen=True, kw_only=True)
class Bare:
    """What the model runs reach with nothing around them."""

    images_per_second: float
    #: Processor time of one image, in milliseconds.
    processor_ms: float


def bare(settings: Settings, files: Sequence[Path], seconds: float) -> Bare:
    """Measure the recorded runs alone, in as many processes at once as the worker has lanes."""
    processes, lanes = places(settings.pre_read)
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(processes * lanes)
    results = spawn.SimpleQueue()
    children = [
        spawn.Process(target=_repeat, args=(settings, list(files), seconds, start, results)) for _ in range(processes * lanes)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join()
        if child.exitcode:
            for other in children:
                other.kill()
            raise EngineNotRun(ENGINE)
    found = [results.get() for _ in children]
    rate = sum(count / taken for count, taken, _ in found)
    return Bare(images_per_second=rate, processor_ms=1000 * sum(used for *_, used in found) / sum(count for count, *_ in found))


def alone(settings: Settings, file: Path, times: int) -> Alone:
    """Measure one image part by part."""
    engine = engines_of(settings)[ENGINE]
    study = _study(file)
    calls = recorded(engine, study)
    decode = _median(lambda: displayed(file), times)
    run = _median(lambda: [call() for call in calls], times)
    whole = _median(lambda: engine.read(study), times)
    return Alone(decode=decode, run=run, rest=max(0.0, whole - decode - run))


def recorded(engine: Engine, study: StudyFiles) -> list[Call]:
    """Return the model runs that reading this study takes."""
    engine.read(study)  # what is made at the first reading is no part of it
    original, calls = onnxruntime.InferenceSession.run, []

    def recording(session: Any, outputs: Any, feeds: Any, options: Any = None) -> Any:
        calls.append(lambda: original(session, outputs, feeds, options))
        return original(session, outputs, feeds, options)

    onnxruntime.InferenceSession.run = recording
    try:
        engine.read(study)
    finally:
        onnxruntime.InferenceSession.run = original
    return calls


def _repeat(settings: Settings, files: list[Path], seconds: float, start: Barrier, results: Any) -> None:
    os.nice(10)  # as the worker is
    engine = engines_of(settings)[ENGINE]
    images = [recorded(engine, _study(file)) for file in files]
    start.wait()
    began, used, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - began < seconds:
        for call in images[count % len(images)]:
            call()
        count += 1
    results.put((count, time.monotonic() - began, time.process_time() - used))


def _study(file: Path) -> StudyFiles:
    header = dcmread(file, stop_before_pixels=True)
    return StudyFiles(study_instance_uid=str(header.StudyInstanceUID), instances=(InstanceFile(path=file, header=header),))


def _median(work: Callable[[], Any], times: int) -> float:
    """Return milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)[len(taken) // 2]
