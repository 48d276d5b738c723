"""The audit chain: whole after honest use, broken after any other."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import delete, select, update

from core.audit import BrokenChain, record, verify
from core.database import Database
from core.tables import AuditEvent


def fill(database: Database, events: int = 5) -> None:
    for number in range(events):
        with database.writing() as session:
            record(session, "user:doctor", "study_opened", f"study:{number}", {"名": "值", "number": number})


def test_an_honest_chain_is_whole(database: Database) -> None:
    fill(database)
    with database.reading() as session:
        assert verify(session) == 5


def test_a_changed_event_is_found(database: Database) -> None:
    fill(database)
    with database.writing() as session:
        session.execute(update(AuditEvent).where(AuditEvent.subject == "study:2").values(actor="user:somebody-else"))
    with database.reading() as session, pytest.raises(BrokenChain) as broken:
        verify(session)
    assert broken.value.event_id == 3


def test_a_removed_event_is_found(database: Database) -> None:
    fill(database)
    with database.writing() as session:
        session.execute(delete(AuditEvent).where(AuditEvent.subject == "study:2"))
    with database.reading() as session, pytest.raises(BrokenChain):
        verify(session)


def test_what_is_rolled_back_leaves_no_event(database: Database) -> None:
    with pytest.raises(RuntimeError), database.writing() as session:
        record(session, "user:doctor", "report_signed", "study:1")
        raise RuntimeError
    with database.reading() as session:
        assert session.scalars(select(AuditEvent)).all() == []


def test_writers_at_once_make_one_chain(database: Database) -> None:
    threads = [threading.Thread(target=fill, args=(database, 10)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.reading() as session:
        assert verify(session) == 40
