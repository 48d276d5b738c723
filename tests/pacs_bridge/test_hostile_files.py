"""Hostile instances among honest ones, the whole way to a real Orthanc: each is set aside, and nobody else notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import select

from core.database import Database
from core.lifecycles.custody import CustodyState
from core.settings import DeliverySettings, ExaminationSettings, Settings
from core.tables import Instance, Quarantined
from pacs_bridge.delivery import Courier
from tests.conftest import County, RunningArchive, drain, orthanc
from tests.pacs_bridge import hostile_files
from tests.pacs_bridge.conftest import RunningNode, books_kept, echo, send_bytes, wait_until
from tests.pacs_bridge.test_node import count
from tests.pacs_bridge.test_rude_peers import memory

Make = Callable[[Path], Path]

HOSTILE: dict[str, tuple[Make, str]] = {
    "nested 100": (lambda path: hostile_files.nested(path, 100), "deep"),
    "nested 1 000": (lambda path: hostile_files.nested(path, 1_000), "deep"),
    "nested 10 000": (lambda path: hostile_files.nested(path, 10_000), "deep"),
    "nested 100 000": (lambda path: hostile_files.nested(path, 100_000), "deep"),
    "deflated to 256 MB": (lambda path: hostile_files.deflate_bomb(path, 1 << 28), "inflate"),
    "deflated to 4 GB": (lambda path: hostile_files.deflate_bomb(path, (1 << 32) - (1 << 24)), "inflate"),
    "one huge image": (lambda path: hostile_files.image_bomb(path, 1), "need"),
    "a million huge images": (lambda path: hostile_files.image_bomb(path, 1_000_000), "need"),
    "a UID that is a path": (lambda path: hostile_files.named(path, "../../../etc/passwd"), "UID"),
    "no UID": (lambda path: hostile_files.named(path, ""), "UID"),
    "a UID of 64 nines and more": (lambda path: hostile_files.named(path, "1." + "9" * 90), "UID"),
    "truncated": (hostile_files.truncated, "claims"),
}


def push(settings: Settings, path: Path) -> int:
    """Push a file whose own header no library would read: as bytes, under the UIDs of its file meta information."""
    meta = pydicom.filereader.read_file_meta_info(path)
    instance = str(meta.MediaStorageSOPInstanceUID)
    if instance.replace(".", "").isdigit() and len(instance) <= 64:
        return send_bytes(settings, path)
    # pynetdicom refuses such a UID in a request, and so would any honest sender: the request names another.
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    whole = path.read_bytes()
    start = 144 + int.from_bytes(whole[140:144], "little")
    honest = hostile_files.write(path.with_suffix(".sent"), meta.MediaStorageSOPInstanceUID, iter((whole[start:],)))
    return send_bytes(settings, honest)


@pytest.fixture
def delivering(node: RunningNode, database: Database, running_archive: RunningArchive) -> Iterator[Courier]:
    """A courier from the node's spool to the archive."""
    courier = Courier(node.settings, database, running_archive.archive)
    yield courier
    courier.close()


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_instance_is_set_aside_with_its_reason_and_honest_ones_go_on(
    what: str, node: RunningNode, database: Database, delivering: Courier, running_archive: RunningArchive,
    tmp_path: Path, ct_study: Callable[[int], list[Path]],
) -> None:  # fmt: skip
    make, reason = HOSTILE[what]
    before, after = ct_study(2)
    archive_process = running_archive.process.pid
    assert send_bytes(node.settings, before) == 0
    push(node.settings, make(tmp_path / "hostile.dcm"))
    assert send_bytes(node.settings, after) == 0
    wait_until(lambda: count(database, Instance) == 2 and count(database, Quarantined) == 1, seconds=90)
    drain(delivering)
    with database.reading() as session:
        assert list(session.scalars(select(Instance.state))) == [CustodyState.COMPARED] * 2
        set_aside = session.scalars(select(Quarantined)).one()
    assert reason in set_aside.reason
    assert set_aside.remedy
    wait_until((node.settings.quarantine / set_aside.file_name).exists)
    assert running_archive.process.pid == archive_process
    assert running_archive.process.poll() is None
    assert memory(node) < 300 << 20
    assert echo(node.settings)


def test_an_instance_of_which_the_archive_dies_is_tried_once_more_alone_and_never_again(
    settings: Settings, county: County, database: Database, tmp_path: Path, ct_study: Callable[[int], list[Path]]
) -> None:
    """With the examination's bound lifted: Orthanc 1.10.1 truly dies of 10 000 levels."""
    patient = DeliverySettings(first_retry_seconds=0.01, longest_retry_seconds=0.02)
    careless = settings.model_copy(
        update={"examination": ExaminationSettings(depth=100_000), "delivery": patient}
    )  # fmt: skip
    deaths = 0
    with orthanc(careless) as running, books_kept(careless, database):
        node = RunningNode(careless)
        try:
            first, second, third = ct_study(3)
            killer = hostile_files.nested(tmp_path / "killer.dcm", 50_000)
            for path in (first, killer, second):
                assert send_bytes(careless, path) == 0
            wait_until(lambda: count(database, Instance) == 3)
            courier = Courier(careless, database, running.archive)

            def states() -> list[CustodyState]:
                with database.reading() as session:
                    return sorted(session.scalars(select(Instance.state)))

            def settled() -> bool:
                nonlocal deaths
                courier.round()
                if running.process.poll() is not None:
                    deaths += 1
                    running.restart_after_kill()
                    wait_until(running.archive.answers)
                return set(states()) <= {CustodyState.COMPARED, CustodyState.QUARANTINED}

            wait_until(settled, seconds=60)
            assert states() == [CustodyState.COMPARED, CustodyState.COMPARED, CustodyState.QUARANTINED]
            assert deaths == 2  # the second time alone: a person reads that it was this file
            with database.reading() as session:
                assert "died 2 times" in session.scalars(select(Quarantined.reason)).one()
            assert send_bytes(careless, third) == 0
            wait_until(lambda: count(database, Instance) == 4)
            drain(courier)
            assert states().count(CustodyState.COMPARED) == 3
            courier.close()
        finally:
            node.stop()


def test_a_resent_hostile_instance_is_set_aside_again_and_kills_nothing(
    node: RunningNode, database: Database, delivering: Courier, running_archive: RunningArchive, tmp_path: Path
) -> None:
    path = hostile_files.nested(tmp_path / "hostile.dcm", 10_000)
    for times in (1, 2):
        assert push(node.settings, path) == 0
        wait_until(lambda times=times: count(database, Quarantined) == times)  # type: ignore[misc]
    assert delivering.round() == 0
    assert running_archive.process.poll() is None
