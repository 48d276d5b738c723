"""The door for CDs and USB sticks: the same custody as a device's, and nothing stops for a file that is neither."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.fileset import FileSet
from pydicom.uid import UID, generate_uid
from sqlalchemy import select

from core.audit import verify
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.study import StudyState
from core.settings import Settings
from core.tables import AuditEvent, Door, Instance, Patient, Study
from pacs_bridge.completeness import evidence_of, settle_due
from pacs_bridge.import_door import ImportDoor
from pacs_bridge.import_files import ImportLimits, ImportTooLarge, NothingToImport
from pacs_bridge.import_outcomes import ImportedFile, Outcome
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.spool import Spool
from tests.conftest import County
from tests.pacs_bridge.ecg import machine_files as machines

ACTOR = "process:test"


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool)


@pytest.fixture
def door(settings: Settings, database: Database, spool: Spool) -> ImportDoor:
    return ImportDoor(settings, database, spool)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "stick"
    folder.mkdir()
    return folder


def dicom(folder: Path, name: str = "image.dcm", *, uid: str = "", study: str = "", patient: str = "D1") -> Path:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid) if uid else generate_uid()
    dataset.StudyInstanceUID, dataset.PatientID = study or generate_uid(), patient
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def by_name(files: list[ImportedFile]) -> dict[str, ImportedFile]:
    return {file.name: file for file in files}


def test_a_stick_with_everything_on_it(
    door: ImportDoor, stick: Path, county: County, database: Database, settings: Settings, spool: Spool
) -> None:
    study = generate_uid()
    image = dicom(stick, "DICOM/A1", study=study)
    dicom(stick, "DICOM/A2", study=study)
    ecg = machines.muse(stick, machines.eight_leads())
    (stick / "autorun.inf").write_text("[autorun]")
    (stick / ".DS_Store").write_bytes(b"x")
    files = by_name(door.take_in(stick, organisation_id=county.township, actor=ACTOR))

    assert {name: file.outcome for name, file in files.items()} == {
        "DICOM/A1": Outcome.NEW, "DICOM/A2": Outcome.NEW, "autorun.inf": Outcome.REFUSED, "muse.xml": Outcome.NEW,
    }  # fmt: skip
    assert "not known here" in files["autorun.inf"].remark
    assert files["autorun.inf"].remedy
    with database.reading() as session:
        rows = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
        assert {row.door for row in rows.values()} == {Door.IMPORT}
        assert {row.state for row in rows.values()} == {CustodyState.RECEIVED}
        row = rows[files["DICOM/A1"].sop_instance_uid]
        assert (row.sha256, row.machine) == (dataset_digest(image).sha256, settings.machine)
        assert row.spool_name is not None
        assert spool.path(row.spool_name).read_bytes() == image.read_bytes()
        assert row.study.instance_count == 2
        assert {one.organisation_id for one in session.scalars(select(Study))} == {county.township}
        assert rows[files["muse.xml"].sop_instance_uid].modality == "ECG"
        assert {patient.name for patient in session.scalars(select(Patient))} >= {"王小明"}
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "study_imported")).all()
        assert sorted(event.detail["instances"] for event in events) == [1, 2]
        assert {(event.actor, event.detail["organisation"]) for event in events} == {(ACTOR, "NEAR")}
        assert verify(session) == len(events)
    original = hashlib.sha256(ecg.read_bytes()).hexdigest()
    assert (settings.data / "originals" / original).read_bytes() == ecg.read_bytes()
    assert list(spool.arriving.iterdir()) == []


def test_what_is_brought_twice_is_kept_once(
    door: ImportDoor, stick: Path, county: County, database: Database, spool: Spool
) -> None:
    dicom(stick)
    shutil.copy(stick / "image.dcm", stick / "copy.dcm")
    machines.scp(stick, machines.eight_leads())
    first = door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    assert sorted(file.outcome for file in first) == [Outcome.NEW, Outcome.NEW, Outcome.REPEAT]
    held = sorted(file.name for file in spool.held.iterdir())
    again = door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    assert {file.outcome for file in again} == {Outcome.REPEAT}
    assert sorted(file.name for file in spool.held.iterdir()) == held
    assert len(held) == 2
    with database.reading() as session:
        assert len(session.scalars(select(Instance)).all()) == 2


def test_what_the_archive_has_already_does_not_come_back_into_the_spool(
    door: ImportDoor, stick: Path, county: County, database: Database, spool: Spool
) -> None:
    dicom(stick)
    door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    with database.writing() as session:
        row = session.scalars(select(Instance)).one()
        assert row.spool_name is not None
        spool.release(row.spool_name)
        row.state, row.spool_name = CustodyState.COMPARED, None
    (file,) = door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    assert file.outcome is Outcome.REPEAT
    assert list(spool.held.iterdir()) == []


def test_another_instance_under_a_taken_uid_is_refused_and_displaces_nothing(
    door: ImportDoor, stick: Path, county: County, database: Database, spool: Spool
) -> None:
    uid = generate_uid()
    first = dicom(stick, "a.dcm", uid=uid, study="1.2.3")
    dicom(stick, "b.dcm", uid=uid, study="1.2.3", patient="somebody else")
    files = by_name(door.take_in(stick, organisation_id=county.township, actor=ACTOR))
    assert files["a.dcm"].outcome is Outcome.NEW
    assert files["b.dcm"].outcome is Outcome.REFUSED
    assert "other bytes" in files["b.dcm"].remark
    (kept,) = spool.held.iterdir()
    assert kept.read_bytes() == first.read_bytes()


def test_an_import_counts_like_an_association_that_has_ended(
    door: ImportDoor, stick: Path, county: County, database: Database, settings: Settings
) -> None:
    machines.contec(stick, machines.eight_leads())
    door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    with database.writing() as session:
        study = session.scalars(select(Study)).one()
        evidence = evidence_of(session, study)
        assert (evidence.open_associations, evidence.came_by_other_doors, evidence.undelivered) == (0, False, 1)
        assert settle_due(session, settings.completeness) == []  # the archive lacks it still
        session.scalars(select(Instance)).one().state = CustodyState.COMPARED
        session.flush()
        assert settle_due(session, settings.completeness) == [study]
        assert study.state is StudyState.SETTLED


def test_the_index_of_a_cd_is_passed_over(door: ImportDoor, stick: Path, county: County, tmp_path: Path) -> None:
    index = FileSet()
    index.add(dicom(tmp_path / "source"))
    index.write(stick)
    files = by_name(door.take_in(stick, organisation_id=county.township, actor=ACTOR))
    assert files["DICOMDIR"].outcome is Outcome.PASSED_OVER
    assert sorted(file.outcome for file in files.values()) == [Outcome.NEW, Outcome.PASSED_OVER]


def test_a_wfdb_record_is_one_recording_of_two_files(door: ImportDoor, stick: Path, county: County, settings: Settings) -> None:
    machines.wfdb(stick, machines.eight_leads())
    files = by_name(door.take_in(stick, organisation_id=county.township, actor=ACTOR))
    assert files["r1.hea"].outcome is Outcome.NEW
    assert (files["r1.dat"].outcome, files["r1.dat"].remark) == (Outcome.PASSED_OVER, "Part of r1.hea.")
    assert len(list((settings.data / "originals").iterdir())) == 2


def test_broken_files_are_told_and_stop_nothing(door: ImportDoor, stick: Path, county: County) -> None:
    good = dicom(stick, "good.dcm")
    (stick / "cut.dcm").write_bytes(good.read_bytes()[:140])
    dataset = pydicom.dcmread(good)
    del dataset.StudyInstanceUID
    dataset.save_as(stick / "nameless.dcm")
    (stick / "half.xml").write_text(machines.muse(stick, machines.eight_leads()).read_text("utf-8")[:3000], "utf-8")
    (stick / "empty").write_bytes(b"")
    files = by_name(door.take_in(stick, organisation_id=county.township, actor=ACTOR))
    assert files["good.dcm"].outcome is files["muse.xml"].outcome is Outcome.NEW
    refused = {name: file for name, file in files.items() if file.outcome is Outcome.REFUSED}
    assert set(refused) == {"cut.dcm", "nameless.dcm", "half.xml", "empty"}
    assert "StudyInstanceUID" in refused["nameless.dcm"].remark
    assert refused["half.xml"].format == "GE MUSE XML"
    assert all(file.remedy for file in refused.values())


def test_a_zip_of_chinese_windows(door: ImportDoor, stick: Path, county: County, settings: Settings, tmp_path: Path) -> None:
    path = dicom(stick)
    with zipfile.ZipFile(tmp_path / "cd.zip", "w") as archive:
        archive.write(path, "chest.dcm")
    _packed_in_gbk(tmp_path / "gbk.zip", "影像/胸片.dcm", path.read_bytes())
    (file,) = door.take_in(tmp_path / "gbk.zip", organisation_id=county.township, actor=ACTOR)
    assert (file.name, file.outcome) == ("影像/胸片.dcm", Outcome.NEW)
    (again,) = door.take_in(tmp_path / "cd.zip", organisation_id=county.township, actor=ACTOR)
    assert again.outcome is Outcome.REPEAT
    assert [left.name for left in settings.data.iterdir() if left.name.startswith(".")] == []


def _packed_in_gbk(path: Path, name: str, content: bytes) -> None:
    encoded = name.encode("gb18030")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("n" * len(encoded)), content)
    path.write_bytes(path.read_bytes().replace(b"n" * len(encoded), encoded))


@pytest.mark.parametrize("name", ["../outside.dcm", "/etc/outside.dcm", "a/../../outside.dcm", "..\\outside.dcm", "C:\\outside"])
def test_a_zip_that_leads_out_of_itself_is_refused(name: str, door: ImportDoor, county: County, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(NothingToImport, match="leads out of it"):
        door.take_in(tmp_path / "bad.zip", organisation_id=county.township, actor=ACTOR)
    assert not list(tmp_path.rglob("outside*"))


@pytest.mark.parametrize("limits", [ImportLimits(files=2), ImportLimits(total_bytes=2_000_000)], ids=["files", "bytes"])
def test_an_import_is_bounded_and_then_takes_nothing(
    limits: ImportLimits, door: ImportDoor, stick: Path, county: County, spool: Spool, tmp_path: Path
) -> None:
    for number in range(3):
        (stick / f"{number}.bin").write_bytes(bytes(1_000_000))
    shutil.make_archive(str(tmp_path / "bomb"), "zip", stick)
    assert (tmp_path / "bomb.zip").stat().st_size < 20_000
    for source in (stick, tmp_path / "bomb.zip"):
        with pytest.raises(ImportTooLarge):
            door.take_in(source, organisation_id=county.township, actor=ACTOR, limits=limits)
    assert list(spool.held.iterdir()) == []


def test_links_on_a_stick_are_not_followed(door: ImportDoor, stick: Path, county: County, tmp_path: Path) -> None:
    dicom(tmp_path / "elsewhere")
    (stick / "link.dcm").symlink_to(tmp_path / "elsewhere" / "image.dcm")
    (stick / "folder").symlink_to(tmp_path / "elsewhere")
    assert door.take_in(stick, organisation_id=county.township, actor=ACTOR) == []


def test_a_source_that_is_not_there(door: ImportDoor, county: County, tmp_path: Path) -> None:
    with pytest.raises(NothingToImport, match="is not there"):
        door.take_in(tmp_path / "nowhere", organisation_id=county.township, actor=ACTOR)


def test_a_name_in_the_bytes_of_chinese_windows_can_be_read(door: ImportDoor, stick: Path, county: County) -> None:
    raw = bytes(stick) + b"/" + "心电图.xml".encode("gb18030")
    with open(raw, "wb") as file:
        file.write(machines.muse(stick, machines.eight_leads()).read_bytes())
    (stick / "muse.xml").unlink()
    (file_told,) = door.take_in(stick, organisation_id=county.township, actor=ACTOR)
    assert (file_told.name, file_told.outcome) == ("心电图.xml", Outcome.NEW)
