"""A web house over the session's real archive: a county, sign-ins, and studies as devices send them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pydicom
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.app import create_app
from api.film_grants import FilmLink, grant_film
from api.image_access import FILM_COOKIE
from api.signing_in import COOKIE
from core.access import Person, person_of
from core.clock import now
from core.database import Database
from core.lifecycles.report import ReportState
from core.migrations import upgrade
from core.passwords import new_token, token_hash
from core.settings import Settings
from core.tables import AuditEvent, Door, Instance, Report, ReportVersion, SignIn, Study, User
from pacs_bridge.archive import Archive
from pacs_bridge.other_doors import Found, Notice, look, take_in
from tests.conftest import County, RunningArchive, make_county

BIRTH_DATE = "19580312"


@dataclass(frozen=True, kw_only=True)
class FilmHouse:
    """What a test of films and images needs."""

    settings: Settings
    database: Database
    archive: Archive
    county: County
    client: TestClient

    def receive(self, instances: Sequence[Dataset], organisation_id: int | None = None) -> str:
        """Put instances of one study into the archive and into custody; return its UID."""
        for instance in instances:
            file = io.BytesIO()
            instance.save_as(file, enforce_file_format=True)
            file.seek(0)
            archive_id = self.archive.store(file)
            found = look(self.archive, Notice(archive_id=archive_id, origin="RestApi", address=""), self.settings)
            assert isinstance(found, Found)
            with self.database.writing() as session:
                take_in(session, found, settings=self.settings)
        uid = str(instances[0].StudyInstanceUID)
        if organisation_id is not None:
            with self.database.writing() as session:
                study = study_of(session, uid)
                study.organisation_id = study.patient.organisation_id = organisation_id
        return uid

    def sign_report(self, uid: str) -> None:
        """Have the doctor's signed report of a study (its PDF is another room's matter)."""
        with self.database.writing() as session:
            report = Report(study_id=study_of(session, uid).id, state=ReportState.FINAL, created_at=now())
            session.add(report)
            session.flush()
            session.add(
                ReportVersion(
                    report_id=report.id,
                    number=1,
                    author_id=self.county.doctor,
                    findings="双肺纹理清晰。",
                    impression="未见明确异常。",
                    saved_at=now(),
                    signed_at=now(),
                    signed_by_id=self.county.doctor,
                )
            )

    def person(self, session: Session, user_id: int) -> Person:
        """Return a person of the county."""
        return person_of(session, session.get_one(User, user_id))

    def sign_in(self, user_id: int) -> str:
        """Let the client's browser be signed in; return the form token."""
        token, form_token = new_token(), new_token()
        with self.database.writing() as session:
            until = now() + timedelta(hours=1)
            row = SignIn(token_hash=token_hash(token), user_id=user_id, form_token=form_token, created_at=now(), expires_at=until)
            session.add(row)
        self.client.cookies.set(COOKIE, token)
        return form_token

    def forget(self) -> None:
        """Let the client's browser be nobody's."""
        self.client.cookies.clear()

    def grant(self, uid: str) -> FilmLink:
        """Give a film of a study, by the county's doctor."""
        with self.database.writing() as session:
            return grant_film(session, self.person(session, self.county.doctor), study_of(session, uid), settings=self.settings)

    def open_film(self, link: FilmLink, check: str | None = None) -> int:
        """Answer a film's question in the client's browser; return the status."""
        answer = self.client.post(f"/f/{link.token}", data={"check": check or link.code or BIRTH_DATE}, follow_redirects=False)
        return answer.status_code

    def visit_id(self) -> str:
        """Return the number of the open visit, as the film page's addresses carry it."""
        page = self.client.get("/film", headers={"Accept": "text/html"})
        assert page.status_code == 200, page.text
        return page.text.split("/film/")[1].split("/")[0]

    def events(self, action: str) -> list[AuditEvent]:
        """Return the traces of one kind."""
        with self.database.reading() as session:
            events = list(session.scalars(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.id)))
            session.expunge_all()
            return events


