"""A doctor's measurements that stood in the audit chain alone become rows when the service is brought up to date."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from sqlalchemy import select, text

from core.audit import record, verify
from core.database import Database
from core.migrations import configuration, upgrade
from core.tables import EcgMeasurement
from tests.core.test_migrations import MOMENT, ROWS

LINES = {"p_on": -200.0, "p_off": -100.0, "qrs_on": -40.0, "qrs_off": 50.0, "t_on": 140.0, "t_off": 340.0}
DOCTOR = (
    "INSERT INTO users (id, organisation_id, username, display_name, password_hash, language, created_at)"
    f" VALUES (1, 1, 'doctor', '王医生', 'x', 'zh', '{MOMENT}')"
)


def test_measurements_of_the_audit_chain_become_rows_and_the_chain_stays_whole(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    with database.engine.connect().execution_options(sumu_writing=True) as connection:
        command.upgrade(configuration(connection), "0002")
        for row in (*ROWS, DOCTOR):
            connection.execute(text(row))
        connection.commit()
    with database.writing() as session:
        measured = {"sop_instance_uid": "1.3", "lines_ms": LINES, "rr_ms": 800.0, "values": {"ecg_qt": 380.0}}
        record(session, "user:doctor", "ecg_measured", "study:1.2", measured)
        record(session, "user:doctor", "ecg_measurement_taken_back", "study:1.2", {"sop_instance_uid": "1.3"})
        record(session, "user:gone", "ecg_measured", "study:1.2", measured)
        record(session, "user:doctor", "ecg_measured", "study:9.9", measured)
        record(session, "user:doctor", "study_opened", "study:1.2")
    upgrade(database)
    upgrade(database)
    with database.reading() as session:
        first, second = session.scalars(select(EcgMeasurement).order_by(EcgMeasurement.id))
        assert (first.sop_instance_uid, first.lines, first.rr_ms, first.values) == ("1.3", LINES, 800.0, {"ecg_qt": 380.0})
        assert (first.measured_by.display_name, first.study.study_instance_uid) == ("王医生", "1.2")
        assert abs((first.measured_at - datetime.now(UTC)).total_seconds()) < 60
        assert (second.lines, second.rr_ms, second.values) == (None, None, {})
        assert verify(session) == 5
    database.close()
