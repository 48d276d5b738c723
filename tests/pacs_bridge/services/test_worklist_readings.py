"""A device that polls its worklist leaves few events, and none of what it saw is missing from them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import DBAPIError

from core.audit import verify
from core.clock import now
from core.database import Database
from core.tables import AuditEvent, Order
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services import worklist_readings
from pacs_bridge.services.worklist_readings import WINDOW, Shown, WorklistReadings
from tests.pacs_bridge.services.conftest import Station
from tests.pacs_bridge.services.test_worklist import ask, order

CT = AdmittedDevice(id=1, organisation_id=1, ae_title="TOWNSHIP_CT")
DR = AdmittedDevice(id=2, organisation_id=1, ae_title="TOWNSHIP_DR")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """The time that the readings see, to be set."""
    moments = [now()]
    monkeypatch.setattr(worklist_readings, "now", lambda: moments[-1])
    return moments


@pytest.fixture
def readings(database: Database) -> Iterator[WorklistReadings]:
    """The readings of a node."""
    yield WorklistReadings(database)
    with database.reading() as session:
        verify(session)


def question(**keys: Any) -> Dataset:
    """Return what a device asks, with the step's keys in their sequence."""
    asked, step = Dataset(), Dataset()
    for keyword, value in keys.items():
        where = step if keyword.startswith(("Scheduled", "Modality")) else asked
        setattr(where, keyword, value)
    asked.PatientName = ""
    asked.ScheduledProcedureStepSequence = [step]
    return asked


def shown(*accession_numbers: str, reads: str = "a") -> list[Shown]:
    return [
        Shown(order_id=int(number), accession_number=number, data_set=f"{number}{reads}".encode()) for number in accession_numbers
    ]


def events(database: Database, device: str = "TOWNSHIP_CT") -> list[dict[str, Any]]:
    with database.reading() as session:
        query = select(AuditEvent.detail).where(AuditEvent.actor == f"device:{device}", AuditEvent.action == "worklist_read")
        return list(session.scalars(query.order_by(AuditEvent.id)))


def test_many_polls_are_one_event_and_a_count(readings: WorklistReadings, database: Database, clock: list[datetime]) -> None:
    for second in range(0, 600, 5):
        clock.append(clock[0] + timedelta(seconds=second))
        readings.note(CT, "first", question(Modality="CT"), shown("1", "2"))
    (event,) = events(database)
    assert event == {"association": "first", "keys": {"Modality": "CT"}, "answers": 2, "new": 2, "orders": ["1", "2"]}
    readings.close()
    assert [one.get("repeats") for one in events(database)] == [None, 119]
    assert events(database)[1]["repeats_since"] == (clock[0] + timedelta(seconds=5)).isoformat()


def test_an_order_that_is_new_or_reads_differently_is_an_event_at_once(readings: WorklistReadings, database: Database) -> None:
    asked = question(Modality="CT")
    for answer in (
        shown("1"),
        shown("1"),
        shown("1", "2"),
        shown("2"),
        [*shown("1", reads="b"), *shown("2")],
        shown("1", reads="b"),
    ):
        readings.note(CT, "a", asked, answer)
    told = events(database)
    assert [event["orders"] for event in told] == [["1"], ["2"], ["1"]]
    assert [event.get("repeats") for event in told] == [None, 1, 1]  # the same again; fewer than before
    readings.close()
    assert events(database)[-1]["repeats"] == 1


def test_after_a_quarter_of_an_hour_everything_that_is_shown_is_named_again(
    readings: WorklistReadings, database: Database, clock: list[datetime]
) -> None:
    for later in (timedelta(0), timedelta(minutes=1), WINDOW, WINDOW + timedelta(minutes=1)):
        clock.append(clock[0] + later)
        readings.note(CT, "a", question(), shown("1", "2"))
    told = events(database)
    assert [(event["orders"], event.get("repeats")) for event in told] == [(["1", "2"], None), (["1", "2"], 1)]


