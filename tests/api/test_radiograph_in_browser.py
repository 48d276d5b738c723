"""A radiograph's drawings in a real browser: on the reading page, and as objects in OHIF."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from api.signing_in import COOKIE
from tests.api.film_house import FilmHouse, house, quick_hashes
from tests.api.radiograph_house import COLUMNS, archive_objects, receive_chest
from tests.api.test_film_in_browser import CHROMIUM, OHIF, address, browser, serving, watched

__all__ = ["address", "browser", "house", "quick_hashes"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def opened(house: FilmHouse, address: str, browser: Any, path: str, device: dict[str, Any] = DESK) -> Any:
    """Open a page as the county's doctor."""
    house.sign_in(house.county.doctor)
    context = browser.new_context(**device)
    context.add_cookies([{"name": COOKIE, "value": house.client.cookies[COOKIE], "url": address}])
    page = context.new_page()
    page.problems = watched(page)
    page.goto(f"{address}{path}")
    return page


def is_shown(page: Any, drawing: str) -> bool:
    return bool(page.locator(f".drawn-{drawing}").evaluate("element => getComputedStyle(element).display !== 'none'"))


@pytest.mark.parametrize("device", [DESK, PHONE])
def test_the_lines_lie_on_the_image_at_any_width(
    house: FilmHouse, address: str, browser: Any, tmp_path: Path, device: dict[str, Any]
) -> None:
    uid, said = receive_chest(house, tmp_path)
    page = opened(house, address, browser, f"/studies/{uid}?picture=1", device)
    page.wait_for_load_state("networkidle")
    image = page.locator(".picture-image > image").bounding_box()
    line = page.locator(".measure-thorax line").first.bounding_box()
    scale = image["width"] / COLUMNS
    (left, row), (right, _) = said["lines"]["thorax"]
    assert line["x"] == pytest.approx(image["x"] + left * scale, abs=2)
    assert line["width"] == pytest.approx((right - left) * scale, abs=3)
    assert line["y"] == pytest.approx(image["y"] + row * scale, abs=2)
    assert image["width"] > 250
    assert page.evaluate("document.documentElement.scrollWidth") <= device["viewport"]["width"]
    assert page.problems == []


def test_keys_and_buttons_show_and_hide_each_drawing(house: FilmHouse, address: str, browser: Any, tmp_path: Path) -> None:
    uid, _ = receive_chest(house, tmp_path)
    page = opened(house, address, browser, f"/studies/{uid}?picture=1")
    assert [is_shown(page, name) for name in ("lines", "outlines", "boxes", "heat")] == [True, False, True, False]
    for key in "lobh":
        page.keyboard.press(key)
    assert [is_shown(page, name) for name in ("lines", "outlines", "boxes", "heat")] == [False, True, False, True]
    page.get_by_role("button", name="测量线").click()
    assert is_shown(page, "lines")
    assert page.get_by_role("button", name="测量线").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Control+l")
    assert is_shown(page, "lines"), "a browser's own keys are not taken"
    assert page.problems == []


def wait_until(holds: Callable[[], bool], problems: list[str]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, problems
        time.sleep(0.25)


def reddest(page: Any) -> int:
    """Return how far the reddest place of the viewport stands out from grey."""
    shot = np.asarray(Image.open(io.BytesIO(page.locator(".cornerstone-canvas").first.screenshot())).convert("RGB"), int)
    return int((shot[..., 0] - shot[..., 1:].max(axis=-1)).max())


@pytest.mark.skipif(not (OHIF / "index.html").is_file(), reason="OHIF is not unpacked; name its dist folder in SUMU_VIEWER")
def test_ohif_draws_the_lines_of_the_report_and_the_masks_of_the_segmentation(
    house: FilmHouse, browser: Any, tmp_path: Path
) -> None:
    uid, said = receive_chest(house, tmp_path)
    archive_objects(house, uid, tmp_path)
    with serving(house.settings.model_copy(update={"viewer": OHIF})) as address:
        page = opened(house, address, browser, f"/studies/{uid}/viewer?lang=en")
        page.locator(".cornerstone-canvas").first.wait_for(timeout=60_000)
        assert reddest(page) < 30
        page.get_by_text("Pre-read: radiograph").dblclick()
        words = page.locator("svg text", has_text="Cardiothoracic ratio")
        words.first.wait_for(timeout=60_000)
        assert f"{said['ratio']:.2f}" in str(words.first.text_content())
        assert page.locator("svg text", has_text="Nodule, probability").count() >= 1
        page.get_by_text("Pre-read: lungs and heart").dblclick()
        wait_until(lambda: reddest(page) > 60, page.problems)
        assert [problem for problem in page.problems if "Cannot" in problem or "missing" in problem] == []
