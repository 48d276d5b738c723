"""From a device to the viewer's question: what came is kept byte for byte, and the archive answers with frames."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from sqlalchemy import select

from cli.custody import fault_of
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.tables import Instance
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.delivery import Courier
from pacs_bridge.part10 import dataset_digest
from tests.conftest import RunningArchive, drain
from tests.pacs_bridge.conftest import RunningNode, send_bytes, wait_until
from tests.pacs_bridge.test_node import count
from tests.pacs_bridge.transcoding.test_in_archive import FRAMES, HALF_SHOWN


@pytest.mark.parametrize("syntax", HALF_SHOWN)
def test_an_instance_arrives_in_a_form_that_the_viewer_gets(
    node: RunningNode, database: Database, running_archive: RunningArchive, tmp_path: Path, syntax: str
) -> None:
    (folder := tmp_path / "device").mkdir()
    path = HALF_SHOWN[syntax](folder, syntax)
    assert send_bytes(node.settings, path) == 0
    wait_until(lambda: count(database, Instance) == 1)
    courier = Courier(node.settings, database, running_archive.archive)
    drain(courier)
    courier.close()
    with database.reading() as session:
        row = session.scalars(select(Instance)).one()
    assert (row.state, row.transfer_syntax_uid) == (CustodyState.COMPARED, syntax)
    original = node.settings.originals / (row.original_name or "")
    assert dataset_digest(original).sha256 == row.sha256 == dataset_digest(path).sha256
    assert fault_of(row, running_archive.archive, node.settings) is None

    sent = dcmread(path, stop_before_pixels=True)
    place = f"/dicom-web/studies/{sent.StudyInstanceUID}/series/{sent.SeriesInstanceUID}/instances/{sent.SOPInstanceUID}"
    credentials = archive_credentials(running_archive.settings.secrets)
    answer = httpx.get(
        f"{running_archive.settings.archive_address}{place}/frames/1",
        headers={"Accept": FRAMES},
        auth=(credentials.username, credentials.password),
        trust_env=False,
    )
    assert answer.status_code == 200
