"""The page for files of ECG machines: who may bring them, where they go, and what is told of each, with script and without."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import select

import api.import_upload
from api.import_upload import place_of
from api.signing_in import COOKIE
from core.database import Database
from core.settings import Settings
from core.tables import AuditEvent, Door, Instance, Study
from tests.api.conftest import Browser
from tests.api.test_film_in_browser import CHROMIUM, browser, serving
from tests.conftest import County
from tests.pacs_bridge.ecg import machine_files as machines

__all__ = ["browser"]

SignedIn = Callable[[str], Browser]
Files = list[tuple[str, bytes]]


@pytest.fixture
def ecg(tmp_path: Path) -> bytes:
    """A file as a GE machine writes it."""
    folder = tmp_path / "machine"
    folder.mkdir()
    return machines.muse(folder, machines.eight_leads()).read_bytes()


def send(browser: Browser, files: Files, *, script: bool = False, **fields: str) -> httpx.Response:
    """Send the form: with its token in the hidden field as a browser does, or in the header as our script does."""
    parts: list[tuple[str, Any]] = [("files", (name, content, "application/octet-stream")) for name, content in files]
    headers = {"HX-Request": "true", "X-Form-Token": browser.form_token} if script else {}
    data = fields if script else {"form_token": browser.form_token, **fields}
    answer: httpx.Response = browser.http.post("/import", data=data, files=parts, headers=headers)
    return answer


def outcomes(page: str) -> dict[str, str]:
    """Return the outcome's mark of each file in the table."""
    rows = re.findall(r"<tr>\s*<td[^>]*><code>(.*?)</code>.*?import-(\w+)\"", page, re.DOTALL)
    return dict(rows)


def left_over(settings: Settings) -> list[str]:
    return [path.name for path in settings.data.iterdir() if path.name.startswith((".upload", ".import", ".convert"))]


def test_an_operator_brings_a_file_and_reads_what_became_of_it(
    signed_in: SignedIn, database: Database, settings: Settings, county: County, ecg: bytes
) -> None:
    operator = signed_in("operator")
    answer = send(operator, [("王.xml", ecg), ("报告.pdf", b"%PDF-1.7")])
    assert answer.status_code == 200
    assert outcomes(answer.text) == {"王.xml": "new", "报告.pdf": "refused"}
    assert "心电图的图片没有波形数据" in answer.text
    assert "请在机器上把记录导出为" in answer.text
    with database.reading() as session:
        (instance,) = session.scalars(select(Instance))
        study = session.get_one(Study, instance.study_id)
        assert (instance.door, study.organisation_id) == (Door.IMPORT, county.township)
        assert f'href="/studies/{study.study_instance_uid}"' in answer.text
        (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "study_imported"))
        assert event.actor == "user:operator"
    assert left_over(settings) == []
    again = send(operator, [("王.xml", ecg)], script=True)
    assert outcomes(again.text) == {"王.xml": "repeat"}
    assert "<html" not in again.text, "the script gets the table alone"


def test_the_table_is_english_for_who_reads_english(signed_in: SignedIn) -> None:
    operator = signed_in("operator")
    answer = operator.http.post(
        "/import?lang=en", data={"form_token": operator.form_token}, files={"files": ("a.pdf", b"%PDF-1.7")}
    )
    assert "a.pdf is a PDF document; a picture of an ECG has no samples." in answer.text


def test_folders_and_archives_keep_their_names(signed_in: SignedIn, database: Database, tmp_path: Path, ecg: bytes) -> None:
    header = machines.wfdb(tmp_path, machines.twelve_leads())
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/one.xml", ecg)
        archive.writestr("a/words.docx", b"words")
    files = [
        ("stick/r1.hea", header.read_bytes()),
        ("stick/r1.dat", (tmp_path / "r1.dat").read_bytes()),
        ("stick/day.zip", packed.getvalue()),
        ("broken.zip", packed.getvalue()[:-8] + b"12345678"),
    ]
    answer = send(signed_in("operator"), files)
    told = outcomes(answer.text)
    assert {name: told[name] for name in ("stick/r1.hea", "stick/r1.dat", "stick/day.zip/a/one.xml")} == {
        "stick/r1.hea": "new", "stick/r1.dat": "passed_over", "stick/day.zip/a/one.xml": "new",
    }  # fmt: skip
    assert told["stick/day.zip/a/words.docx"] == told["broken.zip"] == "refused"
    with database.reading() as session:
        assert len(session.scalars(select(Instance)).all()) == 2


@pytest.mark.parametrize(("who", "status"), [("operator", 200), ("administrator", 200), ("doctor", 403)])
def test_operators_and_administrators_bring_files(signed_in: SignedIn, ecg: bytes, who: str, status: int) -> None:
    browser = signed_in(who)
    assert browser.get("/import").status_code == status
    assert send(browser, [("a.xml", ecg)]).status_code == status
    assert ('href="/import"' in browser.get("/worklist").text) is (status == 200)


