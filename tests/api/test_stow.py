"""STOW-RS: durable before it is answered, flat in memory, open to admitted devices alone, and never stopped by a bad request."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import httpx
import pydicom
import pytest
import uvicorn
import zstandard
from dicomweb_client.api import DICOMwebClient
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select

from api import stow_body, stow_door
from api.app import create_app
from api.stow_sender import Sender
from core.clock import now
from core.database import Database
from core.passwords import token_hash
from core.settings import NodeSettings, Settings
from core.tables import Association, Device, Door, Instance, Quarantined, Study
from pacs_bridge.edge import words
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.spool import Spool, SpoolName
from pacs_bridge.tls import make_certificate, read_certificate
from tests.conftest import County
from tests.pacs_bridge.conftest import books_kept, environment

TOKEN, EDGE_TOKEN = "a-device-token", "an-edge-token"
BOUNDARY = "the-boundary"
TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
BEARER = {"Authorization": f"Bearer {TOKEN}"}
EDGE = {"Authorization": f"Bearer {EDGE_TOKEN}"}
RECEIPTS = {"Accept": "application/json"}


def ct(study: str | None = None, **elements: Any) -> Dataset:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.StudyInstanceUID, dataset.SOPInstanceUID = study or generate_uid(), generate_uid()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def part10(dataset: Dataset) -> bytes:
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def data_set(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


def sha256(file: bytes) -> str:
    return hashlib.sha256(data_set(file)).hexdigest()


def multipart(*files: bytes, headers: str = "Content-Type: application/dicom\r\n") -> bytes:
    parts = [f"--{BOUNDARY}\r\n{headers}\r\n".encode() + file + b"\r\n" for file in files]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


@pytest.fixture
def admitted(database: Database, county: County) -> None:
    """The township's device gets a token; an edge stands beside it, and a device of elsewhere."""
    with database.writing() as session:
        session.get_one(Device, county.device).token_hash = token_hash(TOKEN)
        session.add(
            Device(
                organisation_id=county.township, ae_title="NEAR_EDGE", name="edge", admitted_at=now(), may_forward=True,
                token_hash=token_hash(EDGE_TOKEN),
            )
        )  # fmt: skip
        session.add(Device(organisation_id=county.other_township, ae_title="FAR_DR", name="DR", admitted_at=now()))


@pytest.fixture
def client(app: FastAPI, admitted: None) -> TestClient:
    return TestClient(app)


def store(client: TestClient, body: bytes, path: str = "/dicom-web/studies", **headers: str) -> httpx.Response:
    answer: httpx.Response = client.post(path, content=body, headers={"Content-Type": TYPE, **BEARER, **headers})
    return answer


def in_spool(settings: Settings) -> list[SpoolName]:
    return [SpoolName.parse(name) for name in Spool(settings.spool).names_without_custody()]


def arriving(settings: Settings) -> list[Path]:
    return [path for path in (settings.spool / "arriving").rglob("*") if path.is_file()]


def test_what_is_answered_for_lies_in_the_spool_with_the_bytes_that_came(client: TestClient, settings: Settings) -> None:
    files = [part10(ct()), part10(ct())]
    answer = store(client, multipart(*files))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    described = Dataset.from_json(answer.json())
    uids = [item.ReferencedSOPInstanceUID for item in described.ReferencedSOPSequence]
    assert uids == [pydicom.dcmread(io.BytesIO(file)).SOPInstanceUID for file in files]
    assert answer.headers[words.SHA256] == ", ".join(map(sha256, files))
    assert {(name.ae_title, name.sha256) for name in in_spool(settings)} == {("TOWNSHIP_DR", sha256(file)) for file in files}
    spool = Spool(settings.spool)
    for name in spool.names_without_custody():
        assert dataset_digest(spool.path(name)).sha256 == SpoolName.parse(name).sha256


