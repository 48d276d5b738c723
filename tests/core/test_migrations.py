"""A service that has run keeps its rows when its tables change."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from sqlalchemy import text

from core.database import Database
from core.migrations import configuration, upgrade
from core.tables import Device, Instance, Quarantined

MOMENT = "2026-11-25 00:00:00.000000"
ROWS = (
    "INSERT INTO organisations (id, level, code, name_zh, name_en) VALUES (1, 'township', 'NEAR', '近', 'Near')",
    f"INSERT INTO devices (id, organisation_id, ae_title, name, admitted_at) VALUES (1, 1, 'OLD_DR', 'DR', '{MOMENT}')",
    "INSERT INTO patients (id, organisation_id, identifier, name, name_latin, sex) VALUES (1, 1, 'P1', '王伟', 'wang wei', 'M')",
    "INSERT INTO studies (id, study_instance_uid, organisation_id, patient_id, accession_number, description, body_part,"
    " modality, state, revision, requested_urgency, urgency, urgency_rank, instance_count, first_received_at, last_received_at)"
    f" VALUES (1, '1.2', 1, 1, '', '', '', 'CT', 'arriving', 0, 'routine', 'routine', 2, 1, '{MOMENT}', '{MOMENT}')",
    "INSERT INTO instances (id, study_id, sop_instance_uid, sop_class_uid, series_instance_uid, transfer_syntax_uid, modality,"
    " frames, size, sha256, door, device_id, repeats, state, machine, spool_name, received_at, tries, next_try_at)"
    f" VALUES (1, 1, '1.3', '1.4', '1.5', '1.6', 'CT', 1, 9, 'aa', 'c_store', 1, 0, 'received', 'm', 'n',"
    f" '{MOMENT}', 0, '{MOMENT}')",
    "INSERT INTO quarantined (id, at, device_id, sop_instance_uid, file_name, reason, remedy)"
    f" VALUES (1, '{MOMENT}', 1, '1.9', 'file', 'why', 'what to do')",
)


def test_devices_instances_and_quarantine_survive_the_new_columns(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'old.db'}")
    with database.engine.connect().execution_options(sumu_writing=True) as connection:
        command.upgrade(configuration(connection), "0001")
        for row in ROWS:
            connection.execute(text(row))
        connection.commit()
    upgrade(database)
    upgrade(database)
    with database.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with database.reading() as session:
        device = session.get_one(Device, 1)
        # A machine that was admitted before TLS was asked for goes on sending.
        assert (device.plain, device.may_store, device.may_query) == (True, True, False)
        assert session.get_one(Instance, 1).device_id == 1
        assert session.get_one(Quarantined, 1).study_id is None
    database.close()
