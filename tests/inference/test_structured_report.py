"""Pre-reads as DICOM objects: an ECG Report for an ECG, a Measurement Report for images, both clean for dciodvfy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import UID, EnhancedSRStorage, generate_uid

from core.clock import now
from core.tables import Finding, Measurement, PreRead
from inference.structured_report import pre_read_report
from tests.inference.ecg.hearts import ecg_dataset, heart, regular

ALL_NUMBERS = {
    "ecg_heart_rate": 75.2,
    "ecg_rr": 797.9,
    "ecg_pr": 162.0,
    "ecg_qrs": 92.0,
    "ecg_qt": 380.0,
    "ecg_qtc_bazett": 424.0,
    "ecg_qtc_fridericia": 409.0,
    "ecg_axis_qrs": 45.2,
    "ecg_axis_p": 50.0,
    "ecg_axis_t": 38.0,
    "ecg_sokolow_lyon": 2.113,
}
MODELS = [
    {"name": "delineator", "version": "2.1", "weights_sha256": "ab" * 32, "preprocessing": "500 Hz, 0.5 to 40 Hz"},
    {"name": "rules", "version": "3f", "weights_sha256": None, "preprocessing": "thresholds"},
]


def pre_read(numbers: dict[str, float], findings: dict[str, float | None], engine: str = "ecg") -> PreRead:
    return PreRead(
        id=7,
        study_id=1,
        revision=1,
        engine=engine,
        models=MODELS,
        measurements=[Measurement(code=code, value=value) for code, value in numbers.items()],
        findings=[Finding(code=code, probability=probability) for code, probability in findings.items()],
    )


def recording() -> Dataset:
    ecg = ecg_dataset(heart(regular(0.8)))
    ecg.SpecificCharacterSet = "ISO_IR 192"
    ecg.PatientName, ecg.PatientID = "Bai^Yun=白^云", "P1"
    ecg.StudyDate, ecg.StudyTime = "20261120", "081500"
    return ecg


def document_of(read: PreRead, headers: list[Dataset]) -> Dataset:
    return pre_read_report(read, headers, sop_instance_uid=generate_uid(), series_instance_uid=generate_uid(), made_at=now())


def walk(items: list[Dataset]) -> Iterator[Dataset]:
    for item in items:
        yield item
        yield from walk(item.get("ContentSequence", []))


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def numbers_of(document: Dataset) -> dict[tuple[str, str], float | None]:
    return {
        (item.ConceptNameCodeSequence[0].CodingSchemeDesignator, item.ConceptNameCodeSequence[0].CodeValue): (
            float(item.MeasuredValueSequence[0].NumericValue) if item.MeasuredValueSequence else None
        )
        for item in walk(document.ContentSequence)
        if item.ValueType == "NUM"
    }


def errors_of(document: Dataset, folder: Path) -> list[str]:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    file = folder / "report.dcm"
    document.save_as(file, enforce_file_format=True)
    said = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    return [line for line in (said.stderr + said.stdout).splitlines() if line.startswith("Error")]


def test_an_ecg_report_is_clean_for_dciodvfy(tmp_path: Path) -> None:
    document = document_of(pre_read(ALL_NUMBERS, {"ecg_sinus_rhythm": None, "ecg_atrial_fibrillation": 0.83}), [recording()])
    assert document.SOPClassUID == EnhancedSRStorage
    assert errors_of(document, tmp_path) == []


def test_an_ecg_without_p_waves_is_clean_for_dciodvfy_too(tmp_path: Path) -> None:
    few = {"ecg_heart_rate": 131.0, "ecg_rr": 458.0, "ecg_qrs": 88.0}
    assert errors_of(document_of(pre_read(few, {"ecg_possible_atrial_fibrillation": None}), [recording()]), tmp_path) == []
    assert errors_of(document_of(pre_read({}, {}), [recording()]), tmp_path) == []


def test_a_report_on_an_image_is_clean_for_dciodvfy(tmp_path: Path) -> None:
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)), stop_before_pixels=True)
    image.remove_private_tags()
    document = document_of(pre_read({}, {"ecg_normal": 0.9}, engine="radiograph"), [image])
    assert meaning(document) == "Imaging Measurement Report"
    assert errors_of(document, tmp_path) == []


def test_an_ecg_report_carries_the_standards_codes_and_values() -> None:
    document = document_of(pre_read(ALL_NUMBERS, {}), [recording()])
    assert meaning(document) == "ECG Report"
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "3700"
    numbers = numbers_of(document)
    assert numbers[("MDC", "2:16016")] == 75
    assert numbers[("MDC", "2:15872")] == 162
    assert numbers[("MDC", "2:16156")] == 92
    assert numbers[("MDC", "2:16160")] == 380
    assert numbers[("MDC", "2:16168")] == 798
    assert numbers[("MDC", "2:16132")] == 45
    assert numbers[("99SUMU", "ecg_sokolow_lyon")] == 2.11
    corrected = {
        item.ContentSequence[0].ConceptCodeSequence[0].CodeMeaning: float(item.MeasuredValueSequence[0].NumericValue)
        for item in walk(document.ContentSequence)
        if item.ValueType == "NUM" and meaning(item) == "QTc interval global"
    }
    assert corrected == {"Bazett QT Correction Algorithm": 424, "Fridericia QTc Algorithm": 409}


def test_a_number_that_was_not_measured_says_so_and_has_no_value() -> None:
    document = document_of(pre_read({"ecg_heart_rate": 131.0}, {}), [recording()])
    pr = next(item for item in walk(document.ContentSequence) if meaning(item) == "PR interval global")
    assert len(pr.MeasuredValueSequence) == 0
    assert pr.NumericValueQualifierCodeSequence[0].CodeMeaning == "Measurement failure"


def test_an_ecg_report_names_its_waveform_its_statements_and_every_model() -> None:
    ecg = recording()
    document = document_of(pre_read(ALL_NUMBERS, {"ecg_sinus_rhythm": None, "ecg_atrial_fibrillation": 0.834}), [ecg])
    items = list(walk(document.ContentSequence))
    waveform = next(item for item in items if item.ValueType == "WAVEFORM")
    assert waveform.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == ecg.SOPInstanceUID
    referenced = document.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert referenced.ReferencedSOPInstanceUID == ecg.SOPInstanceUID
    codes = {item.ConceptCodeSequence[0].CodeValue for item in items if meaning(item) == "ECG Finding"}
    assert codes == {"10:9216", "AFIB"}
    texts = [str(item.TextValue) for item in items if item.ValueType == "TEXT"]
    assert "窦性心律" in texts
    assert {"delineator", "2.1", "rules", f"weights SHA-256: {'ab' * 32}"} <= set(texts)
    certainty = next(item for item in items if meaning(item) == "Certainty of Finding")
    assert certainty.MeasuredValueSequence[0].NumericValue == pytest.approx(83.4)
    devices = {UID(item.UID) for item in items if meaning(item) == "Device Observer UID"}
    assert len(devices) == len(MODELS)


def test_a_document_is_a_machines_word_and_keeps_the_chinese_name(tmp_path: Path) -> None:
    document = document_of(pre_read(ALL_NUMBERS, {}), [recording()])
    assert (document.VerificationFlag, document.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    file = tmp_path / "report.dcm"
    document.save_as(file, enforce_file_format=True)
    assert pydicom.dcmread(file).PatientName.ideographic == "白^云"


@pytest.mark.parametrize("character_set", ["GB18030", "ISO_IR 100", ""])
def test_names_and_statements_survive_whatever_the_device_writes_in(tmp_path: Path, character_set: str) -> None:
    ecg = recording()
    ecg.SpecificCharacterSet = character_set
    ecg.PatientName = "Bai^Yun=白^云" if character_set == "GB18030" else "Bai^Yun"
    ecg.save_as(tmp_path / "ecg.dcm", enforce_file_format=True)
    header = pydicom.dcmread(tmp_path / "ecg.dcm")
    document = document_of(pre_read(ALL_NUMBERS, {"ecg_sinus_rhythm": None}), [header])
    document.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    written = pydicom.dcmread(tmp_path / "report.dcm")
    assert str(written.PatientName) == str(ecg.PatientName)
    assert "窦性心律" in [str(item.TextValue) for item in walk(written.ContentSequence) if item.ValueType == "TEXT"]


def test_an_ecg_whose_device_left_elements_out_gets_its_report_all_the_same() -> None:
    ecg = recording()
    for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "StudyTime", "AccessionNumber"):
        if keyword in ecg:
            delattr(ecg, keyword)
    assert document_of(pre_read(ALL_NUMBERS, {}), [ecg]).PatientID == "P1"
    assert "StudyID" not in ecg, "the header that came in stays as it was"
