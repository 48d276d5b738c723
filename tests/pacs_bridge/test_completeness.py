"""When a study may be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from core.clock import now
from core.settings import CompletenessSettings
from pacs_bridge.completeness import Evidence, may_settle

NOW = now()
SETTINGS = CompletenessSettings(quiet_seconds=20, quiet_seconds_by_modality={"DX": 0, "CT": 15})
RADIOGRAPH = Evidence(modality="DX", undelivered=0, open_associations=0, came_by_other_doors=False, last_received_at=NOW)


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