def test_file_and_folder_are_synced_before_the_answer(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = list[str]()
    for name in ("fsync", "fdatasync"):
        sync = getattr(os, name)

        def noting(handle: int, sync: Callable[[int], None] = sync) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            synced.append(path.name if path.is_dir() else path.parent.name)
            sync(handle)

        monkeypatch.setattr(os, name, noting)
    keep = Spool.keep

    def keep_and_mark(spool: Spool, *given: Any, **more: Any) -> str:
        name = keep(spool, *given, **more)
        synced.append("kept")
        return name

    monkeypatch.setattr(Spool, "keep", keep_and_mark)
    assert store(client, multipart(part10(ct()))).status_code == 200
    assert synced[: synced.index("kept")] == [f"stow-{settings.web.port}", "new"]


def test_the_parts_own_head_is_replaced_and_its_data_set_is_not(client: TestClient, settings: Settings) -> None:
    file = b"MZ" + bytes(126) + part10(ct())[128:]
    assert store(client, multipart(file)).status_code == 200
    spool = Spool(settings.spool)
    (name,) = spool.names_without_custody()
    kept = spool.path(name).read_bytes()
    assert kept[:128] == bytes(128)
    assert data_set(kept) == data_set(file)
    assert pydicom.dcmread(io.BytesIO(kept)).file_meta.SourceApplicationEntityTitle == "TOWNSHIP_DR"


def test_it_gets_its_custody_row_and_its_study_may_settle(client: TestClient, settings: Settings, database: Database) -> None:
    file = part10(ct())
    with books_kept(settings, database):
        assert store(client, multipart(file)).status_code == 200
    with database.reading() as session:
        instance = session.scalars(select(Instance)).one()
        assert (instance.door, instance.sha256) == (Door.STOW, sha256(file))
        assert instance.device is not None
        assert instance.device.ae_title == "TOWNSHIP_DR"
        association = session.scalars(select(Association)).one()
        assert (association.id, association.outcome) == (instance.association_id, "released")


def test_same_uid_same_bytes_is_counted_and_other_bytes_are_set_aside(
    client: TestClient, settings: Settings, database: Database
) -> None:
    dataset = ct()
    first = part10(dataset)
    dataset.PatientComments = "retouched"
    with books_kept(settings, database):
        for file in (first, first, part10(dataset)):
            assert store(client, multipart(file)).status_code == 200
    with database.reading() as session:
        instance = session.scalars(select(Instance)).one()
        assert (instance.sha256, instance.repeats) == (sha256(first), 1)
        aside = session.scalars(select(Quarantined)).one()
        assert aside.sop_instance_uid == dataset.SOPInstanceUID
        assert aside.study_id == session.scalars(select(Study.id)).one()


@pytest.mark.parametrize("coding", ["zstd", "gzip"])
def test_a_compressed_body_is_inflated(client: TestClient, settings: Settings, coding: str) -> None:
    file = part10(ct())
    squeeze = {"zstd": zstandard.ZstdCompressor().compress, "gzip": gzip.compress}[coding]
    answer = store(client, squeeze(multipart(file)), **{"Content-Encoding": coding})
    assert answer.status_code == 200
    assert [name.sha256 for name in in_spool(settings)] == [sha256(file)]


def test_receipts_name_the_hash_of_each_instance(client: TestClient) -> None:
    file = part10(ct())
    receipts = store(client, multipart(file, b"no DICOM"), **RECEIPTS)
    assert receipts.status_code == 202
    (kept,), (failed,) = receipts.json()["kept"], receipts.json()["failed"]
    assert (kept["sha256"], kept["size"]) == (sha256(file), len(data_set(file)))
    assert failed["failure"] == 0xC000
    assert "PS3.10" in failed["note"]


def test_native_xml_is_answered_to_who_asks_for_it(client: TestClient) -> None:
    dataset = ct()
    answer = store(client, multipart(part10(dataset)), Accept="application/dicom+xml")
    root = ElementTree.fromstring(answer.content)
    found = root.find("DicomAttribute[@keyword='ReferencedSOPSequence']/Item/DicomAttribute[@tag='00081155']/Value")
    assert found is not None
    assert found.text == dataset.SOPInstanceUID


def test_an_instance_of_another_study_fails_alone(client: TestClient, settings: Settings) -> None:
    mine, other = ct(), ct()
    answer = store(client, multipart(part10(mine), part10(other)), f"/dicom-web/studies/{mine.StudyInstanceUID}")
    assert answer.status_code == 202
    (failed,) = Dataset.from_json(answer.json()).FailedSOPSequence
    assert (failed.ReferencedSOPInstanceUID, failed.FailureReason) == (other.SOPInstanceUID, 0xA901)
    assert [name.sha256 for name in in_spool(settings)] == [sha256(part10(mine))]
    assert arriving(settings) == []


@pytest.mark.parametrize(
    ("headers", "status", "helps"),
    [
        ({"Authorization": "Bearer wrong"}, 401, "token"),
        ({"Authorization": ""}, 401, "token"),
        ({"Content-Type": "application/dicom"}, 415, "multipart/related"),
        ({"Content-Type": 'multipart/related; type="application/dicom+json"; boundary=x'}, 415, "multipart/related"),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 415, "boundary"),
        ({"Content-Encoding": "br"}, 415, "zstd"),
        ({"Content-Encoding": "zstd"}, 400, "again"),
        ({"Content-Encoding": "gzip"}, 400, "again"),
    ],
)
def test_a_request_that_cannot_be_taken_says_what_helps(
    client: TestClient, settings: Settings, headers: dict[str, str], status: int, helps: str
) -> None:
    answer = store(client, multipart(part10(ct())), **headers)
    assert answer.status_code == status
    assert helps in answer.json()["remedy"]
    assert in_spool(settings) == []
    assert arriving(settings) == []
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_device_without_permission_or_shut_out_stays_outside(
    client: TestClient, database: Database, county: County, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacs_bridge.devices.REMEMBERED_SECONDS", -1)
    for change, status in (
        ({"may_store": False}, 403),
        ({"may_store": True, "address": "10.9.8.7"}, 403),
        ({"dismissed_at": now()}, 401),
    ):
        with database.writing() as session:
            device = session.get_one(Device, county.device)
            for name, value in change.items():
                setattr(device, name, value)
        answer = store(client, multipart(part10(ct())))
        assert answer.status_code == status
        assert answer.json()["remedy"]


def test_a_certificate_that_the_proxy_saw_opens_the_door_where_the_settings_say_so(
    settings: Settings, database: Database, county: County
) -> None:
    pem, _ = make_certificate("TOWNSHIP_DR", ["localhost"])
    with database.writing() as session:
        session.get_one(Device, county.device).certificate_sha256 = read_certificate(pem).sha256
    encoded = base64.b64encode(ssl.PEM_cert_to_DER_cert(pem)).decode()
    shown = [{"Client-Cert": f":{encoded}:", "Authorization": ""}, {"Client-Cert": quote(pem), "Authorization": ""}]
    stranger = {"Client-Cert": quote(make_certificate("X", ["localhost"])[0]), "Authorization": ""}
    trusting = settings.model_copy(update={"web": settings.web.model_copy(update={"client_certificate_header": "Client-Cert"})})
    app = create_app(trusting)
    client = TestClient(app)
    assert [store(client, multipart(part10(ct())), **headers).status_code for headers in shown] == [200, 200]
    assert store(client, multipart(part10(ct())), **stranger).status_code == 401
    app.state.house.database.close()
    app.state.house.archive.close()


def test_a_body_that_ends_early_keeps_what_came_whole(client: TestClient, settings: Settings) -> None:
    whole, half = part10(ct()), part10(ct())
    answer = store(client, multipart(whole, half)[: -len(half) // 2])
    assert answer.status_code == 400
    assert "again" in answer.json()["remedy"] or "boundary" in answer.json()["remedy"]
    assert [name.sha256 for name in in_spool(settings)] == [sha256(whole)]
    assert arriving(settings) == []


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"x",
        bytes(200),
        bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\xff" + bytes(100),
        bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\x08\x00\x00\x00" + b"\x08\x00\x18\x00UI\x00\x00" + b"data",
        bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\x0e\x00\x00\x00" + b"\x02\x00\x10\x00UI\x06\x00../etc" + b"data",
        bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\x0c\x00\x00\x00" + b"\x02\x00\x10\x00UI\xff\xff1.2.3",
    ],
    ids=["empty", "short", "zeros", "huge meta", "no meta", "no UID", "meta beyond its end"],
)
def test_a_part_that_is_no_instance_stops_nothing_else(client: TestClient, settings: Settings, broken: bytes) -> None:
    good = part10(ct())
    answer = store(client, multipart(broken, good))
    assert answer.status_code == 202
    assert [item.FailureReason for item in Dataset.from_json(answer.json())[0x0008119A].value] == [0xC000]
    assert [name.sha256 for name in in_spool(settings)] == [sha256(good)]
    assert store(client, multipart(broken)).status_code == 409


def test_limits_of_size_and_rate(client: TestClient, database: Database, county: County, settings: Settings) -> None:
    with database.writing() as session:
        device = session.get_one(Device, county.device)
        device.max_instances_per_minute, device.max_instance_bytes = 2, 40_000
    large = ct(PixelData=bytes(50_000), Rows=500, Columns=50)
    answer = store(client, multipart(part10(large), part10(ct()), part10(ct())), **RECEIPTS)
    failed = {one["sop_instance_uid"]: one for one in answer.json()["failed"]}
    assert answer.status_code == 202
    assert failed[large.SOPInstanceUID]["failure"] == 0xC000
    assert "--max-mib" in failed[large.SOPInstanceUID]["note"]
    (third,) = [one for uid, one in failed.items() if uid != large.SOPInstanceUID]
    assert third["failure"] == 0xA700
    assert len(in_spool(settings)) == 1
    busy = store(client, multipart(part10(ct())))
    assert (busy.status_code, int(busy.headers["retry-after"]) > 0) == (503, True)


def test_a_disk_that_is_nearly_full_is_refused_with_a_time_to_try_again(
    settings: Settings, database: Database, admitted: None
) -> None:
    full = settings.model_copy(update={"node": NodeSettings(free_bytes=1 << 60)})
    app = create_app(full)
    answer = store(TestClient(app), multipart(part10(ct())))
    assert (answer.status_code, answer.json()["failure"]) == (503, "A700")
    assert int(answer.headers["retry-after"]) > 0
    app.state.house.database.close()
    app.state.house.archive.close()


def test_one_device_cannot_take_every_turn(client: TestClient, app: FastAPI) -> None:
    assert store(client, multipart(part10(ct()))).status_code == 200
    door = app.state.stow_door
    sender = Sender(device=door.devices.all()["TOWNSHIP_DR"], address="testclient")
    turns = [door.turn(sender) for _ in range(stow_door.MOST_OF_DEVICE)]
    for turn in turns:
        turn.__enter__()
    assert store(client, multipart(part10(ct()))).status_code == 503
    assert store(client, multipart(part10(ct())), **EDGE).status_code == 200
    for turn in turns:
        turn.__exit__(None, None, None)
    assert store(client, multipart(part10(ct()))).status_code == 200


def test_a_zstd_bomb_is_refused_long_before_the_disk_is_full(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_body, "_GROWTH_LOOKED_AT_FROM", 8 << 20)
    head, _ = multipart(part10(ct())).split(f"\r\n--{BOUNDARY}--".encode())
    zeros = bytes(1 << 20)
    squeezer = zstandard.ZstdCompressor(level=19).compressobj()
    bomb = b"".join([squeezer.compress(head), *(squeezer.compress(zeros) for _ in range(200)), squeezer.flush()])
    assert len(bomb) < 100_000
    answer = store(client, bomb, **{"Content-Encoding": "zstd"})
    assert (answer.status_code, "Content-Encoding" in answer.json()["remedy"]) == (413, True)
    assert arriving(settings) == []
    wide = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    ).compress(os.urandom(64 << 20))
    assert store(client, wide, **{"Content-Encoding": "zstd"}).status_code == 400


