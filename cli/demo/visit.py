"""The last steps of the way, taken in a real browser as people take them: a doctor signs, a patient opens the film on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from cli.demo.county import Account
from cli.demo.outcome import StudyOutcome
from core.database import Database
from core.lifecycles.preread import PreReadState
from core.settings import Settings
from core.tables import Role, Study

if TYPE_CHECKING:
    from playwright.sync_api import Page, ViewportSize

PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 900}
#: Films that show most of what a film can come first.
PREFERRED = ("DX", "CR", "ECG", "US")
_BROWSER = Path("/usr/bin/chromium")
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
]
#: A loaded machine without a graphics card draws the viewer slowly.
_WAIT_MS = 120_000

#: What a doctor writes when there is nothing to take over from the pre-read.
FALLBACK_IMPRESSION = "请结合临床。"


@dataclass(frozen=True, kw_only=True)
class FilmVisited:
    """How the visit to the film went."""

    opened: bool
    url: str | None = None
    #: What the second check asks for.
    check: str | None = None
    problem: str | None = None


def report_and_open_film(
    settings: Settings,
    database: Database,
    accounts: Sequence[Account],
    outcomes: Sequence[StudyOutcome],
    pictures: Path | None = None,
) -> FilmVisited:
    """Let the demo's doctor sign a report and a patient open its film; save pictures of the pages where asked to."""
    ready = [outcome for outcome in outcomes if outcome.pre_read == PreReadState.READ] or list(outcomes)
    if not ready:
        return FilmVisited(opened=False, problem="no study arrived")
    chosen = min(
        ready, key=lambda outcome: PREFERRED.index(outcome.modality) if outcome.modality in PREFERRED else len(PREFERRED)
    )
    doctor = next(account for account in accounts if account.role is Role.DOCTOR)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return FilmVisited(opened=False, problem="no browser driver: start the demo through ./sumu demo")

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=str(_BROWSER), args=_QUIET)
            desk = browser.new_page(viewport=DESK, locale="zh-CN")
            desk.set_default_timeout(_WAIT_MS)
            url, code = _doctor_signs(desk, settings, doctor, chosen.study_instance_uid, pictures)
            phone = browser.new_context(viewport=PHONE, locale="zh-CN", is_mobile=True, has_touch=True, device_scale_factor=2)
            page = phone.new_page()
            page.set_default_timeout(_WAIT_MS)
            check = code or _birth_date(database, chosen.study_instance_uid)
            _patient_opens(page, url, check, pictures)
            browser.close()
    except Exception as error:  # a driver that cannot start raises a bare one
        return FilmVisited(opened=False, problem="the browser stopped: " + " ".join(str(error).split())[:300])
    return FilmVisited(opened=True, url=url, check=check)


def _doctor_signs(desk: Page, settings: Settings, doctor: Account, study: str, pictures: Path | None) -> tuple[str, str | None]:
    """Sign in, write from the pre-read's sentences, sign, give a film; return its link and the code where one is printed."""
    desk.goto(f"{settings.web_address}/sign-in")
    desk.fill("input[name=username]", doctor.username)
    desk.fill("input[name=password]", doctor.password)
    desk.click("form[action^='/sign-in'] button")
    desk.wait_for_url("**/worklist*")
    _picture(desk, pictures, "worklist")
    desk.goto(f"{settings.web_address}/studies/{study}")
    desk.click("form[action$='/claim'] button")
    desk.wait_for_selector("#report-form")
    if not desk.input_value("#report-form textarea[name=impression]").strip():
        desk.fill("#report-form textarea[name=impression]", FALLBACK_IMPRESSION)
    if pictures is not None:
        _wait_for_viewer(desk)
    _picture(desk, pictures, "reading")
    desk.click("[data-opens=sign-dialog]")
    desk.fill("#sign-dialog input[name=password]", doctor.password)
    desk.click("#sign-dialog button.primary")
    desk.wait_for_selector(".state-final")
    desk.goto(f"{settings.web_address}/studies/{study}/film")
    desk.click(".film-desk-give button.primary")
    desk.wait_for_selector(".slip-link")
    _picture(desk, pictures, "slip")
    code = desk.locator(".slip-code")
    return desk.inner_text(".slip-link").strip(), code.inner_text().strip() if code.count() else None


def _patient_opens(page: Page, url: str, check: str, pictures: Path | None) -> None:
    """Answer the second check and wait until the first image is really drawn."""
    page.goto(url)
    _picture(page, pictures, "film-question")
    page.fill("input[name=check]", check)
    page.click("main form button")
    page.wait_for_selector("main.film")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.film-pictures img')].some(image => image.complete && image.naturalWidth > 0)"
    )
    _picture(page, pictures, "film")


def _wait_for_viewer(desk: Page) -> None:
    """Wait until OHIF has drawn the first image, where the study is shown in it."""
    frame = desk.query_selector("iframe.viewer")
    inside = frame.content_frame() if frame else None
    if inside is not None:
        inside.wait_for_selector("canvas.cornerstone-canvas")
        desk.wait_for_timeout(5000)


def _birth_date(database: Database, study_instance_uid: str) -> str:
    with database.reading() as session:
        study = session.scalars(select(Study).where(Study.study_instance_uid == study_instance_uid)).one()
        birth_date = study.patient.birth_date
    return f"{birth_date:%Y%m%d}" if birth_date else ""


def _picture(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(folder / f"{name}.png"))
