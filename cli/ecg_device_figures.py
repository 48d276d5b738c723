"""Our measurements beside those that devices wrote into their files, and the seconds from file to statements."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from pydicom import Dataset, dcmread, examples

from inference.ecg.engine import EcgEngine
from inference.ecg.waveform import read_ecg
from inference.engine import Outcome
from pacs_bridge.ecg.convert import convert_ecg, ecg_source
from pacs_bridge.ecg.formats import UnreadableEcg

#: What an annotation's words call each measurement (SCP-ECG, MDC), and our code.
_WORDS = {
    "rr": (r"RR interval", "ecg_rr"),
    "pr": (r"PR interval", "ecg_pr"),
    "qrs": (r"QRS duration", "ecg_qrs"),
    "qt": (r"QT interval", "ecg_qt"),
    "axis_p": (r"P.*axis", "ecg_axis_p"),
    "axis_qrs": (r"QRS.*axis", "ecg_axis_qrs"),
    "axis_t": (r"T.*axis", "ecg_axis_t"),
}
_TIMES = 5


def device_figures(folder: Path, engine: EcgEngine) -> list[dict[str, Any]]:
    """Read every file of ``folder`` that is an ECG and carries measurements; beside them pydicom's own example of a device."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        for file in sorted(folder.iterdir()):
            try:
                path = convert_ecg(ecg_source(file), Path(place), timezone="Asia/Shanghai").path
            except UnreadableEcg:
                continue
            rows.append(_row(file.name, path, engine))
        rows = [row for row in rows if row["device"]]
        return [*rows, _row("pydicom's waveform_ecg.dcm", device_example(), engine)] if rows else []


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


def printed_measurements(dataset: Dataset) -> dict[str, float]:
    """Return what the device measured, by our short names, from the object's annotations (PS3.3 C.10.10).

    Zero means not measured.
    """
    found: dict[str, float] = {}
    for annotation in dataset.get("WaveformAnnotationSequence") or []:
        value, concepts = annotation.get("NumericValue"), annotation.get("ConceptNameCodeSequence") or []
        words = str(concepts[0].get("CodeMeaning", "")) if concepts else ""
        for name, (pattern, _) in _WORDS.items():
            if value and name not in found and re.match(pattern, words, re.IGNORECASE):
                found[name] = float(value)
    return found


def _row(name: str, path: Path, engine: EcgEngine) -> dict[str, Any]:
    reading = engine.read_recording(read_ecg(path))
    ours = {number.code: number.value for number in reading.measurements}
    device = printed_measurements(dcmread(path, stop_before_pixels=True))
    both = {short: round(ours[code]) for short, (_, code) in _WORDS.items() if short in device and code in ours}
    return {
        "file": name,
        "read": reading.outcome is Outcome.READ,
        "device": {short: round(value) for short, value in device.items()},
        "ours": both,
        "difference": {short: value - round(device[short]) for short, value in both.items()},
    }


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