# --- edges --------------------------------------------------------------------------------------------------------------


def forwarded(ae_title: str, association: str = "", sha: str = "") -> str:
    lines = f"Content-Type: application/dicom\r\n{words.DEVICE}: {ae_title}\r\n{words.RECEIVED}: 2026-11-24T08:00:00+08:00\r\n"
    lines += f"{words.ASSOCIATION}: {association}\r\n" if association else ""
    return lines + (f"{words.SHA256}: {sha}\r\n" if sha else "")


def test_an_edge_names_the_device_of_each_instance(client: TestClient, settings: Settings) -> None:
    body = multipart(part10(ct()), headers=forwarded("TOWNSHIP_DR"))
    assert store(client, body, **EDGE).status_code == 200
    spool = Spool(settings.spool)
    (name,) = spool.names_without_custody()
    assert SpoolName.parse(name).ae_title == "TOWNSHIP_DR"
    meta = pydicom.dcmread(spool.path(name)).file_meta
    assert b'"edge": "NEAR_EDGE"' in meta.PrivateInformation
    assert b"2026-11-24T08:00:00+08:00" in meta.PrivateInformation


@pytest.mark.parametrize("named", ["FAR_DR", "NOBODY"])
def test_a_device_of_elsewhere_cannot_be_named(client: TestClient, settings: Settings, named: str) -> None:
    answer = store(client, multipart(part10(ct()), headers=forwarded(named)), **EDGE, **RECEIPTS)
    assert named in answer.json()["kept"][0]["note"]
    assert [name.ae_title for name in in_spool(settings)] == ["NEAR_EDGE"]