def test_a_stranger_a_forged_form_and_a_foreign_organisation_are_refused_before_a_file_is_kept(
    signed_in: SignedIn, app: FastAPI, database: Database, settings: Settings, county: County, ecg: bytes
) -> None:
    operator = signed_in("operator")
    files = {"files": ("a.xml", ecg)}
    assert TestClient(app, follow_redirects=False).post("/import", files=files).status_code == 401
    assert operator.http.post("/import", files=files).status_code == 403
    assert operator.http.post("/import", data={"form_token": "guessed"}, files=files).status_code == 403
    assert operator.http.post("/import", files=files, headers={"X-Form-Token": "guessed"}).status_code == 403
    assert send(operator, [("a.xml", ecg)], organisation=str(county.other_township)).status_code == 403
    with database.reading() as session:
        assert session.scalars(select(Instance)).all() == []
    assert left_over(settings) == []


def test_an_administrator_chooses_the_organisation_that_examined(
    signed_in: SignedIn, database: Database, county: County, ecg: bytes
) -> None:
    administrator = signed_in("administrator")
    assert '<select name="organisation">' in administrator.get("/import").text
    assert send(administrator, [("a.xml", ecg)], organisation=str(county.other_township)).status_code == 200
    with database.reading() as session:
        assert session.scalars(select(Study.organisation_id)).all() == [county.other_township]


def test_too_much_an_empty_form_and_a_broken_one_are_told(
    signed_in: SignedIn, settings: Settings, monkeypatch: pytest.MonkeyPatch, ecg: bytes
) -> None:
    operator = signed_in("operator")
    assert send(operator, [("", b"")]).status_code == 422
    broken = operator.http.post("/import", content=b"--x\r\nrubbish", headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400
    monkeypatch.setattr(api.import_upload, "LARGEST_BYTES", len(ecg) * 3)
    assert send(operator, [("a.xml", ecg)]).status_code == 200
    large = send(operator, [(f"{number}.xml", ecg) for number in range(3)])
    assert large.status_code == 413
    assert "分批" in large.text
    monkeypatch.setattr(api.import_upload, "MOST_FILES", 1)
    assert send(operator, [("a.xml", b"a"), ("b.xml", b"b")]).status_code == 413
    assert left_over(settings) == []


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.xml", "a.xml"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("C:\\ECG\\心电 1.xml", "C_/ECG/心电 1.xml"),
        ("a\x00b\n.xml", "a_b_.xml"),
        ("..", "file"),
        ("x" * 300 + ".xml", "x" * 116 + ".xml"),
        ("taken.xml", "taken-2.xml"),
    ],
)
def test_a_files_name_leads_nowhere_but_into_its_folder(tmp_path: Path, name: str, place: str) -> None:
    (tmp_path / "taken.xml").touch()
    assert place_of(name, tmp_path) == tmp_path / place


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("script", [True, False])
def test_in_a_browser(
    signed_in: SignedIn, settings: Settings, browser: Any, tmp_path: Path, ecg: bytes, width: int, script: bool
) -> None:
    (tmp_path / "王建国 心电图.xml").write_bytes(ecg)
    (tmp_path / "报告.pdf").write_bytes(b"%PDF-1.7")
    with serving(settings) as address:
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script)
        context.add_cookies([{"name": COOKIE, "value": signed_in("administrator").http.cookies[COOKIE], "url": address}])
        page = context.new_page()
        page.set_default_timeout(10_000)
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address}/import")
        page.set_input_files("[data-files]", [tmp_path / "王建国 心电图.xml", tmp_path / "报告.pdf"])
        if script:
            assert page.locator("[data-list] li").count() == 2
            drop = "const t = new DataTransfer(); t.items.add(new File(['words'], 'dropped.docx')); return t;"
            transfer = page.evaluate_handle(f"() => {{ {drop} }}")
            page.dispatch_event("[data-zone]", "drop", {"dataTransfer": transfer})
            page.locator("[data-list] li").nth(2).wait_for()
        picture(page, f"import-chosen-{width}-{script}")
        page.click("[data-send]")
        page.wait_for_selector(".import-table")
        picture(page, f"import-told-{width}-{script}")
        table = page.locator(".import-table").inner_text()
        assert "王建国 心电图.xml" in table
        assert "PDF 文档" in table
        assert ("dropped.docx" in table) is script
        assert page.evaluate("document.documentElement.scrollWidth") <= width if script else True
        assert problems == []
        context.close()


def picture(page: Any, name: str) -> None:
    """Keep a picture where the environment names a folder for pictures."""
    folder = os.environ.get("SUMU_TEST_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)
