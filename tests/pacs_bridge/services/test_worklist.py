"""Modality worklist with DCMTK's findscu and raw bytes, and what devices tell of the steps they perform."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import evt
from sqlalchemy import select

from core.clock import now
from core.lifecycles.order import OrderState
from core.tables import AuditEvent, Order, OrderSource, Patient, PerformedStep, Urgency
from core.tables import Study as StudyRow
from pacs_bridge.patient_names import search_words
from pacs_bridge.services.sop_classes import MODALITY_WORKLIST, PERFORMED_STEP, PERFORMED_STEP_RETRIEVE
from tests.pacs_bridge.services.conftest import Station, associate, make_study

_numbers = itertools.count(1)
#: 10 March 2026, 09:30 in the county.
MORNING = datetime(2026, 3, 10, 1, 30, tzinfo=UTC)


def order(
    station: Station, *, device: str | None = "WORKSTATION", name: str = "张伟", latin: str = "zhang wei", **more: object
) -> Order:
    """Enter an order for a township's device; None: for any of its organisation."""
    number = next(_numbers)
    given = {
        "modality": "CT", "description": "胸部CT平扫", "reason": "咳嗽三周", "requested_by": "王强", "body_part": "CHEST",
        "scheduled_at": MORNING, "organisation_id": station.county.township, "urgency": Urgency.URGENT, **more,
    }  # fmt: skip
    with station.database.writing() as session:
        patient = Patient(
            organisation_id=given["organisation_id"], identifier=f"W{number}", name=name, name_latin=latin, sex="F",
            search_words=search_words(name, latin), birth_date=datetime(1980, 5, 17, tzinfo=UTC).date(),
        )  # fmt: skip
        row = Order(
            patient=patient, accession_number=f"ACC{number}", study_instance_uid=generate_uid(), source=OrderSource.PAGE,
            device_id=station.device_id(device) if device else None, created_at=now(), **given,
        )  # fmt: skip
        session.add(row)
    return row


def question(**keys: object) -> Dataset:
    """Return a worklist query for everything that Table K.6-1 asks of every SCP."""
    step = Dataset()
    for keyword in (
        "ScheduledStationAETitle", "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "Modality",
        "ScheduledPerformingPhysicianName", "ScheduledProcedureStepDescription", "ScheduledStationName",
        "ScheduledProcedureStepLocation", "ScheduledProcedureStepID", "ScheduledProcedureStepStatus",
    ):  # fmt: skip
        setattr(step, keyword, keys.pop(keyword, ""))
    asked = Dataset()
    asked.ScheduledProcedureStepSequence = [step]
    for keyword in (
        "RequestedProcedureID", "RequestedProcedureDescription", "StudyInstanceUID", "ReferencedStudySequence",
        "RequestedProcedurePriority", "AccessionNumber", "RequestingPhysician", "ReferringPhysicianName", "PatientName",
        "PatientID", "PatientBirthDate", "PatientSex", "PatientWeight", "MedicalAlerts", "ReasonForTheRequestedProcedure",
    ):  # fmt: skip
        setattr(asked, keyword, keys.pop(keyword, None if keyword.endswith("Sequence") else ""))
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def ask(station: Station, ae_title: str = "WORKSTATION", **keys: Any) -> list[Dataset]:
    """Ask for the worklist."""
    association = associate(station, MODALITY_WORKLIST, ae_title=ae_title)
    try:
        *answers, (last, _) = list(association.send_c_find(question(**keys), MODALITY_WORKLIST))
    finally:
        association.release()
    assert last.Status == 0
    return [answer for _, answer in answers]


def unescaped(name: object) -> str:
    """Return a name without the escape sequences that pydicom leaves in ISO 2022 IR 58."""
    return str(name).replace("\x1b$)A", "")