def test_who_is_no_edge_names_nobody(client: TestClient, settings: Settings, database: Database, county: County) -> None:
    with database.writing() as session:
        session.add(Device(organisation_id=county.township, ae_title="NEAR_CT", name="CT", admitted_at=now()))
    assert store(client, multipart(part10(ct()), headers=forwarded("NEAR_CT"))).status_code == 200
    assert [name.ae_title for name in in_spool(settings)] == ["TOWNSHIP_DR"]
    assert client.get(words.LINE, headers=BEARER).status_code == 403


def test_what_was_damaged_on_the_way_is_not_kept(client: TestClient, settings: Settings) -> None:
    file = part10(ct())
    damaged = file[:-1] + bytes([file[-1] ^ 1])
    answer = store(client, multipart(damaged, headers=forwarded("TOWNSHIP_DR", sha=sha256(file))), **EDGE, **RECEIPTS)
    assert answer.status_code == 409
    assert "damaged" in answer.json()["failed"][0]["note"]
    assert in_spool(settings) == []
    assert arriving(settings) == []


def test_a_study_waits_for_the_edges_association(client: TestClient, settings: Settings, database: Database) -> None:
    study = generate_uid()
    with books_kept(settings, database):
        for _ in range(2):
            assert (
                store(client, multipart(part10(ct(study)), headers=forwarded("TOWNSHIP_DR", "edge-1")), **EDGE).status_code == 200
            )
    with database.reading() as session:
        association = session.scalars(select(Association)).one()
        assert association.ended_at is None
        assert {row.association_id for row in session.scalars(select(Instance))} == {association.id}
    with books_kept(settings, database):
        ended = client.post(words.ENDED, json=[{"id": "edge-1", "outcome": "released"}], headers=EDGE)
        assert ended.status_code == 204
    with database.reading() as session:
        assert session.scalars(select(Association)).one().outcome == "released"


