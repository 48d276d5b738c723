"""Every life cycle is a table without dead ends or unreachable states."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from core.errors import ForbiddenTransition
from core.lifecycles.custody import CUSTODY, CustodyEvent, CustodyState
from core.lifecycles.film_grant import FILM_GRANT, FilmGrantState
from core.lifecycles.life_cycle import LifeCycle
from core.lifecycles.preread import END_STATES, PRE_READ, PreReadState
from core.lifecycles.report import REPORT, ReportEvent, ReportState
from core.lifecycles.study import STUDY, StudyEvent, StudyState

ALL: list[tuple[LifeCycle[Any, Any], type[StrEnum]]] = [
    (CUSTODY, CustodyState),
    (FILM_GRANT, FilmGrantState),
    (PRE_READ, PreReadState),
    (REPORT, ReportState),
    (STUDY, StudyState),
]


@pytest.mark.parametrize(("cycle", "states"), ALL, ids=lambda value: getattr(value, "name", ""))
def test_every_state_can_be_reached_from_the_start(cycle: LifeCycle[Any, Any], states: type[StrEnum]) -> None:
    reached, frontier = {cycle.start}, [cycle.start]
    while frontier:
        here = frontier.pop()
        for (state, _), following in cycle.table.items():
            if state == here and following not in reached:
                reached.add(following)
                frontier.append(following)
    assert reached == set(states)


def test_a_step_that_the_table_lacks_is_refused_and_names_what_is_possible() -> None:
    with pytest.raises(ForbiddenTransition) as refusal:
        CUSTODY.next(CustodyState.RECEIVED, CustodyEvent.AGREE)
    assert "deliver" in refusal.value.remedy


def test_a_signed_report_is_changed_by_an_addendum_alone() -> None:
    assert not REPORT.allows(ReportState.FINAL, ReportEvent.SAVE)
    assert REPORT.next(ReportState.FINAL, ReportEvent.AMEND) is ReportState.AMENDING


def test_a_late_instance_reopens_a_settled_study() -> None:
    assert STUDY.next(StudyState.SETTLED, StudyEvent.INSTANCE) is StudyState.ARRIVING


def test_pre_reads_leave_no_end_state_but_a_failed_one_by_retry() -> None:
    leaving = {(state, event) for (state, event) in PRE_READ.table if state in END_STATES}
    assert {state for state, _ in leaving} == {PreReadState.FAILED}
