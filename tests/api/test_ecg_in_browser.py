"""The ECG page in a real browser: paper true to the millimetre, calipers by mouse, finger and keyboard, filters that say so."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest

from api.signing_in import COOKIE
from inference.ecg.leads import LEADS
from tests.api.ecg_house import DOUBTFUL, PR, QRS, QT, RR, receive_ecg
from tests.api.film_house import FilmHouse, house, quick_hashes
from tests.api.test_film_in_browser import CHROMIUM, address, browser, watched

__all__ = ["address", "browser", "house", "quick_hashes"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
#: mm from the left edge to time zero: margin and calibration mark.
ZERO = 15.0
Open = Callable[..., Any]


@pytest.fixture
def open_ecg(house: FilmHouse, address: str, browser: Any) -> Iterator[Open]:
    """Open the page of a study as the county's doctor; it must show no error to the end."""
    problems: list[str] = []

    def opened(uid: str, device: dict[str, Any] = DESK, **more: Any) -> Any:
        house.sign_in(house.county.doctor)
        context = browser.new_context(**device, **more)
        context.add_cookies([{"name": COOKIE, "value": house.client.cookies[COOKIE], "url": address}])
        page = context.new_page()
        problems.extend(watched(page))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{address}/studies/{uid}")
        if more.get("java_script_enabled", True):
            page.wait_for_selector(".ecg-desk.is-ready")
        return page

    yield opened
    assert problems == []


def at(page: Any, x: float, y: float) -> tuple[float, float]:
    """Return where a point of the sheet, in mm, stands on the screen."""
    box = page.evaluate(
        "(() => { const b = document.querySelector('.ecg-sheet').getBoundingClientRect(); return [b.x, b.y]; })()"
    )
    pixels = page.evaluate("Number(document.querySelector('.ecg-sheet').dataset.pixelsPerMm)")
    return box[0] + x * pixels, box[1] + y * pixels


def reading(page: Any) -> tuple[Any, Any]:
    """Return what the caliper says: ms and mV."""
    words = page.locator("[data-told=caliper]").inner_text()
    found = re.search(r"(\d+) ms.*?(-?[\d.]+) mV", words)
    assert found, words
    return float(found[1]), float(found[2])


def leads(page: Any) -> list[str]:
    return [str(text) for text in page.locator(".ecg-label").all_text_contents()]


def table(page: Any, code: str, column: int) -> str:
    return str(page.locator(f".ecg-table tr[data-code={code}] > :nth-child({column})").inner_text())