def test_an_association_of_which_nothing_more_comes_is_ended(
    client: TestClient, app: FastAPI, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with books_kept(settings, database):
        assert store(client, multipart(part10(ct()), headers=forwarded("TOWNSHIP_DR", "edge-1")), **EDGE).status_code == 200
        app.state.stow_door.associations.end_silent()
    with database.reading() as session:
        assert session.scalars(select(Association)).one().ended_at is None
    monkeypatch.setattr(stow_door, "SILENT_SECONDS", -1)
    with books_kept(settings, database):
        app.state.stow_door.associations.end_silent()
    with database.reading() as session:
        assert session.scalars(select(Association)).one().outcome == "lost"


def piece(client: TestClient, sha: str, body: bytes, offset: int, whole: int) -> httpx.Response:
    headers = {
        **EDGE,
        words.OFFSET: str(offset),
        words.WHOLE: str(whole),
        words.DEVICE: "TOWNSHIP_DR",
        "Content-Encoding": "zstd",
    }
    squeezed = zstandard.ZstdCompressor().compress(body)
    answer: httpx.Response = client.put(f"{words.PIECES}/{sha}", content=squeezed, headers=headers)
    return answer


def test_a_large_instance_comes_in_pieces_and_goes_on_where_it_broke(client: TestClient, settings: Settings) -> None:
    file = part10(ct())
    sha, whole, half = sha256(file), len(file), len(file) // 2
    assert client.get(f"{words.PIECES}/{sha}", headers=EDGE).json() == {"held": 0}
    assert piece(client, sha, file[:half], 0, whole).json() == {"held": half}
    assert client.get(f"{words.PIECES}/{sha}", headers=EDGE).json() == {"held": half}
    assert piece(client, sha, file[:half], 0, whole).status_code == 409
    assert in_spool(settings) == []
    last = piece(client, sha, file[half:], half, whole)
    assert last.status_code == 200
    assert last.json()["kept"][0]["sha256"] == sha
    assert [(name.sha256, name.ae_title) for name in in_spool(settings)] == [(sha, "TOWNSHIP_DR")]
    assert client.get(f"{words.PIECES}/{sha}", headers=EDGE).json() == {"held": 0}


def test_pieces_that_do_not_make_the_instance_are_thrown_away(client: TestClient, settings: Settings) -> None:
    file = part10(ct())
    wrong = piece(client, "ab" * 32, file, 0, len(file))
    assert wrong.status_code == 409
    assert "damaged" in wrong.json()["failed"][0]["note"]
    assert client.get(f"{words.PIECES}/{'ab' * 32}", headers=EDGE).json() == {"held": 0}
    assert in_spool(settings) == []
    assert piece(client, "../../x", file, 0, len(file)).status_code in (400, 404)
    assert piece(client, "ab" * 32, file, 0, 1 << 62).status_code in (400, 413)
    assert client.get(f"{words.PIECES}/{'ab' * 32}", headers=BEARER).status_code == 403


# --- over a real socket -------------------------------------------------------------------------------------------------


@pytest.fixture
def served(settings: Settings, admitted: None) -> Iterator[subprocess.Popen[bytes]]:
    """The web process as it runs in a county."""
    with (settings.data / "web.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "process", "web"], env=environment(settings), stdout=log, stderr=log
        )
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", settings.web.port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (settings.data / "web.log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield process
    process.terminate()
    process.wait(30)


def address(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.web.port}/dicom-web"


def test_dicomweb_client_stores_a_study(served: subprocess.Popen[bytes], settings: Settings) -> None:
    study = generate_uid()
    datasets = [ct(study) for _ in range(3)]
    client = DICOMwebClient(address(settings), headers=BEARER)
    described = client.store_instances(datasets, study_instance_uid=study)
    assert [item.ReferencedSOPInstanceUID for item in described.ReferencedSOPSequence] == [one.SOPInstanceUID for one in datasets]
    assert len(in_spool(settings)) == 3


def peak_bytes(process: subprocess.Popen[bytes]) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) << 10


