"""C-FIND over what the house holds, with DCMTK's findscu and pynetdicom against a real node and a real Orthanc."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from sqlalchemy import select

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.tables import AuditEvent, Door, Instance, Patient
from core.tables import Study as StudyRow
from pacs_bridge.services.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from tests.pacs_bridge.services.conftest import Station, Study, associate, make_study


@pytest.fixture(scope="module")
def study(station: Station) -> Study:
    """Two series of two slices of 欧阳修, performed on 5 March 2026."""
    made = make_study(
        2, series=2, SpecificCharacterSet="GB18030", PatientName="OuYang^Xiu=欧阳^修", PatientSex="M",
        PatientBirthDate="19600102", StudyDate="20260305", StudyTime="081530", StudyID="77",
        AccessionNumber="A77", StudyDescription="胸部平扫",
        SeriesDescription="肺窗", ReferringPhysicianName="Li^Si=李^四",
    )  # fmt: skip
    station.store(*made.instances)
    return made


def find(station: Station, root: str = STUDY_ROOT_FIND, ae_title: str = "WORKSTATION", **keys: Any) -> list[Dataset]:
    """Ask with pynetdicom and return the answers."""
    association = associate(station, root, ae_title=ae_title)
    try:
        responses = list(association.send_c_find(_identifier(**keys), root))
    finally:
        association.release()
    assert responses[-1][0].Status == 0, responses[-1][0]
    return [identifier for _, identifier in responses[:-1]]


def _identifier(**keys: object) -> Dataset:
    identifier = Dataset()
    identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def found(station: Station, study: Study, **keys: Any) -> bool:
    """Return whether a study is among the answers at the study level."""
    answers = find(station, QueryRetrieveLevel="STUDY", **{"StudyInstanceUID": "", **keys})
    return study.uid in [answer.StudyInstanceUID for answer in answers]


@pytest.mark.parametrize("tls", [False, True])
def test_findscu_gets_every_key_of_a_study(station: Station, study: Study, tmp_path: Path, tls: bool) -> None:
    keys = [
        "QueryRetrieveLevel=STUDY", f"StudyInstanceUID={study.uid}", "PatientName", "PatientID", "PatientSex", "StudyDate",
        "StudyTime", "StudyID", "AccessionNumber", "StudyDescription", "ModalitiesInStudy", "ReferringPhysicianName",
        "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances", "PatientBirthDate", "InstanceAvailability",
    ]  # fmt: skip
    station.run("findscu", "-S", "-X", "-od", str(tmp_path), *(part for key in keys for part in ("-k", key)), tls=tls)
    (file,) = tmp_path.iterdir()
    answer = pydicom.dcmread(file, force=True)
    assert answer.PatientName == "OUYANG^XIU=欧阳^修"
    assert (answer.PatientSex, answer.PatientBirthDate) == ("M", "19600102")
    assert (answer.StudyDate, answer.StudyTime[:6], answer.StudyID, answer.AccessionNumber) == ("20260305", "081530", "77", "A77")
    assert (answer.StudyDescription, answer.ReferringPhysicianName) == ("胸部平扫", "Li^Si=李^四")
    assert (answer.ModalitiesInStudy, answer.NumberOfStudyRelatedSeries, answer.NumberOfStudyRelatedInstances) == ("CT", 2, 4)
    assert (answer.RetrieveAETitle, answer.InstanceAvailability) == ("SUMU", "ONLINE")
    # A device that does not ask in UTF-8 is answered in what it can show.
    assert answer.SpecificCharacterSet == "GB18030"


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"PatientName": "欧阳修"}, True),
        ({"PatientName": "欧阳^修"}, True),
        ({"PatientName": "*阳*"}, True),
        ({"PatientName": "ouyang^x*"}, True),
        ({"PatientName": "OUYANG^XIU"}, True),
        ({"PatientName": "ouyang^?iu"}, True),
        ({"PatientName": "oyx"}, True),
        ({"PatientName": "欧阳"}, False),
        ({"PatientName": "wang*"}, False),
        ({"StudyDate": "20260305"}, True),
        ({"StudyDate": "20260301-20260305"}, True),
        ({"StudyDate": "20260305-"}, True),
        ({"StudyDate": "-20260304"}, False),
        ({"StudyDate": "20260305", "StudyTime": "08-0820"}, True),
        ({"StudyDate": "20260305", "StudyTime": "0816-"}, False),
        ({"AccessionNumber": "A7?"}, True),
        ({"AccessionNumber": "A?"}, False),
        ({"StudyID": "77"}, True),
        ({"StudyID": "78"}, False),
        ({"ModalitiesInStudy": "CT"}, True),
        ({"ModalitiesInStudy": ["MR", "CT"]}, True),
        ({"ModalitiesInStudy": "MR"}, False),
        ({"PatientBirthDate": "19600101-19600131"}, True),
        ({"PatientBirthDate": "19610101-"}, False),
        ({"ReferringPhysicianName": "李*"}, True),
        ({"ReferringPhysicianName": "王*"}, False),
        ({"StudyDescription": "胸部*"}, True),
        ({"StudyDescription": "腹部*"}, False),
    ],
)
def test_keys_match_as_the_standard_says(station: Station, study: Study, keys: dict[str, object], expected: bool) -> None:
    assert found(station, study, **keys) is expected


def test_a_list_of_uids_finds_each_of_them(station: Station, study: Study) -> None:
    other = make_study(1)
    station.store(*other.instances)
    answers = find(station, QueryRetrieveLevel="STUDY", StudyInstanceUID=[study.uid, other.uid, "1.2.3"])
    assert {answer.StudyInstanceUID for answer in answers} == {study.uid, other.uid}


def test_series_and_images_are_found_below_their_study(station: Station, study: Study) -> None:
    series = find(
        station, QueryRetrieveLevel="SERIES", StudyInstanceUID=study.uid, SeriesInstanceUID="", Modality="", SeriesNumber="",
        SeriesDescription="", NumberOfSeriesRelatedInstances="", PatientID="", BodyPartExamined="",
    )  # fmt: skip
    assert {answer.SeriesNumber for answer in series} == {1, 2}
    assert {answer.NumberOfSeriesRelatedInstances for answer in series} == {2}
    assert {answer.SeriesDescription for answer in series} == {"肺窗"}
    first = next(answer for answer in series if answer.SeriesNumber == 1)
    images = find(
        station, QueryRetrieveLevel="IMAGE", StudyInstanceUID=study.uid, SeriesInstanceUID=first.SeriesInstanceUID,
        SOPInstanceUID="", SOPClassUID="", InstanceNumber="", Rows=None, SliceThickness="",
    )  # fmt: skip
    assert [image.SOPInstanceUID for image in images] == study.uids[:2]
    assert [image.InstanceNumber for image in images] == [1, 2]
    # What neither our rows nor the archive's index holds comes from the header.
    assert {(image.Rows, float(image.SliceThickness)) for image in images} == {(128, 5.0)}
    numbered = find(station, QueryRetrieveLevel="SERIES", StudyInstanceUID=study.uid, SeriesInstanceUID="", SeriesNumber="2")
    assert len(numbered) == 1


def test_the_patient_root_begins_with_patients(station: Station, study: Study) -> None:
    (patient,) = find(
        station, PATIENT_ROOT_FIND, QueryRetrieveLevel="PATIENT", PatientName="欧阳*", PatientID="",
        NumberOfPatientRelatedStudies="", NumberOfPatientRelatedInstances="",
    )  # fmt: skip
    assert (patient.PatientID, patient.NumberOfPatientRelatedInstances) == (study.instances[0].PatientID, 4)
    (answer,) = find(
        station, PATIENT_ROOT_FIND, QueryRetrieveLevel="STUDY", PatientID=patient.PatientID, StudyInstanceUID=""
    )  # fmt: skip
    assert answer.StudyInstanceUID == study.uid


def test_another_township_sees_nothing_and_the_county_everything(station: Station, study: Study) -> None:
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": study.uid}
    assert find(station, ae_title="FAR_STATION", **keys) == []
    assert len(find(station, ae_title="COUNTY_PACS", **keys)) == 1
    images = {"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": study.uid, "SOPInstanceUID": ""}
    assert find(station, ae_title="FAR_STATION", **{**images, "SeriesInstanceUID": study.instances[0].SeriesInstanceUID}) == []
    assert find(station, PATIENT_ROOT_FIND, "FAR_STATION", QueryRetrieveLevel="PATIENT", PatientID="", PatientName="欧阳*") == []


def test_a_device_that_may_not_search_is_offered_no_search(station: Station) -> None:
    with pytest.raises(AssertionError):
        associate(station, STUDY_ROOT_FIND, ae_title="TOWNSHIP_DR")


def test_a_level_without_what_stands_above_is_refused_unless_relational_queries_are_agreed(
    station: Station, study: Study
) -> None:
    identifier = _identifier(QueryRetrieveLevel="IMAGE", SOPInstanceUID=study.uids[3], StudyInstanceUID="", SeriesInstanceUID="")
    association = associate(station, STUDY_ROOT_FIND)
    ((status, _),) = list(association.send_c_find(identifier, STUDY_ROOT_FIND))
    association.release()
    assert status.Status == 0xA900
    assert "StudyInstanceUID" in status.ErrorComment
    wish = SOPClassExtendedNegotiation()
    wish.sop_class_uid, wish.service_class_application_information = STUDY_ROOT_FIND, b"\1\0\0\0"
    association = associate(station, STUDY_ROOT_FIND, ext_neg=[wish])
    answers = [answer for _, answer in association.send_c_find(identifier, STUDY_ROOT_FIND) if answer is not None]
    association.release()
    assert [(one.StudyInstanceUID, one.SOPInstanceUID) for one in answers] == [(study.uid, study.uids[3])]


def test_with_combined_date_and_time_a_range_goes_through_the_night(station: Station, study: Study) -> None:
    wish = SOPClassExtendedNegotiation()
    wish.sop_class_uid, wish.service_class_application_information = STUDY_ROOT_FIND, b"\0\1\0\0"
    identifier = _identifier(
        QueryRetrieveLevel="STUDY", StudyInstanceUID=study.uid, StudyDate="20260304-20260305", StudyTime="200000-090000"
    )
    association = associate(station, STUDY_ROOT_FIND, ext_neg=[wish])
    combined = [answer for _, answer in association.send_c_find(identifier, STUDY_ROOT_FIND) if answer is not None]
    association.release()
    assert len(combined) == 1
    assert find(station, **{key.keyword: key.value for key in identifier if key.keyword != "SpecificCharacterSet"}) == []


def test_a_search_leaves_its_trace_with_what_was_sought(station: Station, study: Study) -> None:
    find(station, QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName="欧阳*")
    with station.database.reading() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "studies_searched")).all()
    assert ("device:WORKSTATION", "欧阳*") in [(event.actor, event.detail["keys"].get("PatientName")) for event in events]


def test_a_query_that_is_broken_is_answered_and_the_association_goes_on(station: Station, study: Study) -> None:
    association = associate(station, STUDY_ROOT_FIND)
    deep = inner = Dataset()
    for _ in range(20):
        item = Dataset()
        inner.ReferencedStudySequence = [item]
        inner = item
    deep.QueryRetrieveLevel = "STUDY"
    ((status, _),) = list(association.send_c_find(deep, STUDY_ROOT_FIND))
    assert status.Status == 0xC000
    again = list(association.send_c_find(_identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=study.uid), STUDY_ROOT_FIND))
    association.release()
    assert len(again) == 2


@pytest.fixture(scope="module")
def many(station: Station) -> str:
    """Rows of 2 000 studies whose patients are called Crowd."""
    with station.database.writing() as session:
        for number in range(2000):
            patient = Patient(
                organisation_id=station.county.township, identifier=f"CROWD{number}", name="Crowd", name_latin="crowd"
            )
            moment = now()
            row = StudyRow(
                study_instance_uid=f"2.25.77{number}", organisation_id=station.county.township, patient=patient, modality="CT",
                instance_count=1, first_received_at=moment, last_received_at=moment,
            )  # fmt: skip
            session.add(
                Instance(
                    study=row, sop_instance_uid=f"2.25.78{number}", sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
                    series_instance_uid=f"2.25.79{number}", transfer_syntax_uid="1.2.840.10008.1.2.1", modality="CT", size=1,
                    sha256="0" * 64, door=Door.C_STORE, machine="elsewhere", received_at=moment, next_try_at=moment,
                    state=CustodyState.COMPARED,
                )
            )  # fmt: skip
    return "Crowd"


def test_two_thousand_answers_come_and_can_be_cancelled(station: Station, many: str) -> None:
    keys = {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "PatientName": many, "PatientID": "", "StudyID": ""}
    assert len(find(station, **keys)) == 2000
    association = associate(station, STUDY_ROOT_FIND)
    statuses = []
    for status, _ in association.send_c_find(_identifier(**keys), STUDY_ROOT_FIND, msg_id=7):
        statuses.append(status.Status)
        if len(statuses) == 10:
            association.send_c_cancel(7, query_model=STUDY_ROOT_FIND)
    assert statuses[-1] == 0xFE00
    assert len(statuses) < 2000
    # The association is as good as before.
    assert len(list(association.send_c_find(_identifier(**{**keys, "PatientID": "CROWD7"}), STUDY_ROOT_FIND))) == 2
    association.release()


def test_more_answers_than_a_device_may_have_end_with_a_comment(
    station: Station, many: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacs_bridge.services.query.MOST_ANSWERS", 50)
    association = associate(station, STUDY_ROOT_FIND)
    identifier = _identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="", PatientName=many)
    responses = list(association.send_c_find(identifier, STUDY_ROOT_FIND))
    association.release()
    assert len(responses) == 51
    assert responses[-1][0].Status == 0xA700
    assert "narrow" in responses[-1][0].ErrorComment
