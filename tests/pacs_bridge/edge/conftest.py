"""A county with its STOW-RS door open, a township with instances in its spool, and the line between them."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
import uvicorn
from fastapi import FastAPI
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select

from api.app import create_app
from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.migrations import upgrade
from core.passwords import token_hash
from core.settings import EdgeSettings, Settings
from core.tables import Device, Instance
from pacs_bridge.edge.county import County
from pacs_bridge.edge.forwarding import Forwarder
from pacs_bridge.part10 import dataset_digest, file_head
from pacs_bridge.registrar import Registrar
from pacs_bridge.spool import Spool, SpoolName
from tests.conftest import make_county, settings_in
from tests.pacs_bridge.edge.line import Line

TOKEN = "the-edges-token"


@dataclass(kw_only=True)
class CountySite:
    """The county's end."""

    settings: Settings
    database: Database
    app: FastAPI

    def spooled(self) -> list[SpoolName]:
        """Return what lies in its spool, in the order of its coming."""
        spool = Spool(self.settings.spool)
        names = sorted([*spool.names_without_custody(), *(path.name for path in spool.held.iterdir())])
        for name in names:
            assert dataset_digest(spool.path(name)).sha256 == SpoolName.parse(name).sha256
        return [SpoolName.parse(name) for name in names]

    def keep_books(self) -> None:
        """Give everything its row."""
        registrar = Registrar(self.settings, self.database)
        registrar.round()
        registrar.close()

    def instances(self) -> list[Instance]:
        """Return its custody rows."""
        self.keep_books()
        with self.database.reading() as session:
            return list(session.scalars(select(Instance).order_by(Instance.received_at)))


@dataclass(kw_only=True)
class Township:
    """The edge's end."""

    settings: Settings
    database: Database
    folder: Path
    made: int = field(default=0)

    def take(self, *, study: str | None = None, padding: int = 0, urgent: bool = False, association: str = "association") -> str:
        """Have a device send an instance; return the SHA-256 of its data set."""
        return self.take_file(self.make(study=study, padding=padding, urgent=urgent), association)

    def make(self, *, study: str | None = None, padding: int = 0, urgent: bool = False) -> Path:
        """Write an instance into a file."""
        self.made += 1
        dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = study or generate_uid(), generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.InstanceNumber = self.made
        if urgent:
            dataset.RequestedProcedurePriority = "STAT"
        if padding:
            dataset.add_new(0x00431029, "OB", os.urandom(padding))
        file = self.folder / "instance.dcm"
        dataset.save_as(file, enforce_file_format=True)
        return file

    def take_file(self, file: Path, association: str = "association", named: str | None = None) -> str:
        """Have a device send a file, under the UID of its data set or another; return the SHA-256 of its data set."""
        content, digest = file.read_bytes(), dataset_digest(file)
        spool, head = Spool(self.settings.spool, receiver="node-1"), content[: len(content) - digest.size]
        if named is not None:
            head = file_head("1.2.840.10008.5.1.4.1.1.2", named, "1.2.840.10008.1.2.1", "TOWNSHIP_DR")
        arriving = spool.begin(head)
        arriving.write(content[len(content) - digest.size :])
        spool.keep(arriving, association_id=association, ae_title="TOWNSHIP_DR")
        arriving.close(drop=False)
        return digest.sha256

    def keep_books(self) -> None:
        """Give everything its row."""
        registrar = Registrar(self.settings, self.database)
        while registrar.round():
            pass
        registrar.close()

    def rows(self) -> list[Instance]:
        """Return its custody rows in the order of receipt."""
        with self.database.reading() as session:
            return list(session.scalars(select(Instance).order_by(Instance.received_at)))

    def waiting(self) -> int:
        """Return how many instances have not been compared."""
        return sum(row.state is CustodyState.RECEIVED for row in self.rows())

    def spooled(self) -> int:
        """Return how many files its spool holds."""
        return len(list((self.settings.spool / "held").iterdir())) + len(list((self.settings.spool / "new").iterdir()))

    def forwarder(self, **more: object) -> Forwarder:
        """Return a forwarder with settings of its own."""
        settings = self.settings.model_copy(update={"edge": self.settings.edge.model_copy(update=more)})
        return Forwarder(settings, self.database, County(settings))


@pytest.fixture
def county_site(tmp_path: Path) -> Iterator[CountySite]:
    """A county that knows the township's edge and its device."""
    settings = settings_in(tmp_path / "county")
    settings.data.mkdir()
    database = Database(settings.database_address)
    upgrade(database)
    county = make_county(database)
    with database.writing() as session:
        session.add(
            Device(
                organisation_id=county.township, ae_title="NEAR_EDGE", name="edge", admitted_at=now(), may_forward=True,
                may_store=False, token_hash=token_hash(TOKEN),
            )
        )  # fmt: skip
    app = create_app(settings)
    with serving(app, settings.web.port):
        yield CountySite(settings=settings, database=database, app=app)
    database.close()


@contextmanager
def serving(app: FastAPI, port: int, **tls: Any) -> Iterator[None]:
    """Serve an application on loopback while the block lasts."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning", **tls))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join()


@pytest.fixture
def line(county_site: CountySite) -> Iterator[Line]:
    """The line to the county."""
    line = Line(county_site.settings.web.port)
    yield line
    line.close()


@pytest.fixture
def township(tmp_path: Path, line: Line) -> Iterator[Township]:
    """An edge whose device is admitted, with the county's token."""
    settings = settings_in(tmp_path / "township")
    (settings.data / "secrets").mkdir(parents=True)
    (settings.data / "secrets" / "edge.token").write_text(TOKEN + "\n")
    edge = EdgeSettings(county_url=f"http://127.0.0.1:{line.port}", line_seconds=0.2, stalled_seconds=10)
    delivery = settings.delivery.model_copy(update={"first_retry_seconds": 0.05, "longest_retry_seconds": 0.2})
    settings = settings.model_copy(update={"edge": edge, "delivery": delivery})
    database = Database(settings.database_address)
    upgrade(database)
    make_county(database)
    yield Township(settings=settings, database=database, folder=tmp_path)
    database.close()


def drive(forwarder: Forwarder, done: Callable[[], bool], seconds: float = 30) -> None:
    """Let a forwarder work until something is true."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"not done in time; the line: {forwarder.state}"
        if not forwarder.round():
            time.sleep(0.01)