@pytest.mark.parametrize(("coding", "blocks"), [("identity", 2048), ("zstd", 512)])
def test_two_gigabytes_pass_with_flat_memory(
    served: subprocess.Popen[bytes], settings: Settings, coding: str, blocks: int
) -> None:
    head = part10(ct())
    zeros = bytes(1 << 20)
    before = peak_bytes(served)

    def plain() -> Iterator[bytes]:
        yield multipart(head).split(f"\r\n--{BOUNDARY}--".encode())[0]
        for number in range(blocks):
            yield number.to_bytes(8, "big") + os.urandom(4096) + zeros[4104:]
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    def squeezed() -> Iterator[bytes]:
        squeezer = zstandard.ZstdCompressor().compressobj()
        for block in plain():
            yield squeezer.compress(block)
        yield squeezer.flush()

    body: Callable[[], Iterator[bytes]] = squeezed if coding == "zstd" else plain
    headers = {"Content-Type": TYPE, "Content-Encoding": coding, **BEARER, **RECEIPTS}
    answer = httpx.post(f"{address(settings)}/studies", content=body(), headers=headers, timeout=170)
    assert answer.status_code == 200
    (kept,) = answer.json()["kept"]
    assert kept["size"] == len(data_set(head)) + (blocks << 20)
    grown = peak_bytes(served) - before
    assert grown < 64 << 20, f"{grown >> 20} MiB more for {blocks} MiB"
    for path in (settings.spool / "new").iterdir():
        path.unlink()