def raw_answer(station: Station, ae_title: str, accession: str) -> bytes:
    """Return the bytes of the one answer."""
    caught: list[bytes] = []

    def keep(event: evt.Event) -> None:
        data_set = getattr(event.message, "data_set", None)
        if data_set is not None:
            data_set.seek(0)
            caught.append(data_set.read())

    association = associate(station, MODALITY_WORKLIST, ae_title=ae_title, evt_handlers=[(evt.EVT_DIMSE_RECV, keep)])
    for _ in association.send_c_find(question(AccessionNumber=accession), MODALITY_WORKLIST):
        pass
    association.release()
    (encoded,) = [one for one in caught if one]
    return encoded


@pytest.mark.parametrize("tls", [False, True])
def test_findscu_gets_a_whole_order(station: Station, tmp_path: Path, tls: bool) -> None:
    wanted = order(station, device="TLS_STATION" if tls else "WORKSTATION")
    keys = [
        f"AccessionNumber={wanted.accession_number}", "PatientName", "PatientID", "PatientSex", "PatientBirthDate",
        "StudyInstanceUID", "RequestedProcedureID", "RequestedProcedureDescription", "RequestedProcedurePriority",
        "RequestingPhysician", "(0008,1110)", "(0040,0100)[0].ScheduledStationAETitle",
        "(0040,0100)[0].ScheduledProcedureStepStartDate", "(0040,0100)[0].ScheduledProcedureStepStartTime",
        "(0040,0100)[0].Modality=CT", "(0040,0100)[0].ScheduledProcedureStepID", "(0040,0100)[0].ScheduledProcedureStepStatus",
    ]  # fmt: skip
    station.run("findscu", "-W", "-X", "-od", str(tmp_path), *(part for key in keys for part in ("-k", key)), tls=tls)
    (file,) = tmp_path.iterdir()
    answer = pydicom.dcmread(file, force=True)
    assert (answer.SpecificCharacterSet, answer.PatientName) == ("GB18030", "ZHANG^WEI=张^伟")
    assert (answer.PatientSex, answer.PatientBirthDate, answer.RequestedProcedurePriority) == ("F", "19800517", "HIGH")
    assert answer.StudyInstanceUID == answer.ReferencedStudySequence[0].ReferencedSOPInstanceUID == wanted.study_instance_uid
    assert (answer.RequestedProcedureDescription, answer.RequestingPhysician) == ("胸部CT平扫", "WANG^QIANG=王^强")
    (step,) = answer.ScheduledProcedureStepSequence
    assert (step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime) == ("20260310", "093000")
    assert (step.ScheduledStationAETitle, step.Modality) == ("TLS_STATION" if tls else "WORKSTATION", "CT")
    assert (step.ScheduledProcedureStepID, step.ScheduledProcedureStepStatus) == (str(wanted.id), "SCHEDULED")


def test_gb18030_answers_have_exactly_these_bytes(station: Station) -> None:
    wanted = order(station, name="张䶮", latin="zhang yan")  # 䶮 stands in GB18030 and not in GB2312
    answer = raw_answer(station, "WORKSTATION", wanted.accession_number)
    # Elements in Implicit VR Little Endian: tag, length, value.
    assert b"\x08\x00\x05\x00\x08\x00\x00\x00GB18030 " in answer
    name = b"ZHANG^YAN=\xd5\xc5^\xfe\x9f "
    assert b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name in answer
    assert "胸部CT平扫".encode("gb18030") in answer


def test_iso_2022_ir_58_answers_have_exactly_these_bytes(station: Station) -> None:
    wanted = order(station, device="IR58_CT", name="王小东", latin="wang xiao dong")
    answer = raw_answer(station, "IR58_CT", wanted.accession_number)
    assert b"\x08\x00\x05\x00\x10\x00\x00\x00\\ISO 2022 IR 58 " in answer
    # Each component calls GB2312 anew (PS3.5 K.2, whose example this is, with its family name first).
    name = b"WANG^XIAO DONG=\x1b$)A\xcd\xf5^\x1b$)A\xd0\xa1\xb6\xab"
    assert b"\x10\x00\x10\x00" + len(name).to_bytes(4, "little") + name in answer
    # In a text the call stands before the first character that needs it (PS3.5 K.3).
    assert b"\x1b$)A" + "胸部CT平扫".encode("gb2312") in answer


