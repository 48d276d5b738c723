"""What machines printed stands in the object as they printed it, and is found in objects of other makers too."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread, examples

from inference.ecg.device import device_evidence
from inference.ecg.waveform import read_ecg
from pacs_bridge.ecg.codes import code_item
from pacs_bridge.ecg.convert import convert_ecg, ecg_source
from pacs_bridge.ecg.printed import annotations_of, printed_in
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.recording import PrintedMeasurements
from tests.pacs_bridge.ecg import machine_files as machines

EVERYTHING = PrintedMeasurements(
    heart_rate=72,
    rr_ms=833.5,
    pr_ms=150,
    qrs_ms=90,
    qt_ms=380,
    qtc_ms=416,
    qtc_bazett_ms=417,
    qtc_fridericia_ms=403,
    p_axis=0,
    qrs_axis=-12,
    t_axis=30,
    statements=("窦性心律", "ST段抬高（提示心室早期复极）", "** ABNORMAL **"),
)


def number(
    value: float | str, concept: tuple[str, str, str], unit: str = "ms", channels: tuple[int, ...] = (1, 0), **more: Any
) -> Dataset:
    """An item of another maker."""
    item = Dataset()
    code, scheme, meaning = concept
    item.ConceptNameCodeSequence = [code_item(code[:16], scheme, meaning)]
    if len(code) > 16:
        del item.ConceptNameCodeSequence[0].CodeValue
        item.ConceptNameCodeSequence[0].LongCodeValue = code
    item.MeasurementUnitsCodeSequence = [code_item(unit, "UCUM", unit)]
    item.NumericValue = str(value)
    item.ReferencedWaveformChannels, item.AnnotationGroupNumber = list(channels), 1
    for keyword, content in more.items():
        setattr(item, keyword, content)
    return item


def found_in(*items: Dataset) -> PrintedMeasurements:
    ecg = Dataset()
    ecg.WaveformAnnotationSequence = list(items)
    return printed_in(ecg)


def test_everything_comes_back_as_it_was_printed() -> None:
    assert found_in(*annotations_of(EVERYTHING)) == EVERYTHING
    assert found_in() == PrintedMeasurements()
    assert printed_in(Dataset()) == PrintedMeasurements()


PRINTED = {
    machines.muse: PrintedMeasurements(
        heart_rate=72, pr_ms=150, qrs_ms=90, qt_ms=380, qtc_ms=416, p_axis=40, qrs_axis=-12, t_axis=30, statements=("窦性心律",)
    ),
    machines.cardiosoft: PrintedMeasurements(
        heart_rate=60, pr_ms=140, qrs_ms=94, qt_ms=400, qtc_ms=400, qrs_axis=83, statements=("窦性心律",)
    ),
    machines.mortara: PrintedMeasurements(
        heart_rate=61, pr_ms=160, qrs_ms=88, qt_ms=400, qtc_ms=403, p_axis=20, qrs_axis=30, t_axis=25,
        statements=("NORMAL SINUS RHYTHM",),
    ),
    machines.scp: PrintedMeasurements(
        rr_ms=833, pr_ms=148, qrs_ms=120, qt_ms=420, p_axis=44, qrs_axis=-61, t_axis=86, statements=("窦性心律",)
    ),
    machines.hl7: PrintedMeasurements(
        heart_rate=66, pr_ms=148, qrs_ms=96, qt_ms=402, qtc_bazett_ms=421, qrs_axis=-61,
        statements=("Sinus Rhythm", "左前分支阻滞"),
    ),
    machines.sierra: PrintedMeasurements(
        heart_rate=41, rr_ms=1463, pr_ms=144, qrs_ms=102, qt_ms=564, qtc_bazett_ms=466, p_axis=19,
        statements=("窦性心动过缓 V-rate<60",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("write", PRINTED, ids=lambda write: write.__name__)
def test_what_a_machine_printed_is_what_the_pre_read_finds(write: Callable[..., Path], tmp_path: Path) -> None:
    file = write(tmp_path, machines.eight_leads())
    recording = read_recording(file)
    assert recording.printed == PRINTED[write]
    ecg = read_ecg(convert_ecg(ecg_source(file), tmp_path, timezone="Asia/Shanghai").path)
    assert ecg.printed == recording.printed
    evidence = device_evidence(ecg)
    assert evidence is not None
    assert evidence["values"]["ecg_pr"] == recording.printed.pr_ms
    assert evidence["statements"] == list(recording.printed.statements)
    assert evidence["source"] == f"{recording.device.manufacturer} {recording.device.model}".strip()


def test_a_file_without_measurements_gives_no_evidence_of_any(tmp_path: Path) -> None:
    file = machines.contec(tmp_path, machines.eight_leads())
    assert device_evidence(read_ecg(convert_ecg(ecg_source(file), tmp_path, timezone="Asia/Shanghai").path)) is None


def test_a_devices_own_object_gives_its_numbers_and_statements() -> None:
    ecg = dcmread(examples.get_path("waveform"))
    assert printed_in(ecg) == PrintedMeasurements(
        rr_ms=982, pr_ms=161, qrs_ms=75, qt_ms=368, qtc_ms=370, p_axis=74, qrs_axis=52, t_axis=57,
        statements=("RITMO SINUSALE", "ECG NORMALE"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "concept",
    [
        ("2:15872", "MDC", "PR interval global"),
        ("146944", "MDC", "PR interval global"),
        ("MDC_ECG_TIME_PD_PR_GL", "MDC", ""),
        ("5.13.5-7", "SCPECG", "PR Interval"),
        ("PQ-1", "99MAKER", "PQ duration"),
        ("PR", "99MAKER", "pr  interval"),
    ],
)
def test_codes_of_the_standards_and_a_makers_words_are_understood(concept: tuple[str, str, str]) -> None:
    assert found_in(number(161, concept)) == PrintedMeasurements(pr_ms=161)


def test_corrected_qt_is_no_qt_and_its_formulas_are_kept_apart() -> None:
    found = found_in(
        number(444, ("a", "99MAKER", "QTc Interval")),
        number(441, ("b", "99MAKER", "QTcB")),
        number(430, ("c", "99MAKER", "QTc global using Fredericia formula")),
        number(400, ("d", "99MAKER", "QT Interval")),
    )
    assert found == PrintedMeasurements(qt_ms=400, qtc_ms=444, qtc_bazett_ms=441, qtc_fridericia_ms=430)


@pytest.mark.parametrize(
    "item",
    [
        number(0, ("2:15872", "MDC", "PR interval global")),
        number(29999, ("2:15872", "MDC", "PR interval global")),
        number(999, ("2:16132", "MDC", "QRS axis"), "deg"),
        number(0.161, ("2:15872", "MDC", "PR interval global"), "s"),
        number(160, ("2:7168", "MDC", "PR interval per lead")),
        number(160, ("2:15872", "MDC", "PR interval global"), channels=(1, 2)),
        number(160, ("2:15872", "MDC", "PR interval global"), TemporalRangeType="POINT"),
        number(60, ("x", "99MAKER", "Atrial rate"), "/min"),
        number(40, ("x", "99MAKER", "QT interval dispersion")),
    ],
    ids=["not measured", "SCP's none", "no angle", "another unit", "one lead", "one channel", "a moment", "atria", "dispersion"],
)
def test_what_is_no_number_of_the_whole_recording_is_passed_over(item: Dataset) -> None:
    assert found_in(item) == PrintedMeasurements()


@pytest.mark.parametrize("written", [b"", b"n/a ", b"NaN ", b"1\\2 "])
def test_a_value_that_is_no_number_stops_nothing(written: bytes, tmp_path: Path) -> None:
    ecg = Dataset()
    ecg.WaveformAnnotationSequence = [
        number(7777, ("2:15872", "MDC", "PR interval global")),
        number(90, ("2:16156", "MDC", "QRS duration global")),
    ]
    raw = BytesIO()
    ecg.save_as(raw, implicit_vr=False, little_endian=True)
    damaged = raw.getvalue().replace(b"7777", written.ljust(4))
    found = printed_in(dcmread(BytesIO(damaged), force=True))
    assert found.qrs_ms == 90
    assert found.pr_ms in (None, 1)


def test_an_axis_of_zero_is_a_number_and_the_first_of_two_holds() -> None:
    axis = ("2:16132", "MDC", "QRS axis")
    assert found_in(number(0, axis, "deg"), number(5, axis, "deg")).qrs_axis == 0


def test_a_coded_finding_is_a_statement_and_a_mark_of_a_beat_is_none() -> None:
    finding, mark = Dataset(), Dataset()
    finding.ConceptCodeSequence = [code_item("426783006", "SCT", "ECG: sinus rhythm")]
    finding.ReferencedWaveformChannels = [1, 0]
    mark.ConceptNameCodeSequence = [code_item("5.10.3-3", "SCPECG", "QRS Onset")]
    mark.ReferencedWaveformChannels, mark.TemporalRangeType = [1, 0], "POINT"
    assert found_in(finding, mark).statements == ("ECG: sinus rhythm",)