def test_a_sender_that_falls_silent_is_told_and_gives_its_turn_back(
    app: FastAPI, admitted: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stow_body, "SILENT_SECONDS", 0.3)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=settings.web.port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    with socket.create_connection(("127.0.0.1", settings.web.port), timeout=20) as line:
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {TYPE}\r\n"
        line.sendall(f"{head}Content-Length: 100000\r\n\r\n--{BOUNDARY}\r\n".encode())
        assert b" 408 " in line.recv(4096)
    assert app.state.stow_door._under_way.total() == 0
    assert httpx.post(
        f"{address(settings)}/studies", content=multipart(part10(ct())), headers={"Content-Type": TYPE, **BEARER}
    ).is_success
    server.should_exit = True
    thread.join()


def test_what_a_killed_process_left_open_ends_when_the_next_one_starts(
    client: TestClient, settings: Settings, database: Database
) -> None:
    with books_kept(settings, database):
        assert store(client, multipart(part10(ct()), headers=forwarded("TOWNSHIP_DR", "edge-1")), **EDGE).status_code == 200
    half = settings.spool / "arriving" / f"stow-{settings.web.port}" / "half"
    half.write_bytes(b"x")
    with books_kept(settings, database):
        app = create_app(settings)
        with TestClient(app):
            pass
    assert not half.exists()
    with database.reading() as session:
        assert session.scalars(select(Association)).one().outcome == "lost"


def test_a_sender_that_vanishes_leaves_nothing_half(served: subprocess.Popen[bytes], settings: Settings) -> None:
    whole, half = part10(ct()), part10(ct())
    body = multipart(whole, half)
    with socket.create_connection(("127.0.0.1", settings.web.port)) as line:
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {TYPE}\r\n"
        line.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: -len(half) // 2])
        deadline = time.monotonic() + 20
        while not in_spool(settings):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    while arriving(settings):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [name.sha256 for name in in_spool(settings)] == [sha256(whole)]
    assert (
        httpx.get(f"http://127.0.0.1:{settings.web.port}/api/health", timeout=20).status_code == 503
    )  # the archive is away, we are not