def test_what_a_device_cannot_show_becomes_pinyin(station: Station) -> None:
    rare = order(station, device="IR58_CT", name="赵䶮", latin="zhao yan")
    (answer,) = ask(station, "IR58_CT", AccessionNumber=rare.accession_number)
    assert unescaped(answer.PatientName) == "ZHAO^YAN=赵^yan"
    plain = order(station, device="ASCII_CR", name="欧阳修", latin="ou yang xiu", modality="CR")
    assert b"\x08\x00\x05\x00" not in raw_answer(station, "ASCII_CR", plain.accession_number)
    (answer,) = ask(station, "ASCII_CR", AccessionNumber=plain.accession_number)
    assert answer.PatientName == "OU YANG^XIU"
    assert answer.RequestedProcedureDescription == "xiong bu CT ping sao"
    assert answer.RequestingPhysician == "WANG^QIANG"


def test_a_device_that_asks_in_utf_8_is_answered_in_it(station: Station) -> None:
    wanted = order(station, name="巴特尔·䶮", latin="bateer yan")
    (answer,) = ask(station, AccessionNumber=wanted.accession_number, SpecificCharacterSet="ISO_IR 192")
    assert (answer.SpecificCharacterSet, answer.PatientName.ideographic) == ("ISO_IR 192", "巴特尔·䶮")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"Modality": "CT"}, True),
        ({"Modality": "MR"}, False),
        ({"ScheduledStationAETitle": "WORKSTATION"}, True),
        ({"ScheduledStationAETitle": "TOWNSHIP_DR"}, False),
        ({"ScheduledProcedureStepStartDate": "20260310"}, True),
        ({"ScheduledProcedureStepStartDate": "20260311-"}, False),
        ({"ScheduledProcedureStepStartDate": "20260310", "ScheduledProcedureStepStartTime": "0900-1000"}, True),
        ({"ScheduledProcedureStepStartDate": "20260310", "ScheduledProcedureStepStartTime": "1000-"}, False),
        # Two ranges are one span: 8 March 20:00 to 11 March 08:00 (remark in Table K.6-1).
        ({"ScheduledProcedureStepStartDate": "20260308-20260311", "ScheduledProcedureStepStartTime": "200000-080000"}, True),
        ({"ScheduledProcedureStepStatus": "STARTED"}, False),
        ({"PatientName": "张*"}, True),
        ({"PatientName": "zhang*"}, True),
        ({"PatientName": "李*"}, False),
        ({"PatientID": "nobody"}, False),
        ({"RequestedProcedureID": "nothing"}, False),
    ],
)
def test_keys_of_the_worklist_match_as_the_standard_says(station: Station, keys: dict[str, Any], expected: bool) -> None:
    wanted = order(station)
    answers = ask(station, SpecificCharacterSet="GB18030", **keys)
    assert (wanted.accession_number in [answer.AccessionNumber for answer in answers]) is expected


def test_a_device_that_declares_no_character_set_may_ask_in_chinese_all_the_same(station: Station) -> None:
    wanted = order(station, name="那木罕", latin="na mu han")
    undeclared = "那*".encode("gb18030").decode("latin_1")  # goes out as the bytes of GB18030
    assert [answer.AccessionNumber for answer in ask(station, PatientName=undeclared)] == [wanted.accession_number]


