"""Whose data a person sees, and what they may do with it."""

from __future__ import annotations

import pytest

from core.access import ROLE_PERMISSIONS, Permission, person_of, visible_studies
from core.clock import now
from core.database import Database
from core.errors import NotAllowed
from core.tables import Patient, Role, Study, User
from tests.conftest import make_county


def study_of(database: Database, organisation: int, uid: str) -> None:
    with database.writing() as session:
        patient = Patient(organisation_id=organisation, identifier=uid, name="甲", name_latin="jia")
        session.add(patient)
        session.flush()
        session.add(
            Study(
                study_instance_uid=uid,
                organisation_id=organisation,
                patient_id=patient.id,
                first_received_at=now(),
                last_received_at=now(),
            )
        )


def seen_by(database: Database, user: int) -> set[str]:
    with database.reading() as session:
        person = person_of(session, session.get_one(User, user))
        return {study.study_instance_uid for study in session.scalars(visible_studies(person))}


def test_the_county_sees_its_townships_and_a_township_sees_itself(database: Database) -> None:
    county = make_county(database)
    study_of(database, county.township, "1.1")
    study_of(database, county.other_township, "1.2")
    study_of(database, county.city, "1.3")
    assert seen_by(database, county.doctor) == {"1.1", "1.2"}
    assert seen_by(database, county.operator) == {"1.1"}


def test_the_city_does_not_look_into_the_countys_daily_work(database: Database) -> None:
    county = make_county(database)
    study_of(database, county.township, "1.1")
    with database.writing() as session:
        session.get_one(User, county.doctor).organisation_id = county.city
    assert seen_by(database, county.doctor) == set()


def test_roles_give_permissions_and_nothing_else_does(database: Database) -> None:
    county = make_county(database)
    with database.reading() as session:
        doctor = person_of(session, session.get_one(User, county.doctor))
        operator = person_of(session, session.get_one(User, county.operator))
    doctor.must(Permission.SIGN_REPORT)
    with pytest.raises(NotAllowed, match="李技师"):
        operator.must(Permission.SIGN_REPORT)


def test_every_role_is_in_the_table() -> None:
    assert set(ROLE_PERMISSIONS) == set(Role)
