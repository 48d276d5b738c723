"""Masks, drawings and key images of a chest's pre-read: clean for dciodvfy, over the right pixels, made once."""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from highdicom.seg import Segmentation
from pydicom import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    SegmentationStorage,
)
from sqlalchemy import select

from core.clock import now
from core.database import Database
from core.lifecycles.preread import PreReadState
from core.settings import Settings
from core.tables import Door, Finding, Instance, Measurement, PreRead, Study
from inference.dispatch import open_pre_reads
from inference.engine import InstanceFile
from inference.objects.of_pre_read import images_spoken_of, objects_of
from inference.publication import is_published, publish
from inference.radiograph.cardiothoracic import told
from pacs_bridge.completeness import evidence_of
from pacs_bridge.spool import Spool
from tests.inference.conftest import SettledStudy
from tests.inference.test_cardiothoracic import chest, outlined
from tests.inference.test_structured_report import meaning, walk

COUNTY_TIME = datetime(2026, 11, 25, 16, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
MODELS = [
    {"name": "chest_radiograph", "version": "0.1.0", "weights_sha256": "ab" * 32, "preprocessing": "224 px"},
    {"name": "heart_lung", "version": "0.1.0", "weights_sha256": "cd" * 32, "preprocessing": "256 px"},
]


def image(folder: Path, **tags: Any) -> Dataset:
    """Return the header of a chest (600 rows, 500 columns) as the workflow hands it over."""
    more = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Bai^Yun=白^云",
        "PatientID": "P1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyDate": "20261125",
        "StudyTime": "160000",
        "WindowCenter": "1900",
        "WindowWidth": "2200",
        "ImagerPixelSpacing": [0.7, 0.7],
    }
    return chest(folder, **{**more, **tags}).header


def pre_read_of(header: Dataset, *findings: Finding, key: int | None = 7, study: int = 1, **chest_says: Any) -> PreRead:
    """Return what the engine said of one chest."""
    instance = chest_instance(header)
    said = told(instance, outlined(600, 500)) | chest_says
    return PreRead(
        id=key,
        study_id=study,
        revision=1,
        engine="radiograph",
        state=PreReadState.READ,
        queued_at=datetime(2026, 11, 25, 8, tzinfo=ZoneInfo("UTC")),
        models=MODELS,
        evidence={"cardiothoracic": [said]},
        measurements=[
            Measurement(code="cardiothoracic_ratio", value=said["ratio"], sop_instance_uid=instance.sop_instance_uid),
            Measurement(
                code="right_lung_share", value=100 * said["right_lung_share"], sop_instance_uid=instance.sop_instance_uid
            ),
        ],
        findings=list(findings),
    )


def chest_instance(header: Dataset) -> InstanceFile:
    return InstanceFile(path=Path("nowhere"), header=header)


def effusion(header: Dataset, box: list[float] | None = None) -> Finding:
    region = {"sop_instance_uid": str(header.SOPInstanceUID), "frame": 1, "box": box}
    return Finding(code="chest_effusion", probability=0.31, region=region)


def by_class(documents: list[Dataset]) -> dict[str, Dataset]:
    return {str(document.SOPClassUID): document for document in documents}


def errors_of(document: Dataset, file: Path) -> list[str]:
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    document.save_as(file, enforce_file_format=True)
    said = subprocess.run([program, str(file)], capture_output=True, text=True, check=False)
    return [line for line in (said.stderr + said.stdout).splitlines() if line.startswith("Error")]


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PhotometricInterpretation": "MONOCHROME1", "PixelSpacing": [0.6, 0.6]},
        {"PatientBirthDate": "", "StudyTime": "", "WindowCenter": None, "WindowWidth": None, "ImagerPixelSpacing": None},
    ],
)
def test_every_object_is_clean_for_dciodvfy(tmp_path: Path, tags: dict[str, Any]) -> None:
    header = image(tmp_path, **tags)
    documents = objects_of(pre_read_of(header, effusion(header, [100, 300, 120, 90])), [header], made_at=COUNTY_TIME)
    assert set(by_class(documents)) == {
        Comprehensive3DSRStorage,
        SegmentationStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        KeyObjectSelectionDocumentStorage,
    }
    for number, document in enumerate(documents):
        assert errors_of(document, tmp_path / f"{number}.dcm") == [], document.SOPClassUID.name
        assert document.StudyInstanceUID == header.StudyInstanceUID
        assert str(document.PatientName) == "Bai^Yun=白^云"
        assert document.TimezoneOffsetFromUTC == "+0800", "of all times in it, the device's too"