def test_a_device_may_ask_in_iso_2022_ir_58(station: Station) -> None:
    wanted = order(station, device="IR58_CT", name="孟和", latin="meng he")
    for name in ("\x1b$)A孟*", "孟*"):  # as the standard wants it, and as pydicom and some devices write it
        answers = ask(station, "IR58_CT", PatientName=name, SpecificCharacterSet=["", "ISO 2022 IR 58"])
        assert [answer.AccessionNumber for answer in answers] == [wanted.accession_number]


def test_each_sees_its_own_orders_and_those_for_any_machine_of_its_place(station: Station) -> None:
    own, any_, other = order(station), order(station, device=None), order(station, device="TOWNSHIP_DR")
    far = order(station, device=None, organisation_id=station.county.other_township)
    seen = {answer.AccessionNumber for answer in ask(station)}
    assert {own.accession_number, any_.accession_number} <= seen
    assert not {other.accession_number, far.accession_number} & seen
    assert far.accession_number in {answer.AccessionNumber for answer in ask(station, "FAR_STATION")}
    # A workstation may ask for the list of a neighbouring machine, not for another township's.
    assert other.accession_number in {a.AccessionNumber for a in ask(station, ScheduledStationAETitle="TOWNSHIP_DR")}
    assert other.accession_number not in {
        a.AccessionNumber for a in ask(station, "FAR_STATION", ScheduledStationAETitle="TOWNSHIP_DR")
    }  # fmt: skip


def test_reading_the_worklist_leaves_a_trace(station: Station) -> None:
    order(station)
    ask(station)
    with station.database.reading() as session:
        assert "device:WORKSTATION" in session.scalars(select(AuditEvent.actor).where(AuditEvent.action == "worklist_read")).all()


# --- performed steps ------------------------------------------------------------------------------------------------------


def begin(station: Station, study: str, uid: str | None = None, ae_title: str = "WORKSTATION", **more: object) -> tuple[int, str]:
    """Begin a step; return status and UID."""
    scheduled = Dataset()
    scheduled.StudyInstanceUID = study
    scheduled.ReferencedStudySequence = []
    told = Dataset()
    told.SpecificCharacterSet = "GB18030"
    told.ScheduledStepAttributesSequence = [scheduled]
    told.PatientName, told.PerformedProcedureStepID, told.PerformedStationAETitle = "Zhang^Wei=张^伟", "P1", ae_title
    told.PerformedProcedureStepStartDate, told.PerformedProcedureStepStartTime = "20260310", "093500"
    told.PerformedProcedureStepStatus, told.Modality = "IN PROGRESS", "CT"
    told.PerformedSeriesSequence = []
    for keyword, value in more.items():
        setattr(told, keyword, value)
    association = associate(station, PERFORMED_STEP, ae_title=ae_title)
    uid = uid or generate_uid()
    status, _ = association.send_n_create(told, PERFORMED_STEP, uid)
    association.release()
    return status.Status, uid


def set_step(station: Station, uid: str, status: str, images: list[str] | None = None, ae_title: str = "WORKSTATION") -> Any:
    """Tell more of a step."""
    told = Dataset()
    told.PerformedProcedureStepStatus = status
    told.PerformedProcedureStepEndDate, told.PerformedProcedureStepEndTime = "20260310", "094500"
    series = Dataset()
    series.SeriesInstanceUID = generate_uid()
    series.ReferencedImageSequence = []
    for image in images or []:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", image
        series.ReferencedImageSequence.append(item)
    told.PerformedSeriesSequence = [series]
    association = associate(station, PERFORMED_STEP, ae_title=ae_title)
    answer, _ = association.send_n_set(told, PERFORMED_STEP, uid)
    association.release()
    return answer


def state_of(station: Station, wanted: Order) -> OrderState:
    with station.database.reading() as session:
        return session.get_one(Order, wanted.id).state


