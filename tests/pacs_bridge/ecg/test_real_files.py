"""Files of real machines against what is known of them from elsewhere: their printed measurements, a second format, a CSV."""

from __future__ import annotations

import base64
import lzma
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from defusedxml.ElementTree import parse  # type: ignore[import-untyped]

from inference.ecg.waveform import read_ecg
from pacs_bridge.ecg.convert import convert_ecg, ecg_source
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.recording import EcgRecording
from tests.pacs_bridge.ecg.test_dicom import complaints

FOLDER = Path(__file__).parents[4] / "shared" / "data" / "ecg" / "formats"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the real files of ECG machines are not on this machine")
FILES = ["aecg_subject1_0.xml", "contec_0000050.ECG", "muse_guangxi.xml", "philips_sierra_1_04.xml", "scp_example.scp"]


def steps(recording: EcgRecording, name: str) -> npt.NDArray[np.int32]:
    lead = recording.lead(name)
    assert lead is not None
    return lead.samples


def microvolts(recording: EcgRecording, name: str) -> npt.NDArray[np.float64]:
    lead = recording.lead(name)
    assert lead is not None
    return lead.microvolts


@pytest.mark.parametrize("name", FILES)
def test_it_becomes_a_valid_object_with_the_same_samples(name: str, tmp_path: Path) -> None:
    recording = read_recording(FOLDER / name)
    path = convert_ecg(ecg_source(FOLDER / name), tmp_path, timezone="Asia/Shanghai").path
    assert complaints(path) == []
    ecg = read_ecg(path)
    assert ecg.sampling_rate == recording.sampling_rate
    for lead in recording.leads:
        read = ecg.lead(lead.name)
        assert read is not None
        assert np.abs(read - lead.microvolts).max() < lead.microvolts_per_step / 100


def test_contec_agrees_with_its_csv() -> None:
    recording = read_recording(FOLDER / "contec_0000050.ECG")
    rows = lzma.decompress((FOLDER / "contec_0000050.csv.xz").read_bytes()).decode().splitlines()
    table = np.array([row.split(",")[:6] for row in rows], int)
    assert recording.length == len(table)
    for column, name in enumerate(("I", "II", "III", "aVR", "aVL", "aVF")):
        # The CSV cuts halves of augmented leads off; a step is 5 µV.
        assert np.abs(microvolts(recording, name) / 5 - table[:, column]).max() <= (0 if column < 3 else 0.5)


def test_muse_agrees_with_its_own_base64_and_the_times_of_its_beats() -> None:
    recording = read_recording(FOLDER / "muse_guangxi.xml")
    root = parse(FOLDER / "muse_guangxi.xml").getroot()
    rhythm = next(wave for wave in root.findall("Waveform") if wave.findtext("WaveformType") == "Rhythm")
    for lead in rhythm.findall("LeadData"):
        name, step = lead.findtext("LeadID"), float(lead.findtext("LeadAmplitudeUnitsPerBit"))
        raw = np.frombuffer(base64.b64decode(lead.findtext("WaveFormData")), "<i2")
        assert microvolts(recording, name) == pytest.approx(raw * step)
    # The device's own beats: where it says that a QRS is, lead II is at its steepest height.
    two = microvolts(recording, "II")
    times = [int(beat.findtext("Time")) for beat in root.findall("QRSTimesTypes/QRS")]
    assert len(times) == 16
    for time in times:
        near = two[max(time * 500 // 1000 - 40, 0) : time * 500 // 1000 + 40]
        assert near.max() - np.median(two) > 0.6 * (two.max() - np.median(two))
    printed = recording.printed
    assert (printed.heart_rate, printed.pr_ms, printed.qrs_ms, printed.qt_ms, printed.qtc_ms) == (97, 122, 74, 328, 417)
    assert (printed.p_axis, printed.qrs_axis, printed.t_axis) == (31, 63, 49)
    assert printed.statements == ("窦性心律", "ST段抬高（提示心室早期复极）")
    assert (recording.patient.age_years, recording.patient.sex, recording.device.model) == (11, "M", "MAC P")
    assert (recording.filters.low_hz, recording.filters.high_hz, recording.filters.notch_hz) == (0.56, 150, 50)


def test_scp_and_hl7_of_the_same_recording_agree_sample_by_sample() -> None:
    scp, hl7 = (read_recording(FOLDER / name) for name in ("scp_example.scp", "aecg_subject1_0.xml"))
    for lead in scp.leads:
        assert np.array_equal(lead.microvolts, microvolts(hl7, lead.name)), lead.name
    for name in ("pr_ms", "qrs_ms", "qt_ms", "qtc_ms", "p_axis", "qrs_axis", "t_axis"):
        assert getattr(scp.printed, name) == getattr(hl7.printed, name), name
    assert (hl7.printed.pr_ms, hl7.printed.qrs_ms, hl7.printed.qt_ms) == (148, 120, 420)
    assert hl7.printed.statements == ("Sinus Rhythm",)


@pytest.mark.parametrize("name", FILES)
def test_what_the_machine_printed_is_read_back_unchanged(name: str, tmp_path: Path) -> None:
    path = convert_ecg(ecg_source(FOLDER / name), tmp_path, timezone="Asia/Shanghai").path
    assert read_ecg(path).printed == read_recording(FOLDER / name).printed


def test_sierra_agrees_with_einthoven_its_calibration_mark_and_its_printed_amplitudes() -> None:
    recording = read_recording(FOLDER / "philips_sierra_1_04.xml")
    assert recording.notes == ("The calibration mark of 1 mV at its end (0.4 s) was cut off.",)
    # Each limb lead was rounded by the machine on its own: two steps are 10 µV.
    for name, a, b in (("III", -1.0, 1.0), ("aVR", -0.5, -0.5), ("aVL", 1.0, -0.5), ("aVF", -0.5, 1.0)):
        computed = a * steps(recording, "I") + b * steps(recording, "II")
        assert np.abs(steps(recording, name) - computed).max() <= 2, name
    # R waves as the machine printed them, in µV, against the tallest parts of the strip: breathing moves them by a few per cent.
    for name, height in (("II", 900), ("III", 720), ("V4", 1205), ("V5", 1000), ("V6", 675)):
        strip = microvolts(recording, name)
        assert np.percentile(strip - np.median(strip), 99.8) == pytest.approx(height, rel=0.06), name
    printed = recording.printed
    assert (printed.heart_rate, printed.rr_ms, printed.pr_ms, printed.qrs_ms, printed.qt_ms) == (41, 1463, 144, 102, 564)
    assert (printed.qtc_bazett_ms, printed.qtc_fridericia_ms) == (466, 497)
    assert (printed.p_axis, printed.qrs_axis, printed.t_axis) == (19, 85, 53)