def test_the_masks_lie_where_the_outlines_are(tmp_path: Path) -> None:
    header = image(tmp_path)
    pre_read = pre_read_of(header)
    document = by_class(objects_of(pre_read, [header], made_at=COUNTY_TIME))[SegmentationStorage]
    assert isinstance(document, Segmentation)
    named = {
        str(segment.SegmentLabel): (
            segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName,
        )
        for segment in document.SegmentSequence
    }
    assert named == {
        "Right lung": ("3341006", "heart_lung"),
        "Left lung": ("44029006", "heart_lung"),
        "Heart": ("80891009", "heart_lung"),
    }
    assert (document.Rows, document.Columns) == (600, 500)
    source = document.SharedFunctionalGroupsSequence[0].get("DerivationImageSequence") or (
        document.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    )
    assert source[0].SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    [said] = pre_read.evidence["cardiothoracic"]
    for frame, name in zip(document.pixel_array, ("right_lung", "left_lung", "heart"), strict=True):
        columns = np.flatnonzero(frame.any(axis=0))
        across = [x for x, _ in said["outlines"][name]]
        assert (columns[0], columns[-1] + 1) == pytest.approx((min(across), max(across)), abs=1)
        assert frame.mean() == pytest.approx(said["areas"][name], rel=0.05)


def test_the_drawing_holds_the_three_lines_the_ratio_and_the_finding_in_its_box(tmp_path: Path) -> None:
    header = image(tmp_path)
    pre_read = pre_read_of(header, effusion(header, [400, 500, 200, 90]))
    state = by_class(objects_of(pre_read, [header], made_at=COUNTY_TIME))[GrayscaleSoftcopyPresentationStateStorage]
    lines, boxes = state.GraphicAnnotationSequence
    [said] = pre_read.evidence["cardiothoracic"]
    drawn = [np.reshape(one.GraphicData, (-1, 2)).tolist() for one in lines.GraphicObjectSequence]
    assert drawn == [pytest.approx(np.asarray(line)) for line in said["lines"].values()]
    assert lines.TextObjectSequence[0].UnformattedTextValue == f"CTR {said['ratio']:.2f}"
    [box] = boxes.GraphicObjectSequence
    assert box.GraphicType == "POLYLINE"
    assert np.max(np.reshape(box.GraphicData, (-1, 2)), axis=0).tolist() == [500, 590], "no point lies outside the image"
    assert "胸腔积液 Pleural effusion 0.31" in boxes.TextObjectSequence[0].UnformattedTextValue
    assert state.ReferencedSeriesSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    assert float(state.SoftcopyVOILUTSequence[0].WindowCenter) == 1900


@pytest.mark.parametrize(
    ("tags", "shape"),
    [
        ({}, "IDENTITY"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "INVERSE"),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, "INVERSE"),
    ],
)
def test_the_drawing_shows_the_greys_as_the_image_does(tmp_path: Path, tags: dict[str, str], shape: str) -> None:
    header = image(tmp_path, **tags)
    state = by_class(objects_of(pre_read_of(header), [header], made_at=COUNTY_TIME))[GrayscaleSoftcopyPresentationStateStorage]
    assert state.PresentationLUTShape == shape


def numbers_of(document: Dataset) -> dict[str, tuple[float, str]]:
    return {
        meaning(item): (
            float(item.MeasuredValueSequence[0].NumericValue),
            item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
        )
        for item in walk(document.ContentSequence)
        if item.ValueType == "NUM"
    }


def test_the_report_gives_ratio_lines_and_lengths_and_says_in_which_plane(tmp_path: Path) -> None:
    header = image(tmp_path)
    pre_read = pre_read_of(header, effusion(header), cautions=["chest_base_cut_off"])
    report = by_class(objects_of(pre_read, [header], made_at=COUNTY_TIME))[Comprehensive3DSRStorage]
    items, numbers = list(walk(report.ContentSequence)), numbers_of(report)
    [said] = pre_read.evidence["cardiothoracic"]
    assert numbers["Cardiothoracic ratio"][0] == pytest.approx(said["ratio"], abs=0.001)
    (left, _), (right, _) = said["lines"]["thorax"]
    assert numbers["Width of the thorax"][0] == pytest.approx(0.7 * (right - left), abs=0.06)
    assert numbers["Width of the thorax"][1] == "mm"
    halves = numbers["Heart, right of the midline"][0] + numbers["Heart, left of the midline"][0]
    assert halves / numbers["Width of the thorax"][0] == pytest.approx(said["ratio"], abs=0.002)
    assert numbers["Pleural effusion, probability"] == (31.0, "%")
    assert "Length in the plane of the detector" in {
        item.ConceptCodeSequence[0].CodeMeaning for item in items if item.ValueType == "CODE"
    }
    assert "chest base cut off" in {item.ConceptCodeSequence[0].CodeMeaning for item in items if item.ValueType == "CODE"}
    ratio = next(item for item in items if item.ValueType == "NUM" and meaning(item) == "Cardiothoracic ratio")
    assert [item.ValueType for item in ratio.ContentSequence].count("SCOORD") == 3
    names = [meaning(item) for item in items if item.ValueType == "NUM"]
    assert len(names) == len(set(names)), "each number stands once"


def test_without_a_spacing_lengths_are_pixels(tmp_path: Path) -> None:
    header = image(tmp_path, ImagerPixelSpacing=None)
    report = by_class(objects_of(pre_read_of(header), [header], made_at=COUNTY_TIME))[Comprehensive3DSRStorage]
    assert numbers_of(report)["Width of the thorax"][1] == "{pixels}"


