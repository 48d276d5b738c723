"""Words in two languages, times of the county, headers, errors, and what the API says of itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from fastapi import FastAPI

from api.county_words import age, ago, county_time, percent, sex
from api.translations import FOLDER, LANGUAGES, catalog
from core.clock import now
from core.database import Database
from tests.api.conftest import Browser, add_study
from tests.conftest import County

API = Path(__file__).parents[2] / "api"
ZH = {"language": "zh", "timezone": "Asia/Shanghai"}
EN = {"language": "en", "timezone": "Asia/Shanghai"}


def messages() -> set[str]:
    """Return every sentence of the pages that is marked for translation."""
    found: set[str] = set()
    extracted = extract_from_dir(
        str(API),
        method_map=[("**.py", "python"), ("web/templates/**.html", "jinja2")],
        options_map={"**.html": {"trim_blocks": "true"}},
        keywords={"_": None, "N_": None, "ngettext": (1, 2)},
    )
    for _, _, message, _, _ in extracted:
        found.update([message] if isinstance(message, str) else message)
    return found


def test_every_sentence_is_translated_into_chinese() -> None:
    assert sorted(messages() - catalog("zh").keys()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_left_over(language: str) -> None:
    assert sorted(catalog(language).keys() - messages()) == []


def test_no_two_catalogs_translate_one_sentence_differently() -> None:
    kept: dict[str, str] = {}
    for file in sorted((FOLDER / "zh" / "LC_MESSAGES").glob("*.po")):
        with file.open("rb") as handle:
            for message in read_po(handle, locale="zh"):
                if message.id:
                    assert kept.setdefault(str(message.id), str(message.string)) == message.string, (file.name, message.id)


def test_translations_keep_their_places() -> None:
    for message, translated in catalog("zh").items():
        assert set(_places(message)) == set(_places(translated)), message


def _places(message: str) -> list[str]:
    return [part.split(")")[0] for part in message.split("%(")[1:]]


@pytest.mark.parametrize(
    ("years", "chinese", "english"),
    [
        (45.7, "45岁", "45 y"),
        (0.7, "8个月", "8 mo"),
        (2.5, "30个月", "30 mo"),
        (0.02, "7天", "7 d"),
        (3, "3岁", "3 y"),
        (None, "", ""),
    ],
)
def test_ages_are_written_as_the_county_writes_them(years: float | None, chinese: str, english: str) -> None:
    assert age(years, **ZH) == chinese
    assert age(years, **EN) == english


def test_sexes_times_and_probabilities() -> None:
    assert (sex("M", **ZH), sex("F", **ZH), sex("", **ZH)) == ("男", "女", "")
    assert county_time(datetime(2026, 3, 1, 16, 30, tzinfo=UTC), **ZH) == "2026-03-02 00:30"
    assert (ago(now() - timedelta(minutes=5), **ZH), ago(now(), **ZH)) == ("5分钟前", "刚刚")
    assert (percent(1.0, **ZH), percent(0.001, **ZH), percent(0.83, **ZH)) == ("99%", "1%", "83%")
    with pytest.raises(ValueError, match="time zone"):
        county_time(datetime(2026, 3, 1, 16, 30), **ZH)  # noqa: DTZ001


def test_a_page_asks_for_no_inline_script_and_no_foreign_frame(browser: Browser) -> None:
    answer = browser.get("/sign-in")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'self'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_no_template_holds_a_script_or_a_handler_of_its_own() -> None:
    for template in (API / "web" / "templates").rglob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert "<script>" not in text, template
        assert " onclick=" not in text, template


def test_a_stranger_chooses_the_language_by_a_link(browser: Browser) -> None:
    assert "登录" in browser.get("/sign-in").text
    assert "Password" in browser.get("/sign-in?lang=en").text
    assert "Password" in browser.get("/sign-in").text, "the browser remembers"


def test_an_address_that_leads_nowhere_says_so(browser: Browser) -> None:
    page = browser.get("/nowhere")
    assert (page.status_code, "工作列表" in page.text) == (404, True)
    assert browser.http.get("/api/nowhere").json()["remedy"] == "Go back to the worklist."


def test_health_tells_what_is_silent(browser: Browser) -> None:
    answer = browser.get("/api/health")
    assert (answer.status_code, answer.json()) == (503, {"ok": False, "database": True, "archive": False})


def test_the_api_is_described_with_names_and_summaries(app: FastAPI, browser: Browser) -> None:
    operations = [(path, operation) for path, methods in app.openapi()["paths"].items() for operation in methods.values()]
    for path, operation in operations:
        assert operation.get("summary"), path
        assert operation.get("tags"), path
        assert "__" not in operation["operationId"], (path, operation["operationId"])
    page = browser.get("/api/docs").text
    assert "worklist" in page
    assert "https://" not in page.replace("https://www.w3.org", ""), "a county's network need not reach the world"


def test_a_refusal_reaches_htmx_as_a_notice(signed_in: Callable[[str], Browser], database: Database, county: County) -> None:
    doctor = signed_in("doctor")
    headers = {"HX-Request": "true", "X-Form-Token": doctor.form_token}
    answer = doctor.http.post(f"/studies/{add_study(database, county.township)}/report", data={}, headers=headers)
    assert answer.status_code == 409
    assert answer.text.startswith('<div class="notice')
    assert "<html" not in answer.text
    doctor.http.cookies.clear()
    answer = doctor.http.get(
        "/worklist/rows", headers={"HX-Request": "true", "HX-Current-URL": "http://testserver/worklist?page=2"}
    )
    assert answer.headers["hx-redirect"] == "/sign-in?next=%2Fworklist%3Fpage%3D2"
