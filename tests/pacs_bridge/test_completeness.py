"""When a study may be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.clock import now
from core.database import Database
from core.settings import CompletenessSettings
from core.tables import Instance, Study
from pacs_bridge.completeness import Evidence, evidence_of, may_settle
from tests.pacs_bridge.conftest import RunningNode, send_bytes, wait_until
from tests.pacs_bridge.test_node import count

NOW = now()
SETTINGS = CompletenessSettings(
    quiet_seconds=20, quiet_seconds_by_modality={"DX": 0, "CT": 15}, missing_seconds=300, gap_seconds=60
)
RADIOGRAPH = Evidence(
    modality="DX", undelivered=0, open_associations=0, came_by_other_doors=False, last_received_at=NOW, received=1
)
SERIES = replace(RADIOGRAPH, modality="CT", received=100)


def test_a_radiograph_settles_when_its_association_ends() -> None:
    assert may_settle(RADIOGRAPH, SETTINGS, NOW)


@pytest.mark.parametrize(
    "obstacle",
    [{"open_associations": 1}, {"undelivered": 1}, {"came_by_other_doors": True}, {"modality": "CT"}, {"modality": "XX"}],
)
def test_anything_open_keeps_it_from_settling(obstacle: dict[str, object]) -> None:
    assert not may_settle(replace(RADIOGRAPH, **obstacle), SETTINGS, NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(("modality", "seconds"), [("CT", 15), ("XX", 20)])
def test_a_series_settles_after_its_quiet_time_and_not_before(modality: str, seconds: int) -> None:
    series = replace(RADIOGRAPH, modality=modality)
    assert not may_settle(series, SETTINGS, NOW + timedelta(seconds=seconds - 1))
    assert may_settle(series, SETTINGS, NOW + timedelta(seconds=seconds))


def test_an_open_association_is_waited_for_however_long_it_is_quiet() -> None:
    assert not may_settle(replace(RADIOGRAPH, open_associations=1), SETTINGS, NOW + timedelta(days=1))


def test_what_the_device_counted_settles_a_complete_study_at_once() -> None:
    assert may_settle(replace(SERIES, expected=100), SETTINGS, NOW)
    assert not may_settle(replace(SERIES, expected=100, open_associations=1), SETTINGS, NOW)


@pytest.mark.parametrize(("lack", "seconds"), [({"expected": 101}, 300), ({"gaps": 2}, 60)])
def test_a_study_that_lacks_something_is_waited_for_longer_and_not_for_ever(lack: dict[str, int], seconds: int) -> None:
    lacking = replace(SERIES, **lack)  # type: ignore[arg-type]
    assert not may_settle(lacking, SETTINGS, NOW + timedelta(seconds=seconds - 1))
    assert may_settle(lacking, SETTINGS, NOW + timedelta(seconds=seconds))


def test_a_clock_that_was_set_back_holds_no_study() -> None:
    assert may_settle(SERIES, SETTINGS, NOW - timedelta(days=400))
    assert not may_settle(SERIES, SETTINGS, NOW - timedelta(seconds=5))
    assert not may_settle(replace(SERIES, open_associations=1), SETTINGS, NOW - timedelta(days=400))


def test_gaps_are_counted_within_each_series(
    node: RunningNode, database: Database, ct_study: Callable[[int], list[Path]]
) -> None:
    first, second, _, fourth = ct_study(4)
    for path in (first, second, fourth):
        assert send_bytes(node.settings, path) == 0
    wait_until(lambda: count(database, Instance) == 3)
    with database.reading() as session:
        evidence = evidence_of(session, session.scalars(select(Study)).one())
    assert (evidence.received, evidence.gaps, evidence.expected) == (3, 1, None)
