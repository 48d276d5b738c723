"""A signed ECG report as a DICOM document: whose word each number is, and what the judges think of the whole."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import EnhancedSRStorage, generate_uid

from inference.ecg_signed_object import Doctor, SignedEcg, signed_ecg_report
from tests.inference.test_structured_report import MODELS, errors_of, meaning, numbers_of, recording, walk

SIGNED_AT = datetime(2026, 11, 25, 16, 30, tzinfo=timezone(timedelta(hours=8)))
BY_HAND = ("ecg_pr", "ecg_qrs", "ecg_qt", "ecg_qtc_bazett", "ecg_qtc_fridericia")


def signed(**more: Any) -> SignedEcg:
    """Return a report of a heart without P waves in which a doctor has measured QRS and QT."""
    said: dict[str, Any] = {
        "number": 1,
        "language": "zh",
        "findings": "窦性心律。\nQT 间期延长。",
        "impression": "QT 间期延长",
        "signer": Doctor(name="王医生", organisation="县医院"),
        "numbers": {"ecg_heart_rate": 75.0, "ecg_rr": 800.0, "ecg_qrs": 92.0, "ecg_qt": 440.0, "ecg_qtc_bazett": 492.0},
        "by_hand": BY_HAND,
        "measured_by": Doctor(name="Li Second", organisation="县医院"),
        "machine": MODELS[0],
        "accepted": ("ecg_sinus_rhythm",),
    }
    return SignedEcg(**{**said, **more})


def document_of(report: SignedEcg, replaces: Dataset | None = None) -> Dataset:
    uids = {"sop_instance_uid": generate_uid(), "series_instance_uid": generate_uid()}
    return signed_ecg_report(report, [recording()], made_at=SIGNED_AT, replaces=replaces, **uids)


def below(document: Dataset, name: str) -> dict[str, str]:
    """Return what stands below a number, by its name."""
    number = next(item for item in walk(document.ContentSequence) if item.ValueType == "NUM" and meaning(item) == name)
    told = {}
    for item in number.get("ContentSequence", []):
        coded = item.get("ConceptCodeSequence")
        value = coded[0].CodeMeaning if coded else item.get("PersonName") or item.get("TextValue") or item.get("UID")
        told[meaning(item)] = str(value)
    return told


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_signed_report_is_clean_for_dciodvfy(tmp_path: Path, language: str) -> None:
    assert errors_of(document_of(signed(language=language)), tmp_path) == []
    assert errors_of(document_of(signed(numbers={}, by_hand=(), measured_by=None, machine=None, accepted=())), tmp_path) == []


def test_dcmtk_finds_every_relationship_allowed(tmp_path: Path) -> None:
    program = shutil.which("dsrdump")
    if program is None:
        pytest.skip("dsrdump (dcmtk) is not installed")
    document_of(signed()).save_as(tmp_path / "signed.dcm", enforce_file_format=True)
    said = subprocess.run([program, str(tmp_path / "signed.dcm")], capture_output=True, check=False)
    assert said.returncode == 0, said.stderr
    assert "Wang Yi Sheng^=王医生".encode() in said.stdout


def test_a_signed_report_is_final_and_verified_by_its_doctor() -> None:
    document = document_of(signed())
    assert document.SOPClassUID == EnhancedSRStorage
    assert (document.PreliminaryFlag, document.VerificationFlag, document.CompletionFlag) == ("FINAL", "VERIFIED", "COMPLETE")
    (observer,) = document.VerifyingObserverSequence
    assert observer.VerifyingObserverName.ideographic == "王医生"
    assert str(observer.VerificationDateTime) == "20261125163000+0800"
    assert (str(document.ContentDate), document.TimezoneOffsetFromUTC) == ("20261125", "+0800")


def test_each_number_says_who_measured_it() -> None:
    document = document_of(signed())
    assert numbers_of(document)[("MDC", "2:16160")] == 440
    doctor = below(document, "QT interval global")
    assert doctor["Observer Type"] == "Person"
    assert doctor["Person Observer Name"] == "Li Second^"
    assert doctor["Measurement Method"] == "Median"
    machine = below(document, "Ventricular Heart Rate")
    assert (machine["Observer Type"], machine["Device Observer Name"]) == ("Device", "delineator")
    assert "Person Observer Name" not in machine
    corrected = below(document, "QTc interval global")
    assert (corrected["Algorithm Name"], corrected["Observer Type"]) == ("Bazett QT Correction Algorithm", "Person")


def test_a_wave_that_the_doctor_did_not_see_is_the_doctors_word_too() -> None:
    document = document_of(signed())
    assert numbers_of(document)[("MDC", "2:15872")] is None
    assert below(document, "PR interval global")["Person Observer Name"] == "Li Second^"


def test_it_carries_the_accepted_statements_and_the_doctors_text() -> None:
    items = list(walk(document_of(signed()).ContentSequence))
    assert [
        item.ConceptCodeSequence[0].CodeValue for item in items if item.ValueType == "CODE" and meaning(item) == "ECG Finding"
    ] == ["10:9216"]
    texts = {meaning(item): item.TextValue for item in items if item.ValueType == "TEXT"}
    assert texts["ECG Finding"] == "窦性心律。\nQT 间期延长。"
    assert texts["Summary"] == "QT 间期延长"


def test_an_addendum_names_the_document_before(tmp_path: Path) -> None:
    first = document_of(signed())
    second = document_of(signed(number=2), replaces=first)
    (study,) = second.PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
    assert second.InstanceNumber == 2
    assert errors_of(second, tmp_path) == []
