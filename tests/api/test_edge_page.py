"""The page of an edge node: the line, the queue, the quarantine, and no patient's name for who is not signed in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydicom.uid import generate_uid
from sqlalchemy import select

from api.app import create_app
from api.edge_queue import waiting as waiting_now
from core.access import person_of
from core.clock import now
from core.database import Database
from core.settings import EdgeSettings, ServiceRole, Settings
from core.tables import Door, Instance, Quarantined, Role, Study, Urgency, User
from pacs_bridge.edge.county import LineDown
from pacs_bridge.edge.line_state import LineFile, LineState
from tests.api.conftest import Browser, add_person, add_study
from tests.api.test_film_in_browser import CHROMIUM, browser
from tests.conftest import County

__all__ = ["browser"]


@pytest.fixture
def edge_settings(settings: Settings) -> Settings:
    edge = EdgeSettings(county_url="https://imaging.county.cn", timetable={"00:00-24:00": 200})
    return settings.model_copy(update={"role": ServiceRole.EDGE, "edge": edge})


@pytest.fixture
def app(edge_settings: Settings, county: County) -> Iterator[FastAPI]:
    app = create_app(edge_settings)
    yield app
    app.state.house.database.close()
    app.state.house.archive.close()


@pytest.fixture
def waiting(database: Database, county: County, edge_settings: Settings) -> None:
    """An urgent study and a routine one wait; something was set aside; the line is down."""
    for name, urgency, count in (("赵急诊", Urgency.URGENT, 2), ("钱普通", Urgency.ROUTINE, 3)):
        uid = add_study(database, county.township, name=name, urgency=urgency, modality="CT")
        with database.writing() as session:
            study = session.scalars(select(Study).where(Study.study_instance_uid == uid)).one()
            for _ in range(count):
                session.add(
                    Instance(
                        study_id=study.id, sop_instance_uid=generate_uid(), sop_class_uid="1.2", series_instance_uid="1.2",
                        transfer_syntax_uid="1.2.840.10008.1.2", size=1_000_000, sha256="ab" * 32, door=Door.C_STORE,
                        device_id=county.device, machine=edge_settings.machine, spool_name=generate_uid(),
                        received_at=now() - timedelta(hours=3), next_try_at=now(),
                    )
                )  # fmt: skip
    with database.writing() as session:
        session.add(
            Quarantined(at=now(), device_id=county.device, file_name="x.dcm", reason="Nested too deeply.", remedy="Look at it.")
        )
    state = LineState().answered().failed(LineDown("https://imaging.county.cn", OSError("no route")), up=False)
    LineFile(edge_settings.data).write(state)


def test_the_page_tells_the_line_the_queue_and_the_rate(app: FastAPI, waiting: None) -> None:
    page = TestClient(app).get("/edge?lang=en").text
    for words in ("The county is not reached", "no route", "5 images", "5.0 MB", "200.0 KB/s", "3 hours ago", "Set aside"):
        assert words in page
    assert page.index("urgency-urgent") < page.index("urgency-routine")


def test_names_and_reasons_are_for_who_is_signed_in(app: FastAPI, waiting: None, database: Database) -> None:
    stranger = TestClient(app).get("/edge").text
    assert "赵急诊" not in stranger
    assert "Nested too deeply." not in stranger
    operator = Browser(app)
    operator.enter(database, "operator")
    page = operator.get("/edge").text
    assert "赵急诊" in page
    assert "Nested too deeply." in page


def test_names_are_for_their_own_organisation(waiting: None, database: Database, county: County, edge_settings: Settings) -> None:
    add_person(database, county.other_township, "elsewhere", Role.OPERATOR)
    with database.reading() as session:
        people = {user.username: person_of(session, user) for user in session.scalars(select(User))}
        seen = {
            name: {study.patient for study in waiting_now(session, edge_settings.machine, person).studies}
            for name, person in {"nobody": None, **people}.items()
        }
    assert seen["nobody"] == seen["elsewhere"] == {""}
    assert seen["operator"] == seen["doctor"] == {"赵急诊", "钱普通"}


def test_a_forwarder_that_does_not_run_is_told(app: FastAPI, edge_settings: Settings) -> None:
    client = TestClient(app)
    assert "The forwarder does not run" in client.get("/edge?lang=en").text
    assert client.get("/api/health").status_code == 503
    LineFile(edge_settings.data).write(LineState().answered())
    assert "The line is up" in client.get("/edge?lang=en").text
    assert client.get("/api/health").json() == {"ok": True, "database": True, "forwarder": True, "line": True}


def test_an_edge_has_no_worklist_and_no_door_for_others(app: FastAPI) -> None:
    client = TestClient(app, follow_redirects=False)
    assert client.get("/").headers["location"] == "/edge"
    assert client.post("/dicom-web/studies").status_code == 404
    assert client.get("/devices", headers={"Accept": "text/html"}).headers["location"].startswith("/sign-in")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_it_fits_a_phone_and_a_desk(
    app: FastAPI, waiting: None, browser: Any, database: Database, width: int, language: str, tmp_path: Path
) -> None:
    operator = Browser(app)
    operator.enter(database, "operator")
    text, css = operator.get(f"/edge?lang={language}").text, Path(__file__).parents[2] / "api" / "web" / "static"
    page = browser.new_page(viewport={"width": width, "height": 900})
    for name in ("sumu.css", "edge.css"):
        text = text.replace(f'<link rel="stylesheet" href="/static/{name}">', f"<style>{(css / name).read_text()}</style>")
    page.set_content(text)
    page.screenshot(path=tmp_path / "edge.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