def test_a_clock_that_was_set_back_hides_nothing(readings: WorklistReadings, database: Database, clock: list[datetime]) -> None:
    readings.note(CT, "a", question(), shown("1"))
    clock.append(clock[0] - timedelta(days=1))
    readings.note(CT, "a", question(), shown("1"))
    assert len(events(database)) == 2


def test_devices_and_kinds_of_question_have_their_own_events(readings: WorklistReadings, database: Database) -> None:
    for _ in range(3):
        readings.note(CT, "a", question(Modality="CT"), shown("1"))
        readings.note(DR, "b", question(Modality="CT"), shown("1"))
        readings.note(CT, "c", question(PatientID="P1"), shown("1"))
    assert [event["keys"] for event in events(database)] == [{"Modality": "CT"}, {"PatientID": "P1"}]
    assert len(events(database, "TOWNSHIP_DR")) == 1


def test_times_that_move_with_the_clock_make_no_other_kind(readings: WorklistReadings, database: Database) -> None:
    for minute in range(10):
        readings.note(CT, "a", question(ScheduledProcedureStepStartTime=f"08{minute:02}00-"), shown("1"))
    (event,) = events(database)
    assert event["keys"] == {"ScheduledProcedureStepStartTime": "080000-"}


def test_a_reading_that_shows_nothing_is_no_event(readings: WorklistReadings, database: Database) -> None:
    readings.note(CT, "a", question(), [])
    readings.close()
    assert events(database) == []


def test_a_device_that_was_switched_off_has_its_count_written(
    readings: WorklistReadings, database: Database, clock: list[datetime]
) -> None:
    for _ in range(4):
        readings.note(CT, "a", question(), shown("1"))
    clock.append(clock[0] + WINDOW)
    readings.note(DR, "b", question(), shown("1"))
    assert [event.get("repeats") for event in events(database)] == [None, 3]
    readings.close()
    assert len(events(database)) == 2  # each count once


def test_the_kinds_that_are_remembered_have_an_end(
    readings: WorklistReadings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist_readings, "MOST_KINDS", 3)
    for patient in range(5):
        for _ in range(2):
            readings.note(CT, "a", question(PatientID=f"P{patient}"), shown("1"))
    assert len(readings._windows) == 3
    readings.close()
    assert sum(event.get("repeats", 0) for event in events(database)) == 5


def test_while_the_database_is_away_nothing_new_is_let_out(readings: WorklistReadings, database: Database) -> None:
    readings.note(CT, "a", question(), shown("1"))
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE audit_events RENAME TO away"))
    readings.note(CT, "a", question(), shown("1"))  # it has seen this
    with pytest.raises(DBAPIError):
        readings.note(CT, "a", question(), shown("1", "2"))
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO audit_events"))
    readings.note(CT, "a", question(), shown("1", "2"))
    assert [(event["orders"], event.get("repeats")) for event in events(database)] == [(["1"], None), (["2"], 1)]


def test_a_polling_device_over_the_wire(station: Station) -> None:
    patient = order(station, device="ASCII_CR", name="高娃", latin="gao wa")
    number = patient.accession_number

    def count() -> int:
        with station.database.reading() as session:
            return (
                session.scalar(
                    select(func.count()).where(AuditEvent.actor == "device:ASCII_CR", AuditEvent.action == "worklist_read")
                )
                or 0
            )

    before = count()
    for _ in range(5):
        (answer,) = ask(station, "ASCII_CR", AccessionNumber=number)
        assert answer.PatientName == "GAO^WA"
    assert count() == before + 1
    with station.database.writing() as session:
        session.execute(update(Order).where(Order.id == patient.id).values(description="changed"))
    ask(station, "ASCII_CR", AccessionNumber=number)
    assert count() == before + 2
    with station.database.reading() as session:
        latest = session.scalars(
            select(AuditEvent).where(AuditEvent.actor == "device:ASCII_CR").order_by(AuditEvent.id.desc()).limit(1)
        ).one()
        assert (latest.detail["orders"], latest.detail["repeats"]) == ([number], 4)
        assert latest.detail["keys"]["AccessionNumber"] == number
        verify(session)