def finger(page: Any, *points: tuple[float, float]) -> None:
    """Lay a finger on the first point, draw it over the others and lift it."""
    touch = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(points):
        kind = "touchMove" if number else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def test_a_caliper_drawn_with_the_mouse_reads_the_rr_interval_and_the_millivolt(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P20")
    page = open_ecg(uid)
    page.get_by_role("button", name="分规").click()
    page.mouse.move(*at(page, ZERO + 20, 30))
    page.mouse.down()
    page.mouse.move(*at(page, ZERO + 30, 26), steps=3)
    page.mouse.move(*at(page, ZERO + 20 + RR * 25, 20), steps=3)
    page.mouse.up()
    assert reading(page) == (pytest.approx(RR * 1000, abs=8), pytest.approx(1.0, abs=0.03))
    assert "75次/分" in page.locator("[data-told=caliper]").inner_text()
    # One grip by 5 mm: 200 ms more.
    page.mouse.move(*at(page, ZERO + 20 + RR * 25, 15))
    page.mouse.down()
    page.mouse.move(*at(page, ZERO + 25 + RR * 25, 15), steps=3)
    page.mouse.up()
    assert reading(page)[0] == pytest.approx(RR * 1000 + 200, abs=12)
    page.get_by_role("button", name="等距标记").click()
    marks = page.locator(".ecg-march").get_attribute("d")
    places = [float(x) for x in re.findall(r"M([\d.]+) 0V", marks)]
    assert len(places) > 8
    assert [b - a for a, b in pairwise(places)] == pytest.approx([25.0] * (len(places) - 1), abs=0.4)


def test_a_finger_draws_and_moves_a_caliper_on_a_phone(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P21")
    page = open_ecg(uid, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "the page must not move sideways"
    page.get_by_role("button", name="分规").tap()
    finger(page, at(page, 30, 40), at(page, 35, 35), at(page, 50, 30))
    assert reading(page) == (pytest.approx(800, abs=15), pytest.approx(1.0, abs=0.05))
    finger(page, at(page, 50, 24), at(page, 52, 24), at(page, 55, 24))
    assert reading(page)[0] == pytest.approx(1000, abs=15)
    assert page.evaluate("document.querySelector('.ecg-strip').scrollLeft") == 0, "a finger that measures does not scroll"


def test_the_keyboard_lays_layouts_speed_gain_and_moves_a_caliper_by_single_samples(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P22")
    page = open_ecg(uid)
    rows = ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6"]
    in_order = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
    assert leads(page) == [*rows, "II"]
    pairs = [name for pair in zip(in_order[:6], in_order[6:], strict=True) for name in pair]
    for key, expected in (("2", pairs), ("3", in_order), ("4", rows), ("1", [*rows, "II"])):
        page.keyboard.press(key)
        assert leads(page) == expected, key
    page.keyboard.press("s")
    page.keyboard.press("g")
    assert "50 mm/s\u200320 mm/mV" in page.locator(".ecg-footer").text_content()
    page.keyboard.press("c")
    assert reading(page) == (1000, 1.0)
    page.keyboard.press("ArrowRight")
    assert reading(page)[0] == 1002, "one sample of 500 Hz"
    page.keyboard.press("Shift+ArrowLeft")
    assert reading(page)[0] == 982
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+ArrowDown")
    assert reading(page)[1] == pytest.approx(1.1, abs=0.001)
    page.keyboard.press("n")
    page.keyboard.press("Shift+ArrowUp")
    assert reading(page)[1] == pytest.approx(1.0, abs=0.001), "a new drawing leaves the hand on its line"
    page.keyboard.press("Escape")
    assert page.locator("[data-told=caliper]").is_hidden()
    page.keyboard.press("?")
    assert page.locator("#ecg-help").is_visible()
    page.keyboard.press("3")
    assert leads(page) == [*rows, "II"], "keys rest while a dialog is open"


def test_filters_are_off_until_asked_for_and_then_stand_on_the_paper_and_are_announced(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P23")
    page = open_ecg(uid)
    assert page.locator(".ecg-notice").count() == 0
    plain = page.locator(".ecg-trace[data-lead=V5]").get_attribute("d")
    for key in "nbl":
        page.keyboard.press(key)
    notice = page.locator(".ecg-notice").text_content()
    for words in ("50 Hz陷波", "0.5 Hz基线", "40 Hz低通"):
        assert words in notice
        assert words in page.locator("[data-announced]").inner_text()
    assert page.locator(".ecg-trace[data-lead=V5]").get_attribute("d") != plain
    assert page.get_by_role("button", name="50 Hz陷波").get_attribute("aria-pressed") == "true"
    for key in "nbll":
        page.keyboard.press(key)
    assert page.locator(".ecg-notice").count() == 0
    assert page.locator(".ecg-trace[data-lead=V5]").get_attribute("d") == plain
    assert "原始信号" in page.locator("[data-announced]").inner_text()


def test_the_filters_do_what_their_names_say(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P24")
    page = open_ecg(uid)

    def left(hz: float, **filters: Any) -> float:
        """Return the share of a sine that passes, in the middle of ten seconds."""
        return float(
            page.evaluate(
                """async ([hz, filters]) => {
                  const { filtered } = await import("/static/ecg_signal.js");
                  const sine = Float32Array.from({ length: 10000 }, (_, i) => 1000 * Math.sin((2 * Math.PI * hz * i) / 500));
                  const out = filtered(sine, 500, { notch: false, baseline: false, lowPass: 0, ...filters });
                  return Math.hypot(...out.slice(2500, 7500)) / Math.hypot(...sine.slice(2500, 7500));
                }""",
                [hz, filters],
            )
        )

    assert left(50, notch=True) < 0.01
    assert left(45, notch=True) > 0.95
    assert left(0.1, baseline=True) < 0.05
    assert left(0.5, baseline=True) == pytest.approx(0.707, abs=0.02)
    assert left(5, baseline=True) > 0.99
    for edge in (35, 40):
        assert left(edge, lowPass=edge) == pytest.approx(0.707, abs=0.02)
        assert left(10, lowPass=edge) > 0.98
    assert left(50, notch=False) == 1


def test_a_calibrated_screen_shows_ten_millimetres_as_ten_millimetres(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P25")
    page = open_ecg(uid)
    assert "未校准" in page.locator("[data-told=size]").inner_text()
    page.keyboard.press("k")
    dialog = page.locator("#ecg-calibration")
    # A screen of 5 pixels a millimetre: a card of 85.6 mm covers 428 of them.
    dialog.get_by_role("slider").fill("428")
    assert dialog.locator(".ecg-bar").bounding_box()["width"] == pytest.approx(428)
    dialog.get_by_role("button", name="色条已等长").click()
    for _ in range(2):
        assert page.locator("[data-told=size]").inner_text() == "实际大小 · 屏幕已校准。"
        mark = page.evaluate(
            "(() => { const b = document.querySelector('.ecg-calibration').getBBox(); return [b.width, b.height]; })()"
        )
        assert mark == [10, 10], "5 mm of foot on either side of a pulse of 5 mm by 10 mm"
        assert page.locator(".ecg-calibration").first.get_attribute("d").endswith("h2.5v-10h5v10h2.5")
        sheet = page.locator(".ecg-sheet").bounding_box()
        width, height = (float(page.locator(".ecg-sheet").get_attribute(f"data-{side}")) for side in ("width", "height"))
        assert (sheet["width"] / width, sheet["height"] / height) == (pytest.approx(5, abs=0.01), pytest.approx(5, abs=0.01))
        page.reload()
        page.wait_for_selector(".ecg-desk.is-ready")


def test_the_pages_paper_is_the_servers_paper(house: FilmHouse, open_ecg: Open) -> None:
    uid, sop = receive_ecg(house, "P26")
    page = open_ecg(uid)
    for key, layout in (("1", "3x4%2B1"), ("2", "6x2"), ("3", "12x1")):
        page.keyboard.press(key)
        drawn = ElementTree.fromstring(house.client.get(f"/studies/{uid}/ecg/{sop}.svg?layout={layout}").text)
        ours = page.locator(".ecg-sheet").get_attribute("viewBox")
        assert ours == drawn.get("viewBox")
        boxes = page.evaluate(
            """(svg) => {
              const host = document.body.appendChild(document.createElement("div"));
              host.innerHTML = svg;
              const places = (root) => {
                const inverse = root.getScreenCTM().inverse();
                return [...root.querySelectorAll(".ecg-trace, .ecg-calibration")].map((path) => {
                  const box = path.getBBox();
                  const to = inverse.multiply(path.getScreenCTM());
                  const corner = (x, y) => { const p = new DOMPoint(x, y).matrixTransform(to); return [p.x, p.y]; };
                  return [...corner(box.x, box.y), ...corner(box.x + box.width, box.y + box.height)];
                }).sort((a, b) => a[1] - b[1] || a[0] - b[0]);
              };
              const both = [places(document.querySelector(".ecg-sheet")), places(host.querySelector("svg"))];
              host.remove();
              return both;
            }""",
            house.client.get(f"/studies/{uid}/ecg/{sop}.svg?layout={layout}").text,
        )
        assert len(boxes[0]) == len(boxes[1])
        for here, there in zip(*boxes, strict=True):
            assert here == pytest.approx(there, abs=0.1)


@pytest.mark.parametrize("device", [DESK, PHONE], ids=["mouse", "finger"])
def test_a_moved_line_changes_the_intervals_and_is_saved_with_the_doctors_name(
    house: FilmHouse, open_ecg: Open, device: dict[str, Any]
) -> None:
    uid, _ = receive_ecg(house, "P27" if device is DESK else "P28")
    page = open_ecg(uid, device)
    page.keyboard.press("4")
    assert table(page, "ecg_pr", 2) == f"{PR * 1000:.0f} ms"
    save = page.get_by_role("button", name="保存测量")
    assert save.is_disabled()
    box = page.locator("[data-line=p_on][tabindex]").bounding_box()
    pixels = page.evaluate("Number(document.querySelector('.ecg-sheet').dataset.pixelsPerMm)")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # 1 mm to the left at 50 mm/s is 20 ms.
    if device is DESK:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x - pixels, y, steps=4)
        page.mouse.up()
    else:
        finger(page, (x, y), (x - pixels / 2, y), (x - pixels, y))
    assert float(table(page, "ecg_pr", 3).split()[0]) == pytest.approx(PR * 1000 + 20, abs=3)
    assert float(table(page, "ecg_qrs", 3).split()[0]) == pytest.approx(QRS * 1000, abs=1)
    page.locator("[data-line=t_off][tabindex]").focus()
    page.keyboard.press("Shift+ArrowRight")
    assert float(table(page, "ecg_qt", 3).split()[0]) == pytest.approx(QT * 1000 + 20, abs=1)
    # Nothing passes its neighbour.
    page.locator("[data-line=qrs_off][tabindex]").focus()
    for _ in range(12):
        page.keyboard.press("Shift+ArrowLeft")
    assert float(table(page, "ecg_qrs", 3).split()[0]) == 0
    for _ in range(12):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator("[data-told=measured]").inner_text() == "尚未保存"
    save.click()
    page.wait_for_selector("[data-told=measured]:has-text('王医生测量')")
    page.reload()
    page.wait_for_selector(".ecg-desk.is-ready")
    assert "王医生测量" in page.locator("[data-told=doctor]").inner_text()
    page.keyboard.press("4")
    assert float(table(page, "ecg_pr", 3).split()[0]) == pytest.approx(PR * 1000 + 20, abs=3)
    page.get_by_role("button", name="收回").click()
    page.wait_for_selector("[data-told=measured]", state="hidden")
    assert len(house.events("ecg_measurement_taken_back")) == 1


def test_a_wave_that_is_not_there_can_be_taken_away_and_one_that_was_missed_can_be_added(
    house: FilmHouse, open_ecg: Open
) -> None:
    uid, _ = receive_ecg(house, "P32")
    page = open_ecg(uid)
    page.keyboard.press("4")
    p_wave = page.locator("[data-tool=wave-p]")
    p_wave.click()
    assert table(page, "ecg_pr", 3) == "—"
    assert page.locator("[data-line=p_on]").count() == 0
    page.keyboard.press("w")
    page.wait_for_selector("[data-told=measured]:has-text('王医生测量')")
    assert "ecg_pr" not in house.events("ecg_measured")[0].detail["values"]
    p_wave.click()
    assert table(page, "ecg_pr", 3) == "160 ms"
    page.get_by_role("button", name="还原").click()
    assert table(page, "ecg_pr", 3) == "—", "back to what is saved"


def test_the_earlier_ecg_lies_over_todays_and_changed_numbers_are_named(house: FilmHouse, open_ecg: Open) -> None:
    receive_ecg(house, "P29", pr=0.20, hours_ago=100)
    uid, _ = receive_ecg(house, "P29")
    page = open_ecg(uid)
    page.keyboard.press("p")
    page.wait_for_selector(".ecg-trace-earlier", state="attached")
    assert page.locator(".ecg-trace-earlier").count() == page.locator(".ecg-trace").count() == 12
    assert "虚线叠加" in page.locator(".ecg-footer").last.text_content()
    assert "−40" in table(page, "ecg_pr", 5)
    assert "有变化" in table(page, "ecg_pr", 5)
    assert "有变化" not in table(page, "ecg_qrs", 5)
    # Both hearts beat R at the same place: the tallest points of both median beats agree.
    peaks = page.evaluate(
        """() => [".ecg-trace", ".ecg-trace-earlier"].map((kind) => {
          const numbers = document.querySelector(`${kind}[data-lead=V5]`).getAttribute("d").match(/-?[\\d.]+/g).map(Number);
          let best = 0;
          for (let i = 0; i < numbers.length; i += 2) if (numbers[i + 1] < numbers[best + 1]) best = i;
          return [numbers[best], numbers[best + 1]];
        })"""
    )
    assert peaks[0] == pytest.approx(peaks[1], abs=0.15)
    page.keyboard.press("p")
    assert page.locator(".ecg-trace-earlier").count() == 0


def test_what_the_numbers_rest_on_stands_below_the_paper_beside_the_devices_own(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P34", kinds=True, noted=DOUBTFUL)
    page = open_ecg(uid)
    panel = page.locator(".ecg-evidence")
    assert panel.locator("summary").inner_text() == "信号可用 · 电极 RA/LA 接反？ · 2 个导联质量欠佳 · 附设备自测值"
    numbers, leads_table = panel.locator("table").all()
    assert numbers.locator("tr:nth-child(2)").inner_text().split("\t")[:3] == ["AI预读", "75 次/分", "160 ms"]
    assert numbers.locator("tr:nth-child(3)").inner_text().split("\t") == [
        "设备自测", "76 次/分", "158 ms", "—", "384 ms", "—", "—", "431 ms"
    ]  # fmt: skip
    assert leads_table.locator("tr:nth-child(1)").inner_text().split("\t")[1:] == list(LEADS)
    assert leads_table.locator("tr:nth-child(2) .ecg-unfit").all_inner_texts() == ["工频干扰", "噪声"]
    assert leads_table.locator("tr:nth-child(3)").inner_text().split("\t")[1:3] == ["0.50", "0.60"]
    assert leads_table.locator("tr:nth-child(6)").inner_text().split("\t")[1] == "−0.12"
    lines = panel.locator("p").all_inner_texts()
    assert lines[0] == "设备结论 (Maker R12) 窦性心律 · 正常心电图"
    assert "室性(V) 1 个 · 室上性(S) 1 个" in lines[1]
    assert "RA/LA 疑似接反，概率 91%" in lines[2]
    # Open, it leaves the whole paper in sight.
    sheet, room = page.locator(".ecg-sheet").bounding_box(), page.locator(".ecg-strip").bounding_box()
    assert sheet["height"] <= room["height"]
    panel.locator("summary").click()
    page.reload()
    page.wait_for_selector(".ecg-desk.is-ready")
    assert panel.locator("table").first.is_hidden(), "it stays folded"
    page.keyboard.press("4")
    assert panel.is_hidden()
    assert table(page, "ecg_qt", 3) == "384 ms", "the device's own beside ours"


def test_on_a_phone_the_evidence_is_folded_and_fits_when_it_is_opened(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P35", noted=DOUBTFUL)
    page = open_ecg(uid, PHONE)
    panel = page.locator(".ecg-evidence")
    assert panel.locator("table").first.is_hidden()
    panel.locator("summary").tap()
    first = panel.locator("table").first
    assert first.locator("tr:nth-child(3)").inner_text().split("\t") == ["PR 间期", "160 ms", "158 ms"], "turned round"
    for grid in panel.locator("table").all():
        assert grid.bounding_box()["x"] + grid.bounding_box()["width"] <= 390
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_unusual_beats_are_named_by_a_letter_and_the_usual_ones_are_not(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P36", kinds=True)
    page = open_ecg(uid)
    assert page.locator(".ecg-kind").all_text_contents() == ["V", "S"]
    letters = page.locator(".ecg-kind").all()
    marks = [page.locator(".ecg-r").nth(number).bounding_box()["x"] for number in (3, 6)]
    for letter, mark in zip(letters, marks, strict=True):
        box = letter.bounding_box()
        assert abs(box["x"] + box["width"] / 2 - mark) < 2, "over its own beat"


def test_a_pre_read_that_notes_nothing_shows_no_panel(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P37")
    assert open_ecg(uid).locator(".ecg-evidence").is_hidden()


def test_a_long_recording_is_turned_page_by_page_and_fetched_in_pieces(house: FilmHouse, open_ecg: Open) -> None:
    uid, _ = receive_ecg(house, "P33", seconds=140)
    page = open_ecg(uid)
    assert page.locator("[data-told=seconds]").inner_text() == "第0至10秒，共140秒"
    for turn in range(1, 13):
        # The twelfth page begins where the first piece has ended.
        with page.expect_response(lambda answer: "start=" in answer.url) if turn == 12 else nullcontext():
            page.keyboard.press("]")
    page.wait_for_selector("[data-told=seconds]:has-text('第120至130秒')")
    rhythm = page.locator(".ecg-trace[data-lead=II]").last.bounding_box()
    sheet = page.locator(".ecg-sheet").bounding_box()
    assert rhythm["width"] > 0.9 * sheet["width"], "the whole strip is drawn"
    page.keyboard.press("]")
    assert page.locator("[data-told=seconds]").inner_text() == "第130至140秒，共140秒"
    page.keyboard.press("]")
    assert page.locator("[data-told=seconds]").inner_text() == "第130至140秒，共140秒", "it ends there"


def test_without_a_pre_read_the_paper_is_drawn_and_the_averaged_beat_is_refused_with_the_reason(
    house: FilmHouse, open_ecg: Open
) -> None:
    uid, _ = receive_ecg(house, "P30", pre_read=False)
    page = open_ecg(uid)
    assert page.locator(".ecg-trace").count() == 13
    page.keyboard.press("4")
    assert "未检出心搏" in page.locator("[data-announced]").inner_text()
    assert page.locator(".ecg-trace").count() == 13
    page.keyboard.press("p")
    assert "没有既往心电图" in page.locator("[data-announced]").inner_text()


def test_without_javascript_the_servers_paper_stands_there(house: FilmHouse, open_ecg: Open) -> None:
    uid, sop = receive_ecg(house, "P31")
    page = open_ecg(uid, java_script_enabled=False)
    picture = page.locator(".ecg-strip img")
    assert picture.get_attribute("src") == f"/studies/{uid}/ecg/{sop}.svg"
    assert picture.bounding_box()["height"] > 300
