"""Our measurements beside those that devices wrote into their files, and the seconds from file to statements."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from pydicom import examples

from inference.ecg.device import DEVICE_CODES
from inference.ecg.engine import EcgEngine
from inference.ecg.waveform import read_ecg
from inference.engine import Outcome
from pacs_bridge.ecg.convert import convert_ecg, ecg_source
from pacs_bridge.ecg.formats import UnreadableEcg
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.recording import PrintedMeasurements

_TIMES = 5


def device_figures(folder: Path, engine: EcgEngine) -> list[dict[str, Any]]:
    """Read every file of ``folder`` that is an ECG and carries measurements; beside them pydicom's own example of a device.

    Each row holds numbers by code: ``printed``, as they stand in the machine's file; ``read_back``, as the pre-read finds them in
    the object that was made of it; ``ours``, our own, rounded; ``difference``, ours less the printed one. ``equal`` says whether
    every printed number and statement was read back unchanged.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for file in sorted(folder.iterdir()):
            try:
                source = ecg_source(file)
                printed = read_recording(file).printed
                path = convert_ecg(source, Path(place), timezone="Asia/Shanghai").path
            except UnreadableEcg:
                continue
            if printed != PrintedMeasurements():
                rows.append(_row(file.name, printed, path, engine))
    if rows:
        # A DICOM object is its own file.
        example = device_example()
        rows.append(_row("pydicom's waveform_ecg.dcm", read_ecg(example).printed, example, engine))
    return rows


def speed_figures(engine: EcgEngine, file: Path | None = None) -> dict[str, float]:
    """Return the seconds from a DICOM file to statements on one core, after the networks are loaded: medians of five readings.

    ``elapsed`` is the clock on the wall, ``processor`` what the core spent; they differ where other work wants the same core.
    """
    file = file or device_example()
    engine.read_recording(read_ecg(file))
    elapsed, processor = [], []
    with _one_core():
        for _ in range(_TIMES):
            began, spent = time.perf_counter(), time.process_time()
            engine.read_recording(read_ecg(file))
            elapsed.append(time.perf_counter() - began)
            processor.append(time.process_time() - spent)
    return {"elapsed": round(median(elapsed), 3), "processor": round(median(processor), 3)}


def device_example() -> Path:
    """Return a 12-lead recording of a device, 10 s at 1000 Hz, that comes with pydicom."""
    return Path(str(examples.get_path("waveform")))


def _row(name: str, printed: PrintedMeasurements, path: Path, engine: EcgEngine) -> dict[str, Any]:
    reading = engine.read_recording(read_ecg(path))
    told = {code: value for field, code in DEVICE_CODES.items() if (value := getattr(printed, field)) is not None}
    found = reading.evidence["device"] or {"values": {}, "statements": []}
    ours = {number.code: round(number.value) for number in reading.measurements if number.code in told}
    return {
        "file": name,
        "read": reading.outcome is Outcome.READ,
        "printed": told,
        "read_back": found["values"],
        "statements": found["statements"],
        "equal": found["values"] == told and found["statements"] == list(printed.statements),
        "ours": ours,
        "difference": {code: _difference(code, value, told[code]) for code, value in ours.items()},
    }


def _difference(code: str, ours: int, printed: float) -> float:
    """Angles go the short way round."""
    return (ours - printed + 180) % 360 - 180 if "axis" in code else ours - printed


@contextmanager
def _one_core() -> Iterator[None]:
    """Hold the process on one of its cores, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
