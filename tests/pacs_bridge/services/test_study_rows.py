"""The conditions of a search on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pydicom import Dataset
from sqlalchemy import create_engine, select, text

from core.clock import now
from core.database import Database
from core.migrations import upgrade
from core.tables import Door, Instance, Patient, Study
from pacs_bridge.patient_names import search_words
from pacs_bridge.services.study_rows import pages, study_criteria
from tests.conftest import make_county


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(request: pytest.FixtureRequest, tmp_path: object) -> Iterator[Database]:
    """Two studies: 张伟 with a CT, and 100%_Anna with an MR."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path}/rows.db"
    else:
        server = request.getfixturevalue("postgresql")
        with create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT").connect() as connection:
            connection.execute(text("DROP DATABASE IF EXISTS services_rows"))
            connection.execute(text("CREATE DATABASE services_rows"))
        address = f"{server}/services_rows"
    database = Database(address)
    upgrade(database)
    county = make_county(database)
    with database.writing() as session:
        for number, (name, latin, modality) in enumerate((("张伟", "zhang wei", "CT"), ("100%_Anna", "100%_anna", "MR"))):
            patient = Patient(
                organisation_id=county.township, identifier=f"P{number}", name=name, name_latin=latin,
                search_words=search_words(name, latin),
            )  # fmt: skip
            study = Study(
                study_instance_uid=f"1.2.{number}", organisation_id=county.township, patient=patient, modality=modality,
                accession_number=f"A_{number}", performed_at=datetime(2026, 3, 5, 1, tzinfo=UTC), instance_count=1,
                first_received_at=now(), last_received_at=now(),
            )  # fmt: skip
            session.add(
                Instance(
                    study=study, sop_instance_uid=f"1.3.{number}", sop_class_uid="1.4", series_instance_uid=f"1.5.{number}",
                    transfer_syntax_uid="1.2.840.10008.1.2", modality=modality, size=1, sha256="0" * 64, door=Door.IMPORT,
                    machine="here", received_at=now(), next_try_at=now(),
                )
            )  # fmt: skip
    yield database
    database.close()


@pytest.mark.parametrize(
    ("keyword", "value", "expected"),
    [
        ("PatientName", "张*", ["1.2.0"]),
        ("PatientName", "ZHANG^WEI", ["1.2.0"]),
        ("PatientName", "zw", ["1.2.0"]),
        ("PatientName", "100%*", ["1.2.1"]),
        ("PatientName", "1%*", []),  # a per cent sign is no wildcard
        ("AccessionNumber", "A?0", ["1.2.0"]),
        ("AccessionNumber", "A_*", ["1.2.1", "1.2.0"]),
        ("StudyDate", "20260305", ["1.2.1", "1.2.0"]),
        ("StudyDate", "20260308-", []),
        ("ModalitiesInStudy", "M?", ["1.2.1"]),
        ("SeriesInstanceUID", "1.5.1", ["1.2.1"]),
        ("SOPInstanceUID", ["1.3.0", "1.3.9"], ["1.2.0"]),
    ],
)
def test_a_key_finds_its_studies_the_newest_first(rows: Database, keyword: str, value: object, expected: list[str]) -> None:
    asked = Dataset()
    setattr(asked, keyword, value)
    query = select(Study).join(Patient).where(*study_criteria(asked))
    assert [study.study_instance_uid for page in pages(rows, query, 1) for study in page] == expected
