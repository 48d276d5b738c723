"""Who gets in, who is sent away, and what trace they leave."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import update

from api.signing_in import COOKIE
from core import audit
from core.clock import now
from core.database import Database
from core.passwords import token_hash
from core.tables import SignIn, User
from tests.api.conftest import Browser, actions, add_study
from tests.conftest import County


def test_a_stranger_is_led_to_the_sign_in_page_and_back(browser: Browser) -> None:
    answer = browser.get("/worklist?state=mine")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fworklist%3Fstate%3Dmine"
    page = browser.get(answer.headers["location"])
    assert 'value="/worklist?state=mine"' in page.text


def test_a_program_is_told_what_to_do(browser: Browser) -> None:
    answer = browser.http.get("/api/worklist", headers={"Accept": "application/json"})
    assert answer.status_code == 401
    assert answer.json()["remedy"] == "Sign in and try again."


def test_a_doctor_signs_in_and_out(browser: Browser, database: Database) -> None:
    answer = browser.sign_in("doctor")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert browser.get("/worklist").status_code == 200
    with database.reading() as session:
        kept = session.get(SignIn, token_hash(browser.http.cookies[COOKIE]))
        assert kept is not None
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/worklist").status_code == 303
    assert actions(database) == ["sign_in", "sign_out"]
    with database.reading() as session:
        assert audit.verify(session) == 2


def test_the_old_cookie_opens_nothing_after_signing_out(browser: Browser) -> None:
    browser.sign_in("doctor")
    token = browser.http.cookies[COOKIE]
    browser.post("/sign-out")
    browser.http.cookies.set(COOKIE, token)
    assert browser.get("/worklist").status_code == 303


@pytest.mark.parametrize("column", ["expires_at", "disabled_at"])
def test_an_ended_sign_in_or_a_closed_account_opens_nothing(browser: Browser, database: Database, column: str) -> None:
    browser.sign_in("doctor")
    with database.writing() as session:
        table = SignIn if column == "expires_at" else User
        session.execute(update(table).values({column: now() - timedelta(seconds=1)}))
    assert browser.get("/worklist").status_code == 303


def test_a_wrong_password_and_an_unknown_name_are_answered_alike(browser: Browser, database: Database) -> None:
    wrong, unknown = browser.sign_in("doctor", "wrong"), browser.sign_in("nobody", "wrong")
    assert wrong.status_code == unknown.status_code == 403
    assert wrong.text.replace("doctor", "") == unknown.text.replace("nobody", "")
    assert "用户名或密码错误" in wrong.text
    assert actions(database) == ["sign_in_refused", "sign_in_refused"]


def test_after_five_wrong_passwords_even_the_right_one_waits(browser: Browser, database: Database) -> None:
    for _ in range(5):
        assert browser.sign_in("doctor", "wrong").status_code == 403
    assert browser.sign_in("doctor").status_code == 429
    assert len(actions(database)) == 5, "a refused try is not counted again"
    assert browser.sign_in("operator").status_code == 303, "another person at the same desk still gets in"


def test_nobody_is_led_to_a_foreign_site(browser: Browser) -> None:
    for target in ("https://example.org/", "//example.org", "/\\example.org", "javascript:alert(1)"):
        answer = browser.http.post("/sign-in", data={"username": "doctor", "password": "correct horse battery", "next": target})
        assert answer.headers["location"] == "/"


def test_a_form_without_our_token_changes_nothing(
    signed_in: Callable[[str], Browser], database: Database, county: County
) -> None:
    uid = add_study(database, county.township)
    doctor = signed_in("doctor")
    for fields in ({}, {"form_token": "guessed"}):
        answer = doctor.http.post(f"/studies/{uid}/claim", data=fields)
        assert answer.status_code == 403
        assert "刷新页面" in answer.text
    assert "study_claimed" not in actions(database)
    answer = doctor.http.post(f"/studies/{uid}/claim", headers={"X-Form-Token": doctor.form_token})
    assert answer.status_code == 303


def test_a_person_keeps_their_language(signed_in: Callable[[str], Browser], app: FastAPI) -> None:
    doctor = signed_in("doctor")
    assert "待阅" in doctor.get("/worklist").text
    assert doctor.post("/language", language="en", next="/worklist").headers["location"] == "/worklist"
    assert "To read" in doctor.get("/worklist").text
    assert "To read" in signed_in("doctor").get("/worklist").text


def test_only_an_administrator_sees_the_devices(signed_in: Callable[[str], Browser]) -> None:
    assert "TOWNSHIP_DR" in signed_in("administrator").get("/devices").text
    assert signed_in("doctor").get("/devices").status_code == 403
