"""Studies that stand in the archive, with their rows, ready to be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.lifecycles.study import STUDY, StudyEvent
from core.settings import Settings
from core.tables import Door, Study
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.registration import Arrival, register
from tests.conftest import County, RunningArchive

SettledStudy = Callable[[str], int]


@pytest.fixture
def settled_study(
    tmp_path: Path, settings: Settings, database: Database, county: County, running_archive: RunningArchive
) -> SettledStudy:
    """Return a function that puts one of pydicom's files under fresh UIDs into the house and returns the study's id."""

    def put(name: str) -> int:
        dataset = pydicom.dcmread(str(get_testdata_file(name, download=False)))
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid())
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        path = tmp_path / f"{dataset.SOPInstanceUID}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        with path.open("rb") as file:
            archive_id = running_archive.archive.store(file)
        digest = dataset_digest(path)
        arrival = Arrival(
            door=Door.ARCHIVE,
            organisation_id=county.township,
            received_at=now(),
            size=digest.size,
            sha256=digest.sha256,
            machine=settings.machine,
            archive_id=archive_id,
        )
        with database.writing() as session:
            _, instance = register(session, facts_of(read_header(path), county_timezone="Asia/Shanghai"), arrival)
            return settle(session, instance.study_id)

    return put


def settle(session: Session, study_id: int) -> int:
    """Settle a study without waiting for its quiet time."""
    study = session.get_one(Study, study_id)
    study.state = STUDY.next(study.state, StudyEvent.SETTLE)
    study.settled_at = now()
    study.revision += 1
    return study.id
