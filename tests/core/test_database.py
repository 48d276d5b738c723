"""The tables and sessions, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, StatementError

from core.clock import now
from core.database import Database
from core.migrations import upgrade
from core.tables import Base, Level, Organisation, Patient, Study, Urgency
from tests.conftest import make_county


def test_the_migrations_make_just_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_is_harmless(database: Database) -> None:
    upgrade(database)
    make_county(database)
    upgrade(database)
    with database.reading() as session:
        assert session.scalar(select(Organisation).where(Organisation.level == Level.CITY)) is not None


def test_times_come_back_as_aware_utc_and_naive_ones_are_refused(database: Database) -> None:
    county = make_county(database)
    morning = datetime(2026, 11, 25, 8, 30, tzinfo=timezone(timedelta(hours=8)))
    with database.writing() as session:
        patient = Patient(organisation_id=county.township, identifier="1", name="白音华", name_latin="bai yin hua")
        session.add(patient)
        session.flush()
        study = Study(
            study_instance_uid="1.2.3",
            organisation_id=county.township,
            patient_id=patient.id,
            first_received_at=morning,
            last_received_at=morning,
        )
        session.add(study)
    with database.reading() as session:
        kept = session.scalars(select(Study)).one()
        assert kept.first_received_at == morning
        assert kept.first_received_at.utcoffset() == timedelta(0)
        assert kept.first_received_at.hour == 0
        assert kept.patient.name == "白音华"
    with pytest.raises(StatementError, match="time zone"), database.writing() as session:
        session.get_one(Study, kept.id).first_received_at = datetime(2026, 1, 1)  # noqa: DTZ001


def test_what_raises_is_rolled_back(database: Database) -> None:
    make_county(database)
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(Organisation(code="NEW", level=Level.TOWNSHIP, name_zh="新", name_en="New"))
        session.flush()
        session.add(Organisation(code="NEAR", level=Level.TOWNSHIP, name_zh="重", name_en="Twice"))
        session.flush()
    with database.reading() as session:
        assert session.scalar(select(Organisation).where(Organisation.code == "NEW")) is None


def test_writers_at_once_wait_for_each_other_and_lose_nothing(database: Database) -> None:
    make_county(database)
    failures: list[BaseException] = []

    def add(writer: int) -> None:
        try:
            for number in range(10):
                with database.writing() as session:
                    session.scalars(select(Organisation)).all()
                    session.add(Organisation(code=f"W{writer}-{number}", level=Level.TOWNSHIP, name_zh="乡", name_en="T"))
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=add, args=(writer,)) for writer in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    assert failures == []
    with database.reading() as session:
        assert len(session.scalars(select(Organisation).where(Organisation.code.like("W%"))).all()) == 40


def test_now_is_aware_utc() -> None:
    assert now().tzinfo is UTC


def test_the_more_urgent_has_the_lower_rank() -> None:
    assert [urgency.rank for urgency in (Urgency.CRITICAL, Urgency.URGENT, Urgency.ROUTINE)] == [0, 1, 2]