@pytest.fixture
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let argon2 take a millisecond: these tests answer hundreds of questions."""
    monkeypatch.setattr("core.passwords._HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def house(running_archive: RunningArchive, tmp_path: Path, quick_hashes: None) -> Iterator[FilmHouse]:
    """A county's web house with a database of its own over the session's archive."""
    settings = running_archive.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'sumu.db'}"})
    database = Database(settings.database_address)
    upgrade(database)
    county = make_county(database)
    with TestClient(create_app(settings), base_url="http://film.test") as client:
        yield FilmHouse(settings=settings, database=database, archive=running_archive.archive, county=county, client=client)
    database.close()


def study_of(session: Session, uid: str) -> Study:
    """Return a study by its UID."""
    return session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()


def is_film_cookie_set(client: TestClient) -> bool:
    """Return whether the browser carries a visit."""
    return FILM_COOKIE in client.cookies


def ct_study(slices: int = 3, *, birth_date: str = BIRTH_DATE) -> list[Dataset]:
    """Return a CT of pydicom's one slice under fresh UIDs."""
    study, series, patient = generate_uid(), generate_uid(), f"P{generate_uid()[-12:]}"
    instances = []
    for number in range(1, slices + 1):
        one = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
        _rename(one, study, series)
        one.InstanceNumber, one.SpecificCharacterSet = number, "ISO_IR 192"
        one.PatientName, one.PatientID, one.PatientBirthDate, one.PatientAge = "Zhang^San=张^三", patient, birth_date, "046Y"
        instances.append(one)
    return instances


def pydicom_file(name: str) -> list[Dataset]:
    """Return one of pydicom's files as a study of its own."""
    one = pydicom.dcmread(get_testdata_file(name))
    _rename(one, generate_uid(), generate_uid())
    return [one]


def slide_study(width: int = 700, height: int = 500, tile: int = 256) -> list[Dataset]:
    """Return a slide of two levels; each tile of the larger has a grey of its own: 40 + 8 times its frame."""
    study, series = generate_uid(), generate_uid()
    return [_level(width >> shift, height >> shift, tile, 0.0005 * 2**shift, study, series) for shift in (0, 1)]


def _level(width: int, height: int, tile: int, spacing: float, study: str, series: str) -> Dataset:
    columns, rows = -(-width // tile), -(-height // tile)
    level = Dataset()
    level.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    level.file_meta = pydicom.dataset.FileMetaDataset()
    level.file_meta.TransferSyntaxUID, level.file_meta.MediaStorageSOPClassUID = JPEGBaseline8Bit, level.SOPClassUID
    _rename(level, study, series)
    level.PatientName, level.PatientID, level.Modality, level.PatientBirthDate = "Slide", f"P{study[-12:]}", "SM", BIRTH_DATE
    level.StudyDate, level.StudyTime, level.ContainerIdentifier = "20261125", "080000", "1A"
    level.ImageType, level.DimensionOrganizationType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "TILED_FULL"
    level.TotalPixelMatrixColumns, level.TotalPixelMatrixRows, level.Columns, level.Rows = width, height, tile, tile
    level.NumberOfFrames, level.SamplesPerPixel, level.PhotometricInterpretation = columns * rows, 3, "YBR_FULL_422"
    level.PlanarConfiguration, level.BitsAllocated, level.BitsStored, level.HighBit, level.PixelRepresentation = 0, 8, 8, 7, 0
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = [spacing, spacing]
    groups.PixelMeasuresSequence = [measures]
    level.SharedFunctionalGroupsSequence = [groups]
    level.PixelData = encapsulate([_grey_jpeg(tile, 40 + 8 * frame) for frame in range(columns * rows)])
    level["PixelData"].VR = "OB"
    return level


def _grey_jpeg(side: int, grey: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), grey, np.uint8)).save(out, "JPEG", quality=95)
    return out.getvalue()


def _rename(instance: Dataset, study: str, series: str) -> None:
    instance.StudyInstanceUID, instance.SeriesInstanceUID, instance.SOPInstanceUID = study, series, generate_uid()
    instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID


def mark_ours(database: Database, sop_instance_uid: str) -> None:
    """Make an instance one of our own result objects."""
    with database.writing() as session:
        session.scalars(select(Instance).where(Instance.sop_instance_uid == sop_instance_uid)).one().door = Door.OURS
