"""The timetable's hours and rates, and that no more than they allow goes over the line."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pacs_bridge.edge.forwarding import Forwarder
from pacs_bridge.edge.throttle import Throttle
from pacs_bridge.edge.timetable import Timetable, UnusableTimetable
from tests.pacs_bridge.edge.conftest import CountySite, Township, drive
from tests.pacs_bridge.edge.line import Line

ZONE = "Asia/Shanghai"


def at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-11-25T{clock}:00").replace(tzinfo=ZoneInfo(ZONE))


@pytest.mark.parametrize(
    ("clock", "rate"),
    [
        ("07:59", None),
        ("08:00", 200_000),
        ("11:59", 200_000),
        ("12:00", 50_000),
        ("18:00", None),
        ("22:00", 0),
        ("03:00", 0),
        ("06:00", None),
    ],
)
def test_the_rate_follows_the_countys_clock(clock: str, rate: float | None) -> None:
    timetable = Timetable({"08:00-18:00": 200, "12:00 - 14:00": 50, "22:00-06:00": 0}, ZONE)
    assert timetable.at(at(clock)) == rate


def test_a_row_may_hold_the_whole_day() -> None:
    assert {Timetable({row: 1}, ZONE).at(at("00:00")) for row in ("00:00-24:00", "00:00-00:00")} == {1000}


@pytest.mark.parametrize("row", ["8-18", "08:00-25:00", "08:00-24:30", "", "08:00"])
def test_a_row_that_says_no_hours_is_refused(row: str) -> None:
    with pytest.raises(UnusableTimetable):
        Timetable({row: 1}, ZONE)
    with pytest.raises(UnusableTimetable):
        Timetable({"08:00-18:00": -1}, ZONE)


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def test_what_goes_keeps_to_the_rate_and_to_its_changes() -> None:
    clock, rate, gone = Clock(), 10_000.0, 0
    throttle = Throttle(lambda: rate, clock=clock, sleep=clock.sleep)
    while clock.at < 1010:
        throttle.take(2_500)
        gone += 2_500
    assert 97_500 <= gone <= 105_000
    rate, gone, begun = 1_000.0, 0, clock.at
    while clock.at < begun + 20:
        throttle.take(2_500)
        gone += 2_500
    assert 17_500 <= gone <= 25_000


def test_without_a_limit_nothing_waits_and_idle_time_saves_nothing_up() -> None:
    clock, rate = Clock(), [None, 10_000.0]
    throttle = Throttle(lambda: rate[0], clock=clock, sleep=clock.sleep)
    for _ in range(1000):
        throttle.take(1 << 20)
    assert clock.at == 1000
    rate.reverse()
    clock.sleep(3600)
    begun, gone = clock.at, 0
    while clock.at < begun + 5:
        throttle.take(1_000)
        gone += 1_000
    assert gone <= 52_000


def test_a_slow_line_is_never_silent_for_long() -> None:
    rate: list[float | None] = [None]
    throttle = Throttle(lambda: rate[0])
    grains = []
    for rate[0] in (None, 1e9, 20_000.0, 2_000.0, 1.0):
        grains.append(throttle.grain())
    assert grains == [1 << 18, 1 << 18, 20_000, 2_000, 1 << 10]


class FastClock:
    """Real work on a clock whose sleeping costs no time."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> float:
        return self.slept

    def wait(self, seconds: float) -> None:
        self.slept += seconds


def throttled(township: Township, timetable: dict[str, float]) -> tuple[Forwarder, FastClock]:
    clock = FastClock()
    forwarder = township.forwarder(timetable=timetable, zstd_level=0)
    forwarder._clock = clock
    forwarder._try_at = forwarder._told_at = 0
    forwarder._throttle = Throttle(forwarder._allowed, clock=clock, sleep=clock.wait)
    return forwarder, clock


def test_routine_instances_take_the_time_that_the_rate_asks_for(township: Township, county_site: CountySite, line: Line) -> None:
    for _ in range(10):
        township.take(padding=100_000)
    township.keep_books()
    forwarder, clock = throttled(township, {"00:00-24:00": 100})
    drive(forwarder, lambda: not township.waiting())
    assert line.up > 1_300_000
    assert line.up / clock.slept < 115_000
    forwarder.close()


def test_urgent_instances_ignore_the_rate_and_the_silence(township: Township, county_site: CountySite) -> None:
    township.take()
    urgent = township.take(urgent=True, padding=1_000_000)
    township.keep_books()
    forwarder, clock = throttled(township, {"00:00-24:00": 0})
    drive(forwarder, lambda: township.waiting() == 1)
    for _ in range(5):
        forwarder.round()
    assert [name.sha256 for name in county_site.spooled()] == [urgent]
    assert clock.slept == 0
    forwarder.close()


def test_an_urgent_instance_is_not_held_back_by_what_is_on_the_line(township: Township, county_site: CountySite) -> None:
    for _ in range(4):
        township.take(padding=1_000_000)
    township.keep_books()
    forwarder, clock = throttled(township, {"00:00-24:00": 1000})
    meter, seen = forwarder._throttle.take, 0

    def meter_and_arrive(size: int) -> None:
        nonlocal seen
        meter(size)
        seen += size
        if seen > 1_500_000 and township.made == 4:
            township.take(urgent=True)
            township.keep_books()

    forwarder._throttle.take = meter_and_arrive  # type: ignore[method-assign]
    drive(forwarder, lambda: not township.waiting())
    # Four megabytes at one a second: more than half of them no longer waited.
    assert clock.slept < 3.0
    forwarder.close()
