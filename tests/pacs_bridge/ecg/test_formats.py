"""Every format gives back what its machine wrote, and what cannot be read says what it is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest

from pacs_bridge.ecg.formats import UnreadableEcg, format_of
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.recording import LEADS, MISSING
from tests.pacs_bridge.ecg import machine_files as machines

#: Each writer with the name of its format, and the size of its step in microvolts.
WRITERS: list[tuple[Callable[..., Path], str, float]] = [
    (machines.muse, "GE MUSE XML", 4.88),
    (machines.hl7, "HL7 aECG", 2.5),
    (machines.sierra, "Philips Sierra XML", 5.0),
    (machines.mortara, "Mortara ELI XML", 2.5),
    (machines.cardiosoft, "GE CardioSoft XML", 5.0),
    (machines.contec, "Contec ECG90A", 5.0),
    (machines.edf, "EDF", 0.5),
    (machines.wfdb, "WFDB", 5.0),
    (machines.scp, "SCP-ECG", 4.88),
]
each_format = pytest.mark.parametrize(("write", "name", "step"), WRITERS, ids=[name for _, name, _ in WRITERS])
TAKEN = datetime(2026, 11, 24, 8, 15, 30)  # noqa: DTZ001 - a machine's wall clock


@each_format
def test_samples_and_units_are_those_that_were_written(
    write: Callable[..., Path], name: str, step: float, tmp_path: Path
) -> None:
    written = machines.eight_leads()
    file = write(tmp_path, written)
    assert format_of(file).name == name
    recording = read_recording(file)
    assert recording.format == name
    assert [lead.name for lead in recording.leads] == list(LEADS)
    assert recording.sampling_rate == (800 if name == "Contec ECG90A" else machines.RATE)
    for lead, samples in written.items():
        got = recording.lead(lead)
        assert got is not None
        assert got.microvolts == pytest.approx(samples * step, abs=1e-9), lead
    assert recording.taken_at == TAKEN


@each_format
def test_limb_leads_that_are_not_stored_are_computed_without_rounding(
    write: Callable[..., Path], name: str, step: float, tmp_path: Path
) -> None:
    recording = read_recording(write(tmp_path, machines.eight_leads()))
    one, two, three, right, left, foot = (recording.leads[index].microvolts for index in range(6))
    for computed, expected in ((three, two - one), (right, -(one + two) / 2), (left, one - two / 2), (foot, two - one / 2)):
        assert computed == pytest.approx(expected, abs=1e-6)
    assert recording.leads[3].computed_from


@pytest.mark.parametrize("write", [machines.hl7, machines.muse, machines.sierra, machines.mortara, machines.cardiosoft])
def test_twelve_stored_leads_stay_as_the_machine_rounded_them(write: Callable[..., Path], tmp_path: Path) -> None:
    written = machines.twelve_leads()
    recording = read_recording(write(tmp_path, written))
    assert [lead.name for lead in recording.leads] == list(LEADS)
    assert not any(lead.computed_from for lead in recording.leads)
    for lead in recording.leads:
        assert np.array_equal(lead.samples, written[lead.name])


@pytest.mark.parametrize("encoding", ["utf-8", "gb2312", "gbk", "gb18030", "utf-16"])
def test_chinese_names_survive_the_encodings_that_machines_declare(encoding: str, tmp_path: Path) -> None:
    recording = read_recording(machines.muse(tmp_path, machines.eight_leads(), encoding=encoding))
    assert recording.patient.family_name == "王小明"
    assert recording.printed.statements == ("窦性心律",)


def test_gbk_without_a_declaration_is_read_as_what_it_is(tmp_path: Path) -> None:
    file = machines.muse(tmp_path, machines.eight_leads())
    text = file.read_text(encoding="utf-8").replace('encoding="UTF-8"', "")
    file.write_bytes(text.encode("gbk"))
    assert read_recording(file).patient.family_name == "王小明"


def test_what_a_machine_says_of_patient_filters_and_its_measurements_is_kept(tmp_path: Path) -> None:
    told = read_recording(machines.muse(tmp_path, machines.eight_leads()))
    assert (told.patient.identifier, told.patient.sex, told.patient.age_years) == ("M0001", "F", 63)
    assert told.patient.birth_date == date(1961, 2, 3)
    assert (told.filters.low_hz, told.filters.high_hz, told.filters.notch_hz) == (0.05, 150, 50)
    printed = told.printed
    assert (printed.heart_rate, printed.pr_ms, printed.qrs_ms, printed.qt_ms, printed.qtc_ms) == (72, 150, 90, 380, 416)
    assert (printed.p_axis, printed.qrs_axis, printed.t_axis) == (40, -12, 30)

    told = read_recording(machines.cardiosoft(tmp_path, machines.eight_leads()))
    assert (told.patient.family_name, told.patient.given_name, told.patient.age_years) == ("周", "八", 47)
    assert (told.filters.low_hz, told.filters.high_hz, told.filters.notch_hz) == (0.01, 100, 50)
    assert (told.printed.heart_rate, told.printed.pr_ms, told.printed.qrs_axis) == (60, 140, 83)
    assert told.printed.statements == ("窦性心律",)

    told = read_recording(machines.scp(tmp_path, machines.eight_leads()))
    assert (told.patient.family_name, told.patient.given_name, told.patient.sex) == ("孙", "九", "F")
    assert (told.filters.low_hz, told.filters.high_hz, told.filters.notch_hz) == (0.05, 150, 50)
    assert (told.printed.pr_ms, told.printed.qrs_ms, told.printed.qt_ms, told.printed.rr_ms) == (148, 120, 420, 833)

    told = read_recording(machines.contec(tmp_path, machines.eight_leads()))
    assert (told.patient.family_name, told.patient.sex, told.patient.age_years) == ("王秀英", "F", 70)

    told = read_recording(machines.edf(tmp_path, machines.eight_leads()))
    assert (told.patient.identifier, told.patient.family_name, told.filters.notch_hz) == ("E-77", "Wang", 50)
    assert any("Resp" in note for note in told.notes)

    told = read_recording(machines.mortara(tmp_path, machines.eight_leads()))
    assert (told.printed.heart_rate, told.printed.qtc_ms, told.patient.age_years) == (61, 403, 55)


@pytest.mark.parametrize("version", ["1.03", "1.04"])
def test_the_calibration_mark_of_a_pagewriter_is_not_a_heartbeat(version: str, tmp_path: Path) -> None:
    written = machines.twelve_leads()
    recording = read_recording(machines.sierra(tmp_path, written, version=version, mark=True))
    assert recording.length == machines.LENGTH
    assert np.array_equal(recording.leads[0].samples, written["I"])
    assert any("calibration mark" in note for note in recording.notes)


def test_compressed_sierra_leads_are_rebuilt_to_the_step(tmp_path: Path) -> None:
    written = machines.twelve_leads(300)
    recording = read_recording(machines.sierra(tmp_path, written, compressed=True))
    for lead in recording.leads:
        assert np.array_equal(lead.samples, written[lead.name]), lead.name


def test_a_rate_that_is_no_whole_number_stays_exact(tmp_path: Path) -> None:
    assert read_recording(machines.scp(tmp_path, machines.eight_leads(), interval=3906)).sampling_rate == 1e6 / 3906
    assert read_recording(machines.wfdb(tmp_path, machines.eight_leads(), rate="257.5")).sampling_rate == 257.5
    assert read_recording(machines.hl7(tmp_path, machines.eight_leads(), increment="0.0039")).sampling_rate == pytest.approx(
        1 / 0.0039, abs=1e-5
    )


def test_leads_without_electrode_are_left_out_and_told(tmp_path: Path) -> None:
    chest = ("V1", "V2", "V3", "V4", "V5", "V6")
    recording = read_recording(machines.contec(tmp_path, machines.eight_leads(), off=chest))
    assert [lead.name for lead in recording.leads] == list(LEADS[:6])
    assert recording.notes[0] == "No electrode on V1, V2, V3, V4, V5, V6."


def test_samples_that_a_wfdb_record_calls_invalid_are_missing(tmp_path: Path) -> None:
    leads = machines.eight_leads()
    leads["V1"][10:20] = -32768
    recording = read_recording(machines.wfdb(tmp_path, leads))
    lead = recording.lead("V1")
    assert lead is not None
    assert (lead.samples[10:20] == MISSING).all()
    assert not (lead.samples[20:] == MISSING).any()


def _cut(file: Path) -> Path:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    return file


@pytest.mark.parametrize(("write", "name"), [(write, name) for write, name, _ in WRITERS if name not in ("EDF", "Contec ECG90A")])
def test_half_a_file_is_refused_by_the_name_of_its_format(write: Callable[..., Path], name: str, tmp_path: Path) -> None:
    file = write(tmp_path, machines.eight_leads())
    _cut(tmp_path / "r1.dat" if name == "WFDB" else file)
    with pytest.raises(UnreadableEcg, match=f"is {name}; ") as refusal:
        read_recording(file)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"", "x.ecg", "is empty"),
        (b"%PDF-1.7 ...", "x.pdf", "PDF document; a picture of an ECG has no samples"),
        (b"ISHNE1.0" + bytes(600), "x.ecg", "ISHNE Holter; there is no reader"),
        (b"<?xml version='1.0'?><SchillerECG/>", "x.xml", "XML with the root <SchillerECG>; there is no reader"),
        (b"\x01\x02\x03 something else", "x.dat", "not known here"),
        (b"PK\x03\x04", "x.zip", "ZIP archive"),
    ],
)
def test_what_is_no_ecg_is_named(content: bytes, name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableEcg, match=says) as refusal:
        read_recording(tmp_path / name)
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (("<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>", ""), "no amplitude scale"),
        (("<SampleBase>500</SampleBase>", ""), "SampleBase"),
        (("<WaveformType>Rhythm</WaveformType>", "<WaveformType>Median</WaveformType>"), "rhythm"),
        (("<RestingECG>", '<!DOCTYPE x [<!ENTITY a "aaaa">]><RestingECG>'), "entities|malformed"),
    ],
)
def test_what_is_missing_in_a_known_format_is_named(damage: tuple[str, str], says: str, tmp_path: Path) -> None:
    file = machines.muse(tmp_path, machines.eight_leads())
    file.write_text(file.read_text(encoding="utf-8").replace(*damage), encoding="utf-8")
    with pytest.raises(UnreadableEcg, match=f"(?i)GE MUSE XML; .*({says})"):
        read_recording(file)


def test_an_entity_that_reaches_for_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    file = machines.hl7(tmp_path, machines.eight_leads())
    text = file.read_text(encoding="utf-8").replace(
        "<AnnotatedECG", f'<!DOCTYPE AnnotatedECG [<!ENTITY x SYSTEM "file://{tmp_path}/secret">]><AnnotatedECG', 1
    )
    file.write_text(text.replace("<family>李", "<family>&x;"), encoding="utf-8")
    with pytest.raises(UnreadableEcg, match="entities"):
        read_recording(file)


@pytest.mark.parametrize("named", ["../r1.dat", "/etc/hostname", "sub/r1.dat"])
def test_a_wfdb_header_cannot_reach_out_of_its_folder(named: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableEcg, match="outside of its folder"):
        read_recording(machines.wfdb(tmp_path, machines.eight_leads(), file=named))


def test_a_wfdb_header_without_its_signals_says_which_file_is_missing(tmp_path: Path) -> None:
    file = machines.wfdb(tmp_path, machines.eight_leads())
    (tmp_path / "r1.dat").unlink()
    with pytest.raises(UnreadableEcg, match=r"r1\.dat is missing"):
        read_recording(file)


def test_a_header_that_claims_a_month_of_samples_reserves_no_memory_for_it(tmp_path: Path) -> None:
    file = machines.wfdb(tmp_path, machines.eight_leads())
    text = file.read_text("utf-8").replace("r1 8 500 1000", "r1 8 500 90000000000").replace("r1.dat 16", "~ 0", 1)
    file.write_text(text, "utf-8")
    with pytest.raises(UnreadableEcg, match="claims more than"):
        read_recording(file)
