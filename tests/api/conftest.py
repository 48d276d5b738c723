"""A web application on the test's county, signed-in browsers, and studies as the node and the workflow leave them."""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydicom.uid import generate_uid

from api.app import create_app
from api.signing_in import COOKIE
from core.clock import now
from core.database import Database
from core.lifecycles.preread import PreReadState
from core.lifecycles.study import StudyState
from core.migrations import upgrade
from core.passwords import hash_password, new_token, token_hash
from core.settings import Settings
from core.tables import AuditEvent, Finding, Measurement, Patient, PreRead, Role, SignIn, Study, Urgency, User, UserRole
from tests.conftest import PASSWORD, County, make_county

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def small_county(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, County]:
    """A database with the tests' county, made once; each test gets a copy."""
    file = tmp_path_factory.mktemp("county") / "sumu.db"
    database = Database(f"sqlite:///{file}")
    upgrade(database)
    county = make_county(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return file, county


@pytest.fixture
def database(settings: Settings, small_county: tuple[Path, County]) -> Iterator[Database]:
    """A copy of the small county's database."""
    shutil.copy(small_county[0], settings.data / "sumu.db")
    database = Database(settings.database_address)
    yield database
    database.close()


@pytest.fixture
def county(database: Database, small_county: tuple[Path, County]) -> County:
    """The county that ``database`` holds."""
    return small_county[1]


@pytest.fixture
def app(settings: Settings, county: County) -> Iterator[FastAPI]:
    """The application of a service whose archive is silent; tests that need pixels start one."""
    app = create_app(settings)
    yield app
    app.state.house.database.close()
    app.state.house.archive.close()


class Browser:
    """A browser that reads the form token from a page, as ours do."""

    def __init__(self, app: FastAPI) -> None:
        self.http = TestClient(app, follow_redirects=False, headers={"Accept": "text/html"})
        self.form_token = ""

    def sign_in(self, username: str, password: str = PASSWORD) -> httpx.Response:
        """Send the form; on success keep the token that the worklist carries."""
        answer = self.http.post("/sign-in", data={"username": username, "password": password})
        if answer.status_code == 303:
            found = re.search(r'name="form_token" value="([^"]+)"', self.http.get("/worklist").text)
            assert found
            self.form_token = found[1]
        return answer

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for a page."""
        return self.http.get(path, **more)

    def json(self, path: str, **parameters: str) -> Any:
        """Ask the API."""
        return self.http.get(path, params=parameters, headers={"Accept": "application/json"}).json()

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of one of our pages."""
        return self.http.post(path, data={"form_token": self.form_token, **fields})

    def htmx(self, path: str, **fields: str) -> httpx.Response:
        """Send a form as htmx does."""
        return self.http.post(path, data=fields, headers={"HX-Request": "true", "X-Form-Token": self.form_token})

    def enter(self, database: Database, username: str) -> None:
        """Be signed in without a password: argon2 is slow on purpose, and only tests about signing in need it."""
        token, self.form_token = new_token(), new_token()
        with database.writing() as session:
            user = session.query(User).filter_by(username=username).one()
            session.add(
                SignIn(
                    token_hash=token_hash(token),
                    user_id=user.id,
                    form_token=self.form_token,
                    created_at=now(),
                    expires_at=now() + timedelta(hours=1),
                )
            )
        self.http.cookies.set(COOKIE, token)


@pytest.fixture
def browser(app: FastAPI) -> Browser:
    """A browser that nobody has signed in with."""
    return Browser(app)


@pytest.fixture
def signed_in(app: FastAPI, database: Database) -> Callable[[str], Browser]:
    """Give a person a signed-in browser of their own."""

    def sign_in(username: str) -> Browser:
        browser = Browser(app)
        browser.enter(database, username)
        return browser

    return sign_in


@pytest.fixture
def second_doctor(database: Database, county: County) -> str:
    """Another doctor of the county; returns the user name."""
    return add_person(database, county.county, "second", Role.DOCTOR)


def add_person(database: Database, organisation: int, username: str, role: Role, language: str = "zh") -> str:
    """Add a person with the tests' password."""
    with database.writing() as session:
        session.add(
            User(
                organisation_id=organisation,
                username=username,
                display_name=username.title(),
                password_hash=hash_password(PASSWORD),
                language=language,
                created_at=now(),
                roles=[UserRole(role=role)],
            )
        )
    return username


def add_study(
    database: Database,
    organisation: int,
    *,
    name: str = "王建国",
    name_latin: str = "WANG^JIANGUO",
    urgency: Urgency = Urgency.ROUTINE,
    modality: str = "DX",
    minutes_ago: float = 10,
    state: StudyState = StudyState.SETTLED,
) -> str:
    """Put a study into the database as if it had arrived, and return its UID."""
    number, received = next(_NUMBERS), now() - timedelta(minutes=minutes_ago)
    with database.writing() as session:
        patient = Patient(organisation_id=organisation, identifier=f"P{number:05d}", name=name, name_latin=name_latin, sex="M")
        session.add(patient)
        session.flush()
        study = Study(
            study_instance_uid=generate_uid(),
            organisation_id=organisation,
            patient_id=patient.id,
            accession_number=f"A{number:05d}",
            description="胸部正位片",
            body_part="CHEST",
            modality=modality,
            age_years=67,
            state=state,
            revision=1,
            instance_count=1,
            first_received_at=received,
            last_received_at=received,
        )
        study.rank_as(urgency)
        session.add(study)
        return study.study_instance_uid


def add_pre_read(
    database: Database,
    study_uid: str,
    *findings: tuple[str, float | None],
    engine: str = "ecg",
    state: PreReadState = PreReadState.READ,
    reason: str | None = None,
    error: str | None = None,
    measurements: dict[str, float] | None = None,
) -> list[int]:
    """Put a pre-read into the database as the workflow leaves it; returns the findings' keys."""
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=study_uid).one()
        pre_read = PreRead(
            study_id=study.id,
            revision=study.revision,
            engine=engine,
            state=state,
            reason=reason,
            error=error,
            queued_at=now(),
            finished_at=now(),
            models=[{"name": "test model", "version": "1.0", "weights_sha256": "ab" * 32, "preprocessing": "none"}],
            findings=[Finding(code=code, probability=probability) for code, probability in findings],
            measurements=[Measurement(code=code, value=value) for code, value in (measurements or {}).items()],
        )
        session.add(pre_read)
        session.flush()
        return [finding.id for finding in pre_read.findings]


def actions(database: Database) -> list[str]:
    """Return the audit chain's actions in order."""
    with database.reading() as session:
        return [event.action for event in session.query(AuditEvent).order_by(AuditEvent.id)]