def test_every_group_names_the_model_that_said_it_and_has_a_place(tmp_path: Path) -> None:
    """OHIF 3.13 shows nothing of a report in which one group has no coordinates."""
    header = image(tmp_path)
    report = by_class(objects_of(pre_read_of(header, effusion(header)), [header], made_at=COUNTY_TIME))[Comprehensive3DSRStorage]
    groups = [item for item in walk(report.ContentSequence) if meaning(item) == "Measurement Group"]
    said_by = []
    for group in groups:
        within = list(walk(group.ContentSequence))
        said_by += [item.TextValue for item in within if meaning(item) == "Algorithm Name"]
        assert any(item.ValueType == "SCOORD" for item in within)
    assert said_by == ["heart_lung", "chest_radiograph"]
    devices = [item.TextValue for item in walk(report.ContentSequence) if meaning(item) == "Device Observer Name"]
    assert devices == ["chest_radiograph", "heart_lung"]


def test_key_images_are_those_with_findings(tmp_path: Path) -> None:
    first, second = image(tmp_path), image(tmp_path)
    second.StudyInstanceUID, second.SeriesInstanceUID = first.StudyInstanceUID, first.SeriesInstanceUID
    pre_read = pre_read_of(first, effusion(second))
    assert images_spoken_of(pre_read) == {first.SOPInstanceUID, second.SOPInstanceUID}
    selection = by_class(objects_of(pre_read, [first, second], made_at=COUNTY_TIME))[KeyObjectSelectionDocumentStorage]
    chosen = [
        item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in selection.ContentSequence if item.ValueType == "IMAGE"
    ]
    assert chosen == [second.SOPInstanceUID]
    calm = pre_read_of(first, Finding(code="chest_no_finding", probability=None, region=effusion(first).region))
    assert KeyObjectSelectionDocumentStorage not in by_class(objects_of(calm, [first], made_at=COUNTY_TIME))


def test_a_chest_in_doubt_has_a_report_and_nothing_drawn(tmp_path: Path) -> None:
    header = image(tmp_path)
    pre_read = pre_read_of(header)
    doubtful = told(chest_instance(header), outlined(heart=(0, 128)))
    pre_read.evidence, pre_read.measurements = {"cardiothoracic": [doubtful]}, []
    documents = objects_of(pre_read, [header], made_at=COUNTY_TIME)
    assert list(by_class(documents)) == [Comprehensive3DSRStorage]
    assert errors_of(documents[0], tmp_path / "report.dcm") == []


def test_a_header_that_no_drawing_fits_costs_the_drawing_and_not_the_report(tmp_path: Path) -> None:
    header = image(tmp_path, WindowCenter=["1900", "2100"], WindowWidth="2200")
    made = by_class(objects_of(pre_read_of(header), [header], made_at=COUNTY_TIME))
    assert Comprehensive3DSRStorage in made
    assert GrayscaleSoftcopyPresentationStateStorage not in made


def test_the_objects_of_a_pre_read_are_the_same_twice_and_another_ones_are_not(tmp_path: Path) -> None:
    header = image(tmp_path)

    def uids(pre_read: PreRead) -> list[str]:
        return [str(document.SOPInstanceUID) for document in objects_of(pre_read, [header], made_at=COUNTY_TIME)]

    once, later = pre_read_of(header), pre_read_of(header)
    assert uids(once) == uids(pre_read_of(header))
    assert len(set(uids(once))) == len(uids(once))
    later.revision = 2
    assert set(uids(once)).isdisjoint(uids(later))


def test_published_twice_they_lie_once_in_custody_and_are_no_news_of_the_study(
    settled_study: SettledStudy, settings: Settings, database: Database, tmp_path: Path
) -> None:
    study_id = settled_study("CT_small.dcm")
    with database.reading() as session:
        uid = session.get_one(Study, study_id).study_instance_uid
    header = image(tmp_path, StudyInstanceUID=uid)
    with database.writing() as session:
        pre_read = pre_read_of(header, effusion(header), key=None, study=study_id)
        session.add(pre_read)
        session.flush()
        key = pre_read.id
    spool = Spool(settings.spool)
    for _ in range(2):  # a worker that died after the first try
        with database.reading() as session:
            documents = objects_of(session.get_one(PreRead, key), [header], made_at=now())
        with database.writing() as session:
            publish(session, settings, spool, session.get_one(PreRead, key), documents)
            assert is_published(session, session.get_one(PreRead, key))
    with database.writing() as session:
        ours = list(session.scalars(select(Instance).where(Instance.door == Door.OURS)))
        assert len(ours) == 4
        study = session.get_one(Study, study_id)
        assert (study.instance_count, study.revision) == (1, 1)
        assert evidence_of(session, study).undelivered == 0
        assert open_pre_reads(session, {"radiograph": Everything()}) == []


class Everything:
    """An engine that wants whatever it is shown."""

    name = "radiograph"

    def wants(self, instance: Dataset) -> bool:
        return True

    def read(self, study: Any) -> Any:
        raise AssertionError("our own objects are not read")
