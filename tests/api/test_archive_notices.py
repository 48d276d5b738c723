"""What the archive's plugin tells: every instance gets its custody row once, and a broken one stops nothing."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pydicom
import pytest
import uvicorn
from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select

from api.app import create_app
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.tables import Door, Instance, Organisation, Quarantined, Study
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.other_doors import Notice, look
from tests.api.film_house import FilmHouse, ct_study, house, quick_hashes, study_of
from tests.conftest import make_county, orthanc, settings_in

__all__ = ["house", "quick_hashes"]

ARCHIVE = "archive-of-this-test"


def store(house: FilmHouse, instance: Dataset) -> str:
    file = io.BytesIO()
    instance.save_as(file, enforce_file_format=True)
    file.seek(0)
    return house.archive.store(file)


def tell(house: FilmHouse, after: int, upto: int, archive_ids: list[str], token: str | None = None) -> httpx.Response:
    token = token if token is not None else archive_credentials(house.settings.secrets).notice_token
    body: dict[str, Any] = {"archive": ARCHIVE, "after": after, "upto": upto}
    body["instances"] = [{"archive_id": one, "origin": "RestApi", "address": "10.0.0.1"} for one in archive_ids]
    return house.client.post("/internal/archive/changes", json=body, headers={"Authorization": f"Bearer {token}"})


def rows(house: FilmHouse, kind: type[Any]) -> list[Any]:
    with house.database.reading() as session:
        found = session.query(kind).order_by(kind.id).all()
        session.expunge_all()
        return list(found)


def test_what_came_by_another_door_gets_its_rows(house: FilmHouse) -> None:
    slices = ct_study(3)
    archive_ids = [store(house, one) for one in slices]
    assert tell(house, 0, 0, []).json() == {"last": 0}
    assert tell(house, 0, 12, archive_ids).json() == {"last": 12}
    instances = rows(house, Instance)
    assert [one.archive_id for one in instances] == archive_ids
    assert {one.state for one in instances} == {CustodyState.COMPARED}
    assert {one.door for one in instances} == {Door.ARCHIVE}
    theirs = house.archive.digest(archive_ids[0])
    assert (instances[0].size, instances[0].sha256) == (theirs.size, theirs.sha256)
    (study,) = rows(house, Study)
    assert (study.organisation_id, study.instance_count) == (house.county.county, 3)
    assert len(house.events("instance_found_in_archive")) == 3


def test_the_same_batch_twice_leaves_the_same_rows(house: FilmHouse) -> None:
    archive_ids = [store(house, one) for one in ct_study(2)]
    for _ in range(2):
        assert tell(house, 0, 7, archive_ids).json() == {"last": 7}
    assert tell(house, 7, 9, archive_ids).json() == {"last": 9}
    assert len(rows(house, Instance)) == 2
    assert {one.repeats for one in rows(house, Instance)} == {0}


def test_a_batch_that_does_not_follow_is_sent_back_to_where_we_are(house: FilmHouse) -> None:
    archive_ids = [store(house, one) for one in ct_study(1)]
    assert tell(house, 5, 9, archive_ids).json() == {"last": 0}
    assert rows(house, Instance) == []


def test_what_the_node_delivered_is_left_alone(house: FilmHouse) -> None:
    slices = ct_study(1)
    uid = house.receive(slices, house.county.township)
    with house.database.writing() as session:
        instance = session.query(Instance).one()
        archive_id, instance.archive_id = instance.archive_id, None  # its delivery has not been written down yet
    assert tell(house, 0, 1, [str(archive_id)]).json() == {"last": 1}
    with house.database.reading() as session:
        assert study_of(session, uid).organisation_id == house.county.township
        assert study_of(session, uid).instance_count == 1
        assert session.query(Instance).one().repeats == 0


def test_a_late_slice_joins_the_study_of_its_owner(house: FilmHouse) -> None:
    first, late = ct_study(2)
    uid = house.receive([first], house.county.township)
    tell(house, 0, 1, [store(house, late)])
    with house.database.reading() as session:
        study = study_of(session, uid)
        assert (study.organisation_id, study.instance_count) == (house.county.township, 2)


def test_what_cannot_be_read_is_set_aside_and_stops_nothing(house: FilmHouse) -> None:
    (broken,) = ct_study(1)
    broken.SeriesInstanceUID = "not.a.uid"
    good = ct_study(1)
    archive_ids = [store(house, broken), *(store(house, one) for one in good), "00000000-00000000-00000000-00000000-00000000"]
    for _ in range(2):
        assert tell(house, 0, 3, archive_ids).json() == {"last": 3}
    assert [one.sop_instance_uid for one in rows(house, Instance)] == [good[0].SOPInstanceUID]
    (aside,) = rows(house, Quarantined)
    assert aside.remedy
    kept = pydicom.dcmread(house.settings.quarantine / aside.file_name)
    assert kept.SOPInstanceUID == broken.SOPInstanceUID


def test_without_a_county_it_waits_in_quarantine_for_an_owner(house: FilmHouse) -> None:
    with house.database.writing() as session:
        for organisation in session.query(Organisation):
            organisation.level = type(organisation.level).CITY
    assert tell(house, 0, 1, [store(house, ct_study(1)[0])]).json() == {"last": 1}
    (aside,) = rows(house, Quarantined)
    assert "county" in aside.remedy


@pytest.mark.parametrize("token", ["", "guessed"])
def test_only_the_plugin_is_heard(house: FilmHouse, token: str) -> None:
    answer = tell(house, 0, 1, [], token)
    assert answer.status_code == 403
    assert answer.json()["remedy"]


def test_what_was_deleted_meanwhile_is_nothing(house: FilmHouse) -> None:
    notice = Notice(archive_id="-".join(["0" * 8] * 5), origin="", address="")
    assert look(house.archive, notice, house.settings) is None
    assert generate_uid()


def test_the_plugin_inside_orthanc_tells_of_an_upload_by_itself(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    database = Database(settings.database_address)
    upgrade(database)
    make_county(database)
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=settings.web.port, log_level="warning"))
    pages = threading.Thread(target=server.run)
    with orthanc(settings) as running:
        file = io.BytesIO()
        ct_study(1)[0].save_as(file, enforce_file_format=True)
        file.seek(0)
        archive_id = running.archive.store(file)
        pages.start()  # the archive was there first: what it took in meanwhile is told now
        deadline = time.monotonic() + 30
        told: list[str | None] = []
        while not told and time.monotonic() < deadline:
            time.sleep(0.2)
            with database.reading() as session:
                told = list(session.scalars(select(Instance.archive_id).where(Instance.door == Door.ARCHIVE)))
        server.should_exit = True
        pages.join()
    database.close()
    assert told == [archive_id]
