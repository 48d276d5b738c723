"""The node, its spool, the registrar and delivery, with DCMTK's storescu and a real Orthanc."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from pynetdicom import AE
from sqlalchemy import func, select

from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.study import StudyState
from core.settings import CompletenessSettings, Settings
from core.tables import Association, Door, Instance, Quarantined, Study
from pacs_bridge.archive import Archive
from pacs_bridge.completeness import settle_due
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.part10 import dataset_digest
from tests.conftest import RunningArchive, drain, free_port, orthanc
from tests.pacs_bridge.conftest import RunningNode, echo, send_bytes, storescu, wait_until

Study3 = Callable[[int], list[Path]]


def count(database: Database, kind: type) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(kind)) or 0


def test_echo_is_answered_to_an_admitted_device(node: RunningNode) -> None:
    answer = subprocess.run(
        ["echoscu", "-aet", "TOWNSHIP_DR", "-aec", "SUMU", "127.0.0.1", str(node.settings.node.port)], check=False, timeout=20
    )
    assert answer.returncode == 0


def test_an_unknown_device_is_refused_and_the_log_says_how_to_admit_it(node: RunningNode) -> None:
    assert not echo(node.settings, "STRANGER")
    assert "sumu device admit STRANGER" in node.log.read_text()


def test_an_acknowledged_study_is_in_custody_with_the_hash_of_what_was_sent(
    node: RunningNode, database: Database, ct_study: Study3
) -> None:
    paths = ct_study(3)
    assert [send_bytes(node.settings, path) for path in paths] == [0, 0, 0]
    wait_until(lambda: count(database, Instance) == 3)
    with database.reading() as session:
        by_uid = {row.sop_instance_uid: row for row in session.scalars(select(Instance))}
        for path in paths:
            row = by_uid[pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID]
            sent = dataset_digest(path)
            assert (row.sha256, row.size, row.door) == (sent.sha256, sent.size, Door.C_STORE)
            assert row.state is CustodyState.RECEIVED
        study = session.scalars(select(Study)).one()
        assert (study.instance_count, study.modality, study.state) == (3, "CT", StudyState.ARRIVING)
    wait_until(lambda: _outcomes(database)[-1:] == ["released"])


def _outcomes(database: Database) -> list[str | None]:
    with database.reading() as session:
        return list(session.scalars(select(Association.outcome).order_by(Association.opened_at)))


def test_sending_again_counts_a_repeat_and_stores_nothing_twice(node: RunningNode, database: Database, ct_study: Study3) -> None:
    paths = ct_study(1)
    for _ in range(2):
        assert storescu(node.settings, *paths).returncode == 0

    def repeated() -> bool:
        with database.reading() as session:
            return session.scalars(select(Instance.repeats)).all() == [1]

    wait_until(repeated)
    wait_until(lambda: len(list((node.settings.spool / "held").iterdir())) == 1)
    assert not list((node.settings.spool / "new").iterdir())


def test_the_same_uid_with_other_bytes_is_set_aside_with_its_reason(
    node: RunningNode, database: Database, ct_study: Study3
) -> None:
    (path,) = ct_study(1)
    assert storescu(node.settings, path).returncode == 0
    changed = pydicom.dcmread(path)
    changed.PatientName = "Somebody^Else"
    changed.save_as(path)
    assert storescu(node.settings, path).returncode == 0
    wait_until(lambda: count(database, Quarantined) == 1)
    with database.reading() as session:
        row = session.scalars(select(Quarantined)).one()
        assert "other bytes" in row.reason
        wait_until((node.settings.quarantine / row.file_name).exists)
    assert count(database, Instance) == 1


def test_a_killed_node_loses_nothing_that_it_acknowledged(node: RunningNode, database: Database, ct_study: Study3) -> None:
    paths = ct_study(20)
    assert storescu(node.settings, *paths).returncode == 0
    node.kill()
    node.restart()
    wait_until(lambda: count(database, Instance) == 20)
    wait_until(lambda: None not in _outcomes(database)[:1])


def test_with_a_full_disk_the_device_is_told_to_keep_its_study(
    settings: Settings, database: Database, county: object, ct_study: Study3
) -> None:
    crowded = settings.model_copy(update={"node": settings.node.model_copy(update={"free_bytes": 10**18})})
    node = RunningNode(crowded)
    try:
        assert send_bytes(crowded, *ct_study(1)) == 0xA700  # out of resources, PS3.4 B.2.3
        assert not list((settings.spool / "new").iterdir())
    finally:
        node.stop()


def courier(settings: Settings, database: Database, running: RunningArchive) -> Courier:
    return Courier(settings, database, running.archive)


def test_delivery_compares_hashes_and_lets_the_spool_go(
    node: RunningNode, database: Database, ct_study: Study3, running_archive: RunningArchive
) -> None:
    assert storescu(node.settings, *ct_study(4)).returncode == 0
    wait_until(lambda: count(database, Instance) == 4)
    delivering = courier(node.settings, database, running_archive)
    drain(delivering)
    with database.reading() as session:
        for row in session.scalars(select(Instance)):
            assert row.state is CustodyState.COMPARED
            assert None not in (row.delivered_at, row.compared_at)
            assert row.spool_name is None
            assert running_archive.archive.digest(row.archive_id or "").sha256 == row.sha256
    assert not list((node.settings.spool / "held").iterdir())
    delivering.close()


def test_while_the_archive_is_away_instances_wait_and_then_arrive(
    node: RunningNode, database: Database, ct_study: Study3
) -> None:
    settings = node.settings.model_copy(
        update={
            "delivery": node.settings.delivery.model_copy(update={"first_retry_seconds": 0.01, "longest_retry_seconds": 0.02})
        }
    )
    assert storescu(settings, *ct_study(2)).returncode == 0
    wait_until(lambda: count(database, Instance) == 2)
    delivering = Courier(settings, database, Archive(settings.archive_address, archive_credentials(settings.secrets)))
    delivering.round()
    with database.reading() as session:
        assert {row.tries for row in session.scalars(select(Instance))} == {1}
        assert "does not answer" in (session.scalars(select(Instance.last_error)).first() or "")
    with orthanc(settings):

        def compared() -> bool:
            drain(delivering)
            with database.reading() as session:
                return set(session.scalars(select(Instance.state))) == {CustodyState.COMPARED}

        wait_until(compared)
    delivering.close()


def test_an_instance_that_came_under_a_clock_running_ahead_is_delivered_all_the_same(
    node: RunningNode, database: Database, ct_study: Study3, running_archive: RunningArchive
) -> None:
    assert storescu(node.settings, *ct_study(1)).returncode == 0
    wait_until(lambda: count(database, Instance) == 1)
    with database.writing() as session:
        instance = session.scalars(select(Instance)).one()
        instance.received_at = instance.next_try_at = instance.next_try_at + timedelta(days=1000)
    delivering = courier(node.settings, database, running_archive)
    drain(delivering)
    delivering.close()
    with database.reading() as session:
        assert session.scalars(select(Instance.state)).one() is CustodyState.COMPARED


def test_what_the_archive_cannot_parse_is_quarantined_and_the_rest_goes_on(
    node: RunningNode, database: Database, ct_study: Study3, running_archive: RunningArchive
) -> None:
    good, bad = ct_study(2)
    assert storescu(node.settings, good, bad).returncode == 0
    wait_until(lambda: len(list((node.settings.spool / "held").iterdir())) == 2)
    broken = sorted((node.settings.spool / "held").iterdir())[1]
    broken.write_bytes(b"\0" * 200)
    delivering = courier(node.settings, database, running_archive)
    drain(delivering)
    with database.reading() as session:
        states = sorted(session.scalars(select(Instance.state)))
        assert states == [CustodyState.COMPARED, CustodyState.QUARANTINED]
        assert session.scalars(select(Quarantined)).one().remedy
    assert (node.settings.quarantine / broken.name).exists()
    delivering.close()


@pytest.mark.parametrize(("quiet", "settles"), [(0.0, True), (3600.0, False)])
def test_a_study_settles_when_its_association_has_ended_and_it_was_quiet(
    quiet: float,
    settles: bool,
    node: RunningNode,
    database: Database,
    ct_study: Study3,
    running_archive: RunningArchive,
) -> None:
    completeness = CompletenessSettings(quiet_seconds_by_modality={"CT": quiet})
    assert storescu(node.settings, *ct_study(2)).returncode == 0
    wait_until(lambda: count(database, Instance) == 2 and _outcomes(database)[-1:] == ["released"])
    with database.writing() as session:
        assert settle_due(session, completeness) == []  # not before the archive holds it
    delivering = courier(node.settings, database, running_archive)
    drain(delivering)
    with database.writing() as session:
        assert len(settle_due(session, completeness)) == int(settles)
    delivering.close()


def test_a_late_slice_reopens_a_settled_study(
    node: RunningNode, database: Database, ct_study: Study3, running_archive: RunningArchive
) -> None:
    completeness = CompletenessSettings(quiet_seconds_by_modality={"CT": 0})
    first, late = ct_study(2)
    delivering = courier(node.settings, database, running_archive)
    for expected, path in enumerate((first, late), start=1):
        assert storescu(node.settings, path).returncode == 0
        wait_until(lambda expected=expected: count(database, Instance) == expected and None not in _outcomes(database))  # type: ignore[misc]
        with database.reading() as session:
            assert session.scalars(select(Study.state)).one() is StudyState.ARRIVING
        drain(delivering)
        with database.writing() as session:
            (study,) = settle_due(session, completeness)
            assert study.revision == expected
            assert study.reported_at is None  # whoever signed before the late slice has to look again
            study.reported_at = study.settled_at
    delivering.close()


def test_two_nodes_share_one_spool_and_neither_disturbs_the_other(
    node: RunningNode, database: Database, ct_study: Study3, settings: Settings
) -> None:
    second_settings = settings.model_copy(update={"node": settings.node.model_copy(update={"port": free_port()})})
    second = RunningNode(second_settings, name="2")
    try:
        entity = AE(ae_title="TOWNSHIP_DR")
        entity.add_requested_context("1.2.840.10008.1.1")
        held_open = entity.associate("127.0.0.1", settings.node.port, ae_title="SUMU")
        sending = [ct_study(15), ct_study(15)]
        with ThreadPoolExecutor(2) as devices:
            answers = devices.map(
                lambda pair: storescu(pair[0], *pair[1]), zip((settings, second_settings), sending, strict=True)
            )
            assert [answer.returncode for answer in answers] == [0, 0]
        second.kill()
        second.restart()
        wait_until(lambda: count(database, Instance) == 30)
        assert count(database, Quarantined) == 0

        def open_on() -> list[str]:
            with database.reading() as session:
                return list(session.scalars(select(Association.node).where(Association.ended_at.is_(None))))

        # The restarted node has ended its own and nothing of the other's.
        wait_until(lambda: open_on() == [f"{settings.machine}/node-1"])
        held_open.release()
    finally:
        second.stop()
