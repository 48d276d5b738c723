"""Film grants as functions: what opens a film, what closes it, what is counted and written down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from api.film_grants import (
    Answer,
    CheckKind,
    FilmLink,
    Opening,
    extend,
    grant_film,
    grant_of,
    normal_check,
    open_film,
    present_state,
    revoke,
    unlock,
    visit_of,
)
from core.access import Person, person_of
from core.clock import now
from core.database import Database
from core.errors import ForbiddenTransition, NotAllowed
from core.lifecycles.film_grant import FilmGrantState
from core.settings import FilmSettings, Settings
from core.tables import AuditEvent, FilmGrant, Patient, Study, User, VisitOutcome
from tests.api.film_house import quick_hashes
from tests.conftest import County

__all__ = ["quick_hashes"]

pytestmark = pytest.mark.usefixtures("quick_hashes")

BIRTH_DATE = now().date().replace(year=1958, month=3, day=12)


def a_study(session: Session, county: County, *, born: bool = True) -> Study:
    patient = Patient(
        organisation_id=county.township,
        identifier="P1",
        name="张三",
        name_latin="zhang san",
        birth_date=BIRTH_DATE if born else None,
    )
    session.add(patient)
    session.flush()
    study = Study(
        study_instance_uid="1.2.3",
        organisation_id=county.township,
        patient_id=patient.id,
        first_received_at=now(),
        last_received_at=now(),
    )
    session.add(study)
    session.flush()
    return study


def person(session: Session, user_id: int) -> Person:
    return person_of(session, session.get_one(User, user_id))


@pytest.fixture
def link(database: Database, county: County, settings: Settings) -> FilmLink:
    with database.writing() as session:
        return grant_film(session, person(session, county.operator), a_study(session, county), settings=settings)


def attempt(database: Database, settings: Settings, token: str, check: str) -> Opening:
    return open_film(database, token, check, address="10.0.0.8", browser="iPhone", settings=settings)


def grant_row(session: Session, link: FilmLink) -> FilmGrant:
    return session.get_one(FilmGrant, link.grant_id)


def actions(database: Database) -> list[str]:
    with database.reading() as session:
        return [event.action for event in session.query(AuditEvent).order_by(AuditEvent.id)]


def test_the_birth_date_opens_a_film_and_a_visit_is_kept(database: Database, settings: Settings, link: FilmLink) -> None:
    assert link.check_kind is CheckKind.BIRTH_DATE
    assert link.code is None
    assert link.url == f"{settings.web_address}/f/{link.token}"
    opening = attempt(database, settings, link.token, "1958-3-12")
    assert opening.answer is Answer.OPENED
    with database.reading() as session:
        visit = visit_of(session, str(opening.visit_token))
        assert visit is not None
        assert (visit.address, visit.browser, visit.outcome) == ("10.0.0.8", "iPhone", VisitOutcome.OPENED)
    assert actions(database) == ["film_granted", "film_opened"]


def test_without_a_birth_date_a_code_is_printed(database: Database, settings: Settings, county: County) -> None:
    with database.writing() as session:
        link = grant_film(session, person(session, county.operator), a_study(session, county, born=False), settings=settings)
    assert link.code is not None
    assert len(link.code) == 6
    assert attempt(database, settings, link.token, "").answer is Answer.WRONG
    assert attempt(database, settings, link.token, link.code).answer is Answer.OPENED


def test_neither_token_nor_check_can_be_read_from_the_database(database: Database, link: FilmLink) -> None:
    with database.reading() as session:
        row = grant_row(session, link)
        kept = " ".join(str(value) for value in vars(row).values())
    assert link.token not in kept
    assert "19580312" not in kept


def test_wrong_answers_lock_and_a_person_unlocks(database: Database, settings: Settings, county: County, link: FilmLink) -> None:
    answers = [attempt(database, settings, link.token, "19000101").answer for _ in range(settings.film.tries)]
    assert answers == [Answer.WRONG] * (settings.film.tries - 1) + [Answer.LOCKED]
    assert attempt(database, settings, link.token, "19580312").answer is Answer.LOCKED
    with database.writing() as session:
        unlock(session, person(session, county.operator), grant_row(session, link))
    assert attempt(database, settings, link.token, "19580312").answer is Answer.OPENED
    assert actions(database).count("film_refused") == settings.film.tries + 1


def test_a_right_answer_gives_the_tries_back(database: Database, settings: Settings, link: FilmLink) -> None:
    strict = settings.model_copy(update={"film": FilmSettings(tries=2)})
    for _ in range(3):
        assert attempt(database, strict, link.token, "0").answer is Answer.WRONG
        assert attempt(database, strict, link.token, "19580312").answer is Answer.OPENED


def test_an_unknown_token_is_answered_like_a_wrong_check(database: Database, settings: Settings, link: FilmLink) -> None:
    assert attempt(database, settings, "no-such-token", "19580312").answer is Answer.WRONG
    assert actions(database) == ["film_granted"]


def test_revoking_ends_open_visits_at_once(database: Database, settings: Settings, county: County, link: FilmLink) -> None:
    token = str(attempt(database, settings, link.token, "19580312").visit_token)
    with database.writing() as session:
        revoke(session, person(session, county.operator), grant_row(session, link))
    with database.reading() as session:
        assert visit_of(session, token) is None
    assert attempt(database, settings, link.token, "19580312").answer is Answer.REVOKED
    with database.writing() as session, pytest.raises(ForbiddenTransition):
        extend(session, person(session, county.operator), grant_row(session, link), settings=settings)


def test_an_expired_link_opens_again_when_extended(
    database: Database, settings: Settings, county: County, link: FilmLink
) -> None:
    token = str(attempt(database, settings, link.token, "19580312").visit_token)
    with database.writing() as session:
        grant_row(session, link).expires_at = now() - timedelta(seconds=1)
    with database.reading() as session:
        assert present_state(grant_row(session, link)) is FilmGrantState.EXPIRED
        assert visit_of(session, token) is None
    assert attempt(database, settings, link.token, "19580312").answer is Answer.EXPIRED
    with database.writing() as session:
        extend(session, person(session, county.operator), grant_row(session, link), settings=settings)
    assert attempt(database, settings, link.token, "19580312").answer is Answer.OPENED
    assert {"film_expired", "film_extended"} <= set(actions(database))


def test_a_visit_ends_by_itself(database: Database, settings: Settings, link: FilmLink) -> None:
    token = str(attempt(database, settings, link.token, "19580312").visit_token)
    with database.writing() as session:
        visit = visit_of(session, token)
        assert visit is not None
        assert visit.expires_at is not None
        assert visit.expires_at - visit.at == timedelta(minutes=settings.film.visit_minutes)
        visit.expires_at = now()
    with database.reading() as session:
        assert visit_of(session, token) is None


def test_only_roles_that_give_films_give_them(database: Database, settings: Settings, county: County, link: FilmLink) -> None:
    with database.writing() as session:
        administrator = person_of(session, session.query(User).filter_by(username="administrator").one())
        grant = grant_of(session, link.token)
        assert grant is not None
        with pytest.raises(NotAllowed):
            grant_film(session, administrator, grant.study, settings=settings)
        with pytest.raises(NotAllowed):
            revoke(session, administrator, grant)


@pytest.mark.parametrize(
    "typed", ["19580312", "1958-03-12", "1958年3月12日", "１９５８／３／１２", " 1958 03 12 ", "1958.3.12", "1958 0312"]
)
def test_a_birth_date_may_be_typed_as_people_write_it(typed: str) -> None:
    assert normal_check(typed) == "19580312"