def test_a_step_takes_its_order_along_and_says_how_many_images_to_expect(station: Station) -> None:
    wanted = order(station)
    status, step = begin(station, wanted.study_instance_uid)
    assert status == 0
    assert state_of(station, wanted) is OrderState.IN_PROGRESS
    started = {a.AccessionNumber: a.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStatus for a in ask(station)}
    assert started[wanted.accession_number] == "STARTED"
    study = make_study(3, StudyInstanceUID=wanted.study_instance_uid)
    station.store(*study.instances)
    assert set_step(station, step, "COMPLETED", study.uids).Status == 0
    assert state_of(station, wanted) is OrderState.COMPLETED
    status, second = begin(station, wanted.study_instance_uid)
    assert (status, state_of(station, wanted)) == (0, OrderState.IN_PROGRESS)
    assert set_step(station, second, "COMPLETED", [study.uids[0], generate_uid()]).Status == 0
    with station.database.reading() as session:
        row = session.scalars(select(StudyRow).where(StudyRow.study_instance_uid == wanted.study_instance_uid)).one()
        assert row.expected_instances == 4
        kept = session.scalars(select(PerformedStep).where(PerformedStep.sop_instance_uid == step)).one()
        assert (kept.status, kept.started_at, kept.ended_at) == (
            "COMPLETED", MORNING + timedelta(minutes=5), MORNING + timedelta(minutes=15),
        )  # fmt: skip
        assert kept.order_id == wanted.id
    assert wanted.accession_number not in {answer.AccessionNumber for answer in ask(station)}


def test_a_step_that_was_broken_off_ends_its_order_so(station: Station) -> None:
    wanted = order(station)
    _, step = begin(station, wanted.study_instance_uid)
    assert set_step(station, step, "DISCONTINUED").Status == 0
    assert state_of(station, wanted) is OrderState.DISCONTINUED


def test_an_ended_step_does_not_change_any_more(station: Station) -> None:
    _, step = begin(station, generate_uid())
    assert set_step(station, step, "IN PROGRESS").Status == 0
    assert set_step(station, step, "COMPLETED").Status == 0
    answer = set_step(station, step, "DISCONTINUED")
    assert (answer.Status, answer.ErrorID) == (0x0110, 0xA710)
    with station.database.reading() as session:
        assert session.scalars(select(PerformedStep.status).where(PerformedStep.sop_instance_uid == step)).one() == "COMPLETED"


def test_steps_begin_once_in_progress_and_for_a_study(station: Station) -> None:
    status, step = begin(station, generate_uid())
    assert status == 0
    assert begin(station, generate_uid(), uid=step)[0] == 0x0111
    assert begin(station, generate_uid(), PerformedProcedureStepStatus="COMPLETED")[0] == 0x0106
    assert begin(station, generate_uid(), ScheduledStepAttributesSequence=[])[0] == 0x0120
    assert set_step(station, generate_uid(), "COMPLETED").Status == 0x0112
    assert set_step(station, step, "COMPLETED", ae_title="FAR_STATION").Status == 0x0112


def test_a_step_can_be_read_as_it_stands(station: Station) -> None:
    _, step = begin(station, generate_uid())
    association = associate(station, PERFORMED_STEP_RETRIEVE, ae_title="IR58_CT")
    status, known = association.send_n_get([], PERFORMED_STEP_RETRIEVE, step)
    association.release()
    assert status.Status == 0
    assert (known.PerformedProcedureStepStatus, unescaped(known.PatientName)) == ("IN PROGRESS", "Zhang^Wei=张^伟")
    assert known.SpecificCharacterSet == ["", "ISO 2022 IR 58"]


def test_a_device_reads_only_what_it_asks_for_of_a_step(station: Station) -> None:
    _, step = begin(station, generate_uid())
    association = associate(station, PERFORMED_STEP_RETRIEVE, ae_title="IR58_CT")
    status, known = association.send_n_get([0x00400252], PERFORMED_STEP_RETRIEVE, step)
    association.release()
    assert status.Status == 0
    assert known.PerformedProcedureStepStatus == "IN PROGRESS"
    assert "PatientName" not in known
