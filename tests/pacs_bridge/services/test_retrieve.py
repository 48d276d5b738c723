"""C-MOVE and C-GET with DCMTK's movescu, getscu and storescp, and with pynetdicom, with TLS and without."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid
from pynetdicom import AE, build_role, evt
from sqlalchemy import select

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.tables import AuditEvent, Door, Instance
from core.tables import Study as StudyRow
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.services.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from tests.pacs_bridge.services.conftest import Station, Study, associate, make_study, run_dcmtk


@pytest.fixture(scope="module")
def study(station: Station) -> Study:
    """A CT study of two series with three slices each."""
    made = make_study(3, series=2)
    station.store(*made.instances)
    return made


@pytest.fixture(scope="module")
def compressed(station: Station) -> Study:
    """An MR study in RLE Lossless."""
    made = make_study(2, source="MR_small_RLE.dcm")
    station.store(*made.instances)
    return made


def identifier(study: Study, level: str = "STUDY", **keys: object) -> Dataset:
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = level, study.uid
    for keyword, value in keys.items():
        setattr(asked, keyword, value)
    return asked


def keys_of(study: Study) -> list[str]:
    return ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study.uid}"]


def received(folder: Path) -> dict[str, Path]:
    return {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): file for file in folder.iterdir()}


def move(
    station: Station, asked: Dataset, destination: str, ae_title: str = "WORKSTATION"
) -> list[tuple[Dataset, Dataset | None]]:
    association = associate(station, STUDY_ROOT_MOVE, ae_title=ae_title)
    try:
        return list(association.send_c_move(asked, destination, STUDY_ROOT_MOVE))
    finally:
        association.release()


@contextmanager
def receiver(station: Station, ae_title: str, *syntaxes: str, status: int = 0, most: int | None = None) -> Iterator[list[Any]]:
    """Run a pynetdicom storage SCP as a device; what came is in the list. After ``most`` it answers with ``status``."""
    came: list[Any] = []

    def take(event: Any) -> int:
        came.append((event.request.AffectedSOPInstanceUID, event.context.transfer_syntax, event.request))
        return status if most is None or len(came) > most else 0

    entity = AE(ae_title=ae_title)
    for sop_class in ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"):
        entity.add_supported_context(sop_class, list(syntaxes))
    server: Any = entity.start_server(("127.0.0.1", station.ports[ae_title]), block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    try:
        yield came
    finally:
        server.shutdown()


def test_movescu_brings_a_study_to_a_storescp_byte_for_byte(station: Station, study: Study) -> None:
    with station.storescp("WORKSTATION", "+B") as folder:  # +B: write what comes as it comes
        station.run("movescu", "-S", "-aem", "WORKSTATION", *keys_of(study))
        files = received(folder)
        assert sorted(files) == sorted(study.uids)
        with station.database.reading() as session:
            hashes = dict(session.execute(select(Instance.sop_instance_uid, Instance.sha256)).tuples().all())
        assert {uid: dataset_digest(file).sha256 for uid, file in files.items()} == {uid: hashes[uid] for uid in study.uids}


def test_movescu_through_tls_brings_a_study_to_a_tls_storescp(station: Station, study: Study) -> None:
    with station.storescp("TLS_STATION", tls=True) as folder, station.tunnel() as port:
        arguments = ["-aet", "TLS_STATION", "-aec", "SUMU", "-aem", "TLS_STATION", *keys_of(study)]
        run_dcmtk("movescu", "-S", *arguments, "127.0.0.1", str(port))
        assert sorted(received(folder)) == sorted(study.uids)


def test_a_device_that_is_to_use_tls_gets_nothing_without_it(station: Station, study: Study) -> None:
    with station.storescp("TLS_STATION") as folder:
        responses = move(station, identifier(study), "TLS_STATION")
        assert (responses[-1][0].Status, responses[-1][0].NumberOfFailedSuboperations) == (0xA702, 6)
        assert not list(folder.iterdir())


@pytest.mark.parametrize("tls", [False, True])
def test_getscu_brings_a_study_over_its_own_association(station: Station, study: Study, tmp_path: Path, tls: bool) -> None:
    if tls:
        with station.tunnel() as port:
            arguments = ["-aet", "TLS_STATION", "-aec", "SUMU", "-od", str(tmp_path), *keys_of(study)]
            run_dcmtk("getscu", "-S", "+B", *arguments, "127.0.0.1", str(port))
    else:
        station.run("getscu", "-S", "+B", "-od", str(tmp_path), *keys_of(study))
    files = received(tmp_path)
    assert sorted(files) == sorted(study.uids)
    for instance in study.instances:
        assert pydicom.dcmread(files[instance.SOPInstanceUID]).PixelData == instance.PixelData


def test_counts_tell_how_far_a_move_is(station: Station, study: Study) -> None:
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian) as came:
        responses = [status for status, _ in move(station, identifier(study), "WORKSTATION")]
    assert [one.Status for one in responses] == [0xFF00] * 5 + [0]
    assert [one.NumberOfRemainingSuboperations for one in responses[:-1]] == [5, 4, 3, 2, 1]
    assert [one.NumberOfCompletedSuboperations for one in responses] == [1, 2, 3, 4, 5, 6]
    assert {request.MoveOriginatorApplicationEntityTitle for _, _, request in came} == {"WORKSTATION"}


def test_what_the_destination_does_not_take_is_told_by_name(station: Station, study: Study) -> None:
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian, status=0xA700, most=4):
        status, failures = move(station, identifier(study), "WORKSTATION")[-1]
    assert (status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (0xB000, 4, 2)
    assert failures is not None
    assert list(failures.FailedSOPInstanceUIDList) == study.uids[4:]


def test_one_series_or_single_images_can_be_moved(station: Station, study: Study) -> None:
    series = study.instances[3].SeriesInstanceUID
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian) as came:
        move(station, identifier(study, "SERIES", SeriesInstanceUID=series), "WORKSTATION")
        assert [uid for uid, _, _ in came] == study.uids[3:]
        came.clear()
        chosen = study.uids[3:5]
        move(station, identifier(study, "IMAGE", SeriesInstanceUID=series, SOPInstanceUID=chosen), "WORKSTATION")
        assert [uid for uid, _, _ in came] == chosen


def test_compressed_images_go_as_stored_or_decompressed_as_the_destination_takes_them(
    station: Station, compressed: Study
) -> None:
    for accepted in (RLELossless, ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        with receiver(station, "WORKSTATION", accepted) as came:
            status, _ = move(station, identifier(compressed), "WORKSTATION")[-1]
        assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 2)
        assert {syntax for _, syntax, _ in came} == {accepted}
        if accepted != RLELossless:
            assert compressed.instances[0].pixel_array.tobytes() in came[0][2].DataSet.getvalue()


def test_getscu_gets_compressed_images_decompressed(station: Station, compressed: Study, tmp_path: Path) -> None:
    station.run("getscu", "-S", "-od", str(tmp_path), *keys_of(compressed))
    files = received(tmp_path)
    for instance in compressed.instances:
        got = pydicom.dcmread(files[instance.SOPInstanceUID])
        assert got.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert (got.pixel_array == instance.pixel_array).all()


def test_a_class_that_the_destination_does_not_take_fails_and_the_others_go_on(station: Station) -> None:
    mixed = make_study(2)
    strange = make_study(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7").instances[0]
    strange.file_meta.MediaStorageSOPClassUID = strange.SOPClassUID
    strange.StudyInstanceUID, strange.PatientID = mixed.uid, mixed.instances[0].PatientID
    station.store(*mixed.instances, strange)
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian) as came:
        status, failures = move(station, identifier(mixed), "WORKSTATION")[-1]
    assert (status.Status, len(came)) == (0xB000, 2)
    assert failures is not None
    assert failures.FailedSOPInstanceUIDList == strange.SOPInstanceUID


def test_an_unknown_destination_is_told(station: Station, study: Study) -> None:
    for destination in ("NOBODY", "TOWNSHIP_DR"):  # not admitted; admitted, but without an address
        ((status, _),) = move(station, identifier(study), destination)
        assert status.Status == 0xA801


def test_a_destination_that_does_not_listen_fails_every_image_by_name(station: Station, study: Study) -> None:
    status, failures = move(station, identifier(study), "COUNTY_PACS", "COUNTY_PACS")[-1]
    assert status.Status == 0xA702
    assert failures is not None
    assert list(failures.FailedSOPInstanceUIDList) == study.uids


def test_a_destination_that_breaks_off_is_called_again_for_the_rest(station: Station, study: Study) -> None:
    came: list[str] = []

    def take(event: Any) -> int:
        came.append(event.request.AffectedSOPInstanceUID)
        if len(came) == 3:
            event.assoc.abort()
        return 0

    entity = AE(ae_title="WORKSTATION")
    entity.add_supported_context(study.instances[0].SOPClassUID, ExplicitVRLittleEndian)
    address = ("127.0.0.1", station.ports["WORKSTATION"])
    server: Any = entity.start_server(address, block=False, evt_handlers=[(evt.EVT_C_STORE, take)])
    status, failures = move(station, identifier(study), "WORKSTATION")[-1]
    server.shutdown()
    assert (status.Status, status.NumberOfCompletedSuboperations, came) == (0xB000, 5, study.uids)
    assert failures is not None
    assert failures.FailedSOPInstanceUIDList == study.uids[2]


def test_another_township_can_neither_fetch_nor_be_sent_anything(station: Station, study: Study) -> None:
    with receiver(station, "FAR_STATION", ExplicitVRLittleEndian) as came:
        ((status, _),) = move(station, identifier(study), "FAR_STATION", "FAR_STATION")
        assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 0)
        ((refused, _),) = move(station, identifier(study), "FAR_STATION", "COUNTY_PACS")
        assert refused.Status == 0x0124
    assert came == []


def test_a_move_can_be_cancelled(station: Station) -> None:
    long = make_study(40)
    station.store(*long.instances)
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian) as came:
        association = associate(station, STUDY_ROOT_MOVE)
        statuses = []
        for status, _ in association.send_c_move(identifier(long), "WORKSTATION", STUDY_ROOT_MOVE, msg_id=9):
            statuses.append(status)
            if len(statuses) == 3:
                association.send_c_cancel(9, query_model=STUDY_ROOT_MOVE)
        association.release()
    last = statuses[-1]
    assert last.Status == 0xFE00
    assert last.NumberOfCompletedSuboperations == len(came) < 40
    assert last.NumberOfRemainingSuboperations == 40 - len(came)


def test_a_get_tells_what_failed_and_can_be_cancelled(station: Station, study: Study) -> None:
    came: list[str] = []

    def take(event: Any) -> int:
        came.append(event.request.AffectedSOPInstanceUID)
        return 0xA700 if len(came) == 2 else 0

    ct = study.instances[0].SOPClassUID
    association = associate(
        station, STUDY_ROOT_GET, ct, ext_neg=[build_role(ct, scp_role=True, scu_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, take)],
    )  # fmt: skip
    status, failures = list(association.send_c_get(identifier(study), STUDY_ROOT_GET))[-1]
    assert (status.Status, status.NumberOfCompletedSuboperations, status.NumberOfFailedSuboperations) == (0xB000, 5, 1)
    assert failures.FailedSOPInstanceUIDList == study.uids[1]
    statuses = []
    for answer, _ in association.send_c_get(identifier(study), STUDY_ROOT_GET, msg_id=5):
        statuses.append(answer.Status)
        if len(statuses) == 1:
            association.send_c_cancel(5, query_model=STUDY_ROOT_GET)
    assert statuses[-1] == 0xFE00
    association.release()


def test_what_lies_in_the_spool_alone_is_sent_from_there(station: Station) -> None:
    """The row says that no archive has it yet: the spool's own file goes out."""
    waiting = make_study(1).instances[0]
    spool = station.settings.spool / "held"
    name = "import.waiting.dcm"
    waiting.save_as(spool / name, enforce_file_format=True)
    moment = now()
    with station.database.writing() as session:
        known = session.scalars(select(StudyRow).where(StudyRow.organisation_id == station.county.township)).first()
        assert known is not None
        row = StudyRow(
            study_instance_uid=waiting.StudyInstanceUID, organisation_id=station.county.township, patient_id=known.patient_id,
            modality="CT", instance_count=1, first_received_at=moment, last_received_at=moment,
        )  # fmt: skip
        session.add(
            Instance(
                study=row, sop_instance_uid=waiting.SOPInstanceUID, sop_class_uid=waiting.SOPClassUID,
                series_instance_uid=waiting.SeriesInstanceUID, transfer_syntax_uid=waiting.file_meta.TransferSyntaxUID,
                modality="CT", size=1, sha256="0" * 64, door=Door.IMPORT, machine="another", received_at=moment,
                next_try_at=moment, state=CustodyState.RECEIVED, spool_name=name,
            )
        )  # fmt: skip
    with receiver(station, "WORKSTATION", ExplicitVRLittleEndian) as came:
        status, _ = move(station, identifier(Study([waiting])), "WORKSTATION")[-1]
    assert (status.Status, [uid for uid, _, _ in came]) == (0, [waiting.SOPInstanceUID])


def test_a_fetch_leaves_its_trace_for_each_study(station: Station, study: Study, tmp_path: Path) -> None:
    station.run("getscu", "-S", "-od", str(tmp_path), *keys_of(study))
    with station.database.reading() as session:
        events = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "images_fetched", AuditEvent.subject == f"study:{study.uid}")
        ).all()
    assert [(event.actor, event.detail["to"], event.detail["instances"]) for event in events][-1] == (
        "device:WORKSTATION", "WORKSTATION", 6,
    )  # fmt: skip


def test_nothing_is_found_for_a_study_that_nobody_made(station: Station) -> None:
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.StudyInstanceUID = "STUDY", generate_uid()
    ((status, _),) = move(station, asked, "WORKSTATION")
    assert (status.Status, status.NumberOfCompletedSuboperations) == (0, 0)
