"""What the archive cannot use as it came: it gets a copy that it can, and custody keeps what was received."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import select

from cli.custody import fault_of
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.tables import CharacterSetSighting, Instance, Patient
from pacs_bridge.delivery import Courier
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.preparation import SUFFIX
from tests.conftest import RunningArchive, drain
from tests.pacs_bridge.conftest import RunningNode, send_bytes, wait_until
from tests.pacs_bridge.test_node import count
from tests.pacs_bridge.transcoding.coded_images import grey, htj2k, written

NAME = "欧阳建国"


@pytest.fixture
def mislabelled(ct_study: Callable[[int], list[Path]]) -> Path:
    """A slice whose device writes GBK and declares Latin-1."""
    (path,) = ct_study(1)
    dataset = pydicom.dcmread(path)
    dataset.PatientName, dataset.InstitutionName, dataset.StudyDescription = b"A" * 8, b"B" * 10, b"C" * 8
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.save_as(path)
    spoken = path.read_bytes()
    for placeholder, text in ((b"A" * 8, NAME), (b"B" * 10, "苏木卫生院"), (b"C" * 8, "胸部平扫")):
        spoken = spoken.replace(placeholder, text.encode("gbk"), 1)
    path.write_bytes(spoken)
    return path


def test_mislabelled_chinese_is_readable_everywhere_and_the_original_is_kept(
    node: RunningNode, database: Database, mislabelled: Path, running_archive: RunningArchive, tmp_path: Path
) -> None:
    assert send_bytes(node.settings, mislabelled) == 0
    wait_until(lambda: count(database, Instance) == 1)
    with database.reading() as session:
        assert session.scalars(select(Patient.name)).one() == NAME
        sighting = session.scalars(select(CharacterSetSighting)).one()
        assert (sighting.declared, sighting.count) == ("ISO_IR 100", 1)
        assert sighting.found in ("GBK", "GB18030")
    courier = Courier(node.settings, database, running_archive.archive)
    drain(courier)
    courier.close()
    with database.reading() as session:
        row = session.scalars(select(Instance)).one()
    assert row.state is CustodyState.COMPARED
    held = pydicom.dcmread(running_archive.archive.fetch(row.archive_id or "", tmp_path / "held.dcm"))
    assert str(held.PatientName) == NAME
    assert held.SpecificCharacterSet == "ISO_IR 192"
    assert held.OriginalAttributesSequence[0].SourceOfPreviousValues == "TOWNSHIP_DR"
    assert held.PixelData == pydicom.dcmread(mislabelled).PixelData
    original = node.settings.originals / (row.original_name or "")
    assert dataset_digest(original).sha256 == row.sha256 == dataset_digest(mislabelled).sha256
    assert fault_of(row, running_archive.archive, node.settings) is None
    assert not list((node.settings.spool / "held").iterdir())
    original.write_bytes(original.read_bytes()[:-1] + b"x")
    assert (fault_of(row, running_archive.archive, node.settings) or "").startswith("DIFFERS")


def test_a_transfer_syntax_that_the_archive_cannot_show_arrives_in_one_that_it_can(
    node: RunningNode, database: Database, running_archive: RunningArchive, tmp_path: Path
) -> None:
    picture = grey()
    path = written(tmp_path, picture, "1.2.840.10008.1.2.4.201", htj2k(picture))
    assert send_bytes(node.settings, path) == 0
    wait_until(lambda: count(database, Instance) == 1)
    courier = Courier(node.settings, database, running_archive.archive)
    drain(courier)
    courier.close()
    with database.reading() as session:
        row = session.scalars(select(Instance)).one()
    assert row.state is CustodyState.COMPARED
    assert row.transfer_syntax_uid == "1.2.840.10008.1.2.4.201"
    assert running_archive.archive.preview(row.archive_id or "")[:2] == b"\xff\xd8"
    assert fault_of(row, running_archive.archive, node.settings) is None


def test_a_copy_that_a_crash_left_is_delivered_as_it_is(
    node: RunningNode, database: Database, mislabelled: Path, running_archive: RunningArchive
) -> None:
    """The archive may hold it already, so its bytes must not change."""
    assert send_bytes(node.settings, mislabelled) == 0
    wait_until(lambda: count(database, Instance) == 1)
    first = Courier(node.settings, database, running_archive.archive)
    with database.reading() as session:
        row = session.scalars(select(Instance)).one()
    received = node.settings.spool / "held" / (row.spool_name or "")
    wait_until(received.exists)
    prepared = first._preparer.prepare(received, row)
    first.close()
    assert prepared is not None
    assert prepared.path.name.endswith(SUFFIX)
    stamp = prepared.path.stat().st_mtime_ns
    second = Courier(node.settings, database, running_archive.archive)
    again = second._preparer.prepare(received, row)
    assert again is not None
    assert (again.sha256, again.path.stat().st_mtime_ns) == (prepared.sha256, stamp)
    drain(second)
    second.close()
    with database.reading() as session:
        assert session.scalars(select(Instance.delivered_sha256)).one() == prepared.sha256
