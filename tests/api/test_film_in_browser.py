"""A patient's phone and a doctor's screen, in a real browser over a real server and archive."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from api.app import create_app
from api.image_access import FILM_COOKIE
from core.settings import Settings, WebSettings
from tests.api.film_house import BIRTH_DATE, FilmHouse, ct_study, house, quick_hashes, slide_study
from tests.conftest import free_port

__all__ = ["house", "quick_hashes"]

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
#: Where the launcher unpacks it, unless the environment says otherwise.
OHIF = Path(os.environ.get("SUMU_VIEWER", Path.home() / ".cache" / "sumu" / "ohif-3.13.2" / "dist"))
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """Serve a house on a port of its own."""
    settings = settings.model_copy(update={"web": WebSettings(port=free_port())})
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=settings.web.port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield settings.web_address
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def address(house: FilmHouse) -> Iterator[str]:
    """A server of this test's house."""
    with serving(house.settings) as address:
        yield address


@pytest.fixture
def browser() -> Iterator[sync_api.Browser]:
    """A headless Chromium."""
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


def watched(page: sync_api.Page) -> list[str]:
    """Return the list into which the page's errors will be written."""
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    return problems


def test_a_patient_scans_answers_and_turns_the_images(
    house: FilmHouse, address: str, browser: sync_api.Browser, tmp_path: Path
) -> None:
    uid = house.receive(ct_study(5))
    house.sign_report(uid)
    link = house.grant(uid)
    phone = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = phone.new_page()
    problems = watched(page)
    page.goto(f"{address}/f/{link.token}")
    page.get_by_role("textbox").fill("19000101")
    page.get_by_role("button", name="打开云胶片").click()
    assert page.get_by_role("alert").is_visible()
    problems.clear()  # the refusal itself is a 403
    page.get_by_role("textbox").fill(BIRTH_DATE)
    page.get_by_role("button", name="打开云胶片").click()
    page.wait_for_url(f"{address}/film")
    picture = page.locator(".film-viewer img")
    page.wait_for_function("document.querySelector('.film-viewer img').naturalWidth > 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the page must not move sideways"
    box = picture.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 844, "the first image stands on the first screen"
    page.get_by_label("下一幅").click()
    page.wait_for_function("document.querySelector('.film-viewer img').src.endsWith('/images/2.jpg')")
    page.locator(".film-viewer figure").press("ArrowRight")
    page.wait_for_function("document.querySelector('.film-viewer img').src.endsWith('/images/3.jpg')")
    assert page.locator(".film-count").inner_text().startswith("3")
    # Pixels reached the screen: a black square would have one value.
    shot = page.locator(".film-viewer figure").screenshot(path=str(tmp_path / "figure.png"))
    assert len(shot) > 20_000
    assert problems == []


def test_without_javascript_the_arrows_are_links(house: FilmHouse, address: str, browser: sync_api.Browser) -> None:
    link = house.grant(house.receive(ct_study(3)))
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{address}/f/{link.token}")
    page.get_by_role("textbox").fill(BIRTH_DATE)
    page.get_by_role("button", name="打开云胶片").click()
    page.get_by_label("下一幅").click()
    assert page.locator(".film-viewer img").get_attribute("src", timeout=5000).endswith("/images/2.jpg")
    assert page.locator(".film-count").inner_text().startswith("2")


def test_a_slide_shows_under_the_microscope(house: FilmHouse, address: str, browser: sync_api.Browser) -> None:
    slide = slide_study()
    uid = house.receive(slide)
    assert house.open_film(house.grant(uid)) == 303
    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.add_cookies([{"name": FILM_COOKIE, "value": house.client.cookies[FILM_COOKIE], "url": address}])
    page = context.new_page()
    problems = watched(page)
    with page.expect_response(lambda response: "/tiles/" in response.url and response.ok):
        page.goto(f"{address}/slides/{uid}/{slide[0].SeriesInstanceUID}")
    page.wait_for_function("!document.querySelector('.slide-scale').hidden")
    assert "µm" in page.locator(".slide-scale").inner_text()
    page.get_by_role("button", name="放大").click()
    # OpenSeadragon tries to add one inline style; our policy refuses it and slides.css has its rule.
    assert [problem for problem in problems if "inline style" not in problem] == []


@pytest.mark.skipif(not (OHIF / "index.html").is_file(), reason="OHIF is not unpacked; name its dist folder in SUMU_VIEWER")
def test_the_full_viewer_draws_a_patients_ct(house: FilmHouse, browser: sync_api.Browser) -> None:
    settings = house.settings.model_copy(update={"viewer": OHIF})
    uid = house.receive(ct_study(4))
    assert house.open_film(house.grant(uid)) == 303
    with serving(settings) as address:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_cookies([{"name": FILM_COOKIE, "value": house.client.cookies[FILM_COOKIE], "url": address}])
        page = context.new_page()
        problems = watched(page)
        page.goto(f"{address}/studies/{uid}/viewer")
        canvas = page.locator(".cornerstone-canvas").first
        canvas.wait_for(timeout=60_000)
        deadline = time.monotonic() + 60
        # A drawn CT compresses badly, an empty black viewport to almost nothing.
        while len(canvas.screenshot()) < 60_000:
            assert time.monotonic() < deadline, problems
            time.sleep(0.5)
        assert problems == []
