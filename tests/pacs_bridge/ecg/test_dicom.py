"""What becomes of a recording in DICOM: the same samples, valid objects, and the way back to the original."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import (
    AmbulatoryECGWaveformStorage,
    General32bitECGWaveformStorage,
    GeneralECGWaveformStorage,
    TwelveLeadECGWaveformStorage,
)

from inference.ecg.waveform import read_ecg
from pacs_bridge.ecg.convert import convert_ecg, ecg_source
from pacs_bridge.ecg.dicom import Provenance, ecg_object, person_name
from pacs_bridge.ecg.originals import Original
from pacs_bridge.ecg.reading import read_recording
from pacs_bridge.ecg.recording import LEADS, MISSING, EcgLead, EcgPatient, EcgRecording, Filters
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from tests.pacs_bridge.ecg import machine_files as machines
from tests.pacs_bridge.ecg.test_formats import each_format

SHANGHAI = "Asia/Shanghai"
PROVENANCE = Provenance(
    originals=(Original(name="心电.xml", sha256="ab" * 32),), written_at=datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
)


def converted(file: Path) -> Path:
    return convert_ecg(ecg_source(file), file.parent, timezone=SHANGHAI).path


def complaints(path: Path) -> list[str]:
    """What dciodvfy calls an error."""
    judged = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")]


def recording_of(*, leads: tuple[str, ...] = LEADS, length: int = 500, rate: float = 500, reach: int = 900) -> EcgRecording:
    numbers = np.random.default_rng(3)
    return EcgRecording(
        format="a test",
        leads=tuple(
            EcgLead(name=name, samples=numbers.integers(-reach, reach, length, dtype=np.int32), microvolts_per_step=1.25)
            for name in leads
        ),
        sampling_rate=rate,
        patient=EcgPatient(identifier="1", family_name="王小明"),
    )


def object_of(recording: EcgRecording) -> Dataset:
    return ecg_object(recording, PROVENANCE, timezone=SHANGHAI)


def saved(recording: EcgRecording, folder: Path) -> Path:
    object_of(recording).save_as(folder / "ecg.dcm", enforce_file_format=True)
    return folder / "ecg.dcm"


@each_format
def test_the_round_trip_loses_less_than_a_hundredth_of_a_step(
    write: Callable[..., Path], name: str, step: float, tmp_path: Path
) -> None:
    file = write(tmp_path, machines.eight_leads())
    recording = read_recording(file)
    path = converted(file)
    ecg = read_ecg(path)
    assert ecg.leads == LEADS
    assert ecg.derived == ()  # they are in the object already
    assert ecg.sampling_rate == recording.sampling_rate
    for lead in recording.leads:
        read = ecg.lead(lead.name)
        assert read is not None
        assert np.abs(read - lead.microvolts).max() < step / 100
    assert (ecg.filters.low_hz, ecg.filters.high_hz, ecg.filters.notch_hz) == (
        recording.filters.low_hz, recording.filters.high_hz, recording.filters.notch_hz,
    )  # fmt: skip
    assert complaints(path) == []


def test_patient_time_and_machine_stand_where_readers_look(tmp_path: Path) -> None:
    path = converted(machines.cardiosoft(tmp_path, machines.eight_leads()))
    facts = facts_of(read_header(path), county_timezone=SHANGHAI)
    assert (facts.patient_identifier, facts.patient_name, facts.patient_name_latin) == ("C0001", "周八", "zhou ba")
    assert (facts.sex, facts.age_years, facts.modality, facts.description) == ("M", 47, "ECG", "12导联心电图")
    assert facts.performed_at == datetime(2026, 11, 24, 0, 15, 30, tzinfo=UTC)
    ecg = pydicom.dcmread(path)
    assert ecg.SpecificCharacterSet == "ISO_IR 192"
    assert ecg.AcquisitionDateTime == "20261124081530+0800"
    assert (ecg.Manufacturer, ecg.ManufacturerModelName) == ("GE", "CardioSoft")
    (group,) = ecg.WaveformSequence
    sources = [channel.ChannelSourceSequence[0] for channel in group.ChannelDefinitionSequence]
    assert [source.CodeValue for source in sources][:4] == ["2:1", "2:2", "2:61", "2:62"]
    assert {source.CodingSchemeDesignator for source in sources} == {"MDC"}
    assert group.ChannelDefinitionSequence[2].ChannelDerivationDescription == "Computed from leads I and II"


def test_the_machines_own_measurements_and_statements_go_along(tmp_path: Path) -> None:
    ecg = pydicom.dcmread(converted(machines.muse(tmp_path, machines.eight_leads())))
    texts = [note.UnformattedTextValue for note in ecg.WaveformAnnotationSequence if "UnformattedTextValue" in note]
    numbers = {
        note.ConceptNameCodeSequence[0].CodeMeaning: (float(note.NumericValue), note.MeasurementUnitsCodeSequence[0].CodeValue)
        for note in ecg.WaveformAnnotationSequence
        if "NumericValue" in note
    }
    assert texts == ["窦性心律"]
    assert numbers["PR interval global"] == (150, "ms")
    assert numbers["QRS axis"] == (-12, "deg")
    assert numbers["Heart rate"] == (72, "/min")


def test_the_object_names_its_original(tmp_path: Path) -> None:
    source = ecg_source(machines.wfdb(tmp_path, machines.eight_leads()))
    ecg = pydicom.dcmread(convert_ecg(source, tmp_path, timezone=SHANGHAI).path)
    told = ecg.ContributingEquipmentSequence[0].ContributionDescription
    assert [original.name for original in source.provenance.originals] == ["r1.hea", "r1.dat"]
    for original in source.provenance.originals:
        assert original.sha256 in told
    assert source.sop_instance_uid == ecg.SOPInstanceUID


def test_a_file_becomes_the_same_bytes_each_time(tmp_path: Path) -> None:
    file = machines.scp(tmp_path, machines.eight_leads())
    first = dataset_digest(converted(file)).sha256
    assert dataset_digest(converted(file)).sha256 == first


@pytest.mark.parametrize(
    ("recording", "sop_class"),
    [
        (recording_of(), TwelveLeadECGWaveformStorage),
        (recording_of(length=20_000), GeneralECGWaveformStorage),
        (recording_of(leads=("II",)), GeneralECGWaveformStorage),
        (recording_of(leads=(*LEADS, "V7")), GeneralECGWaveformStorage),
        (recording_of(leads=("I", "II"), rate=128), AmbulatoryECGWaveformStorage),
        (recording_of(rate=2000), General32bitECGWaveformStorage),
        (recording_of(reach=100_000), General32bitECGWaveformStorage),
    ],
    ids=["twelve", "long", "one", "thirteen", "holter", "fast", "wide"],
)
def test_the_class_is_the_one_whose_limits_hold(recording: EcgRecording, sop_class: str, tmp_path: Path) -> None:
    path = saved(recording, tmp_path)
    assert pydicom.dcmread(path).SOPClassUID == sop_class
    ecg = read_ecg(path)
    first = recording.leads[0]
    assert ecg.lead(first.name) == pytest.approx(first.microvolts, abs=0.01)
    # dciodvfy is older than the 32-bit class.
    assert sop_class == General32bitECGWaveformStorage or complaints(path) == []


@pytest.mark.parametrize("reach", [900, 100_000], ids=["16 bits", "32 bits"])
def test_what_was_not_recorded_is_padding_and_not_a_voltage(reach: int, tmp_path: Path) -> None:
    recording = recording_of(reach=reach)
    samples = recording.leads[8].samples.copy()
    samples[100:200] = MISSING
    leads = [replace(lead, samples=samples) if lead.name == "V3" else lead for lead in recording.leads]
    ecg = read_ecg(saved(replace(recording, leads=tuple(leads)), tmp_path))
    lead = ecg.lead("V3")
    assert lead is not None
    assert not lead[100:200].any()
    assert lead[200:] == pytest.approx(samples[200:] * 1.25, abs=0.01)


def test_a_baseline_is_kept_as_a_baseline(tmp_path: Path) -> None:
    recording = recording_of()
    leads = tuple(replace(lead, microvolts_at_zero=-3.5) for lead in recording.leads)
    ecg = read_ecg(saved(replace(recording, leads=leads), tmp_path))
    assert ecg.lead("V6") == pytest.approx(leads[11].microvolts, abs=0.001)


def test_a_recording_without_a_time_does_not_invent_one(tmp_path: Path) -> None:
    ecg = object_of(recording_of())
    assert (ecg.StudyDate, ecg.StudyTime) == ("", "")
    assert ecg.AcquisitionDateTime == "20261125090000+0800"  # type 1: when the file was written, and that is said
    assert "carries no time" in ecg.ContributingEquipmentSequence[0].ContributionDescription
    assert complaints(saved(recording_of(), tmp_path)) == []


def test_filters_that_nobody_named_are_not_written() -> None:
    channel = object_of(replace(recording_of(), filters=Filters(high_hz=150))).WaveformSequence[0].ChannelDefinitionSequence[0]
    assert channel.FilterHighFrequency == 150
    assert "FilterLowFrequency" not in channel
    assert "NotchFilterFrequency" not in channel


@pytest.mark.parametrize(
    ("family", "given", "name"),
    [
        ("王小明", "", "wang xiao ming=王小明"),
        ("王", "小明", "wang^xiao ming=王^小明"),
        ("Clark", "Ann", "Clark^Ann"),
        ("", "", ""),
        ("A^B=C\\D", "", "A B C D"),
    ],
)
def test_person_names(family: str, given: str, name: str) -> None:
    assert person_name(family, given) == name
