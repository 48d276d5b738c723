"""A worker that runs takes up a model that is added meanwhile: from a CT in the archive, by the queue, to a pre-read that names
its model, and to a report object that is valid DICOM."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid
from sqlalchemy import select
from typer.testing import CliRunner

from api.preread_words import in_words
from cli.command import app
from cli.supervision import environment
from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.preread import END_STATES, PreReadState
from core.settings import Settings
from core.tables import Door, Instance, PreRead, Study, Urgency
from inference.dispatch import NO_ENGINE
from inference.vocabulary import terms
from models.bundle import sha256_of
from pacs_bridge.headers import facts_of, read_header
from pacs_bridge.part10 import dataset_digest
from pacs_bridge.registration import Arrival, register
from tests.conftest import County, RunningArchive
from tests.inference.conftest import settle
from tests.made_bundles import LARGE, VOLUME, bright_parts, sphere_bundle, sphere_metadata, write_bundle
from tests.made_ct import Ball, ct_series


@pytest.fixture
def home(settings: Settings, running_archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The test's own house beside the archive that all tests share; this process knows the words that its models bring."""
    (tmp_path / "secrets").symlink_to(running_archive.settings.secrets.resolve())
    monkeypatch.setattr(terms, "_brought_folder", settings.models_folder / "words")
    return settings.model_copy(update={"archive": running_archive.settings.archive})


@pytest.fixture
def worker(home: Settings, database: Database) -> Iterator[None]:
    """A worker process as the supervisor starts it."""
    log = home.data / "worker.log"
    surroundings = environment(home) | {"SUMU_PRE_READ__PARALLEL": "1"}
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "process", "worker"], env=surroundings, stdout=stream, stderr=stream
        )
    yield
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def settled(
    files: Sequence[Path], settings: Settings, database: Database, county: County, running_archive: RunningArchive
) -> int:
    """Put files into archive and custody as one settled study, and return its id."""
    with database.writing() as session:
        for path in files:
            with path.open("rb") as file:
                archive_id = running_archive.archive.store(file)
            digest = dataset_digest(path)
            arrival = Arrival(
                door=Door.ARCHIVE,
                organisation_id=county.township,
                received_at=now(),
                size=digest.size,
                sha256=digest.sha256,
                machine=settings.machine,
                archive_id=archive_id,
            )
            _, instance = register(session, facts_of(read_header(path), county_timezone="Asia/Shanghai"), arrival)
        return settle(session, instance.study_id)


def ends_of(database: Database, study_id: int, log: Path) -> dict[str, PreRead]:
    """Wait for the ends of a study's pre-reads and return them by engine."""
    deadline = time.monotonic() + 150
    while True:
        with database.reading() as session:
            rows = session.scalars(select(PreRead).where(PreRead.study_id == study_id)).all()
            _ = [(row.findings, row.measurements) for row in rows]
            if rows and all(row.state in END_STATES for row in rows):
                return {row.engine: row for row in rows}
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.2)


def test_an_added_bundle_measures_a_ct_and_says_who_it_is(
    worker: None, home: Settings, database: Database, county: County, running_archive: RunningArchive, tmp_path: Path
) -> None:
    log = home.data / "worker.log"
    before = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    before.StudyInstanceUID, before.SeriesInstanceUID = generate_uid(), generate_uid()
    before.SOPInstanceUID = before.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    before.save_as(tmp_path / "before.dcm", enforce_file_format=True)
    study_id = settled([tmp_path / "before.dcm"], home, database, county, running_archive)
    assert set(ends_of(database, study_id, log)) == {NO_ENGINE}

    source = sphere_bundle(tmp_path / "source")
    other = sphere_metadata("other_sphere")
    other["version"] = "7.2.0"
    other["sumu"]["vocabulary"] = {"engine": other["sumu"]["vocabulary"]["engine"]}
    other["sumu"]["routing"]["body_parts"] = ["HEAD"]
    for folder in (source, write_bundle(tmp_path / "source", other, bright_parts())):
        added = CliRunner().invoke(app, ["model", "add", str(folder), "--data", str(home.data)], catch_exceptions=False)
        assert added.exit_code == 0, added.output
    ball = Ball()
    study_id = settled(ct_series(tmp_path / "ct", ball=ball), home, database, county, running_archive)
    ends = ends_of(database, study_id, log)

    read = ends["made_sphere"]
    assert read.state is PreReadState.READ, read.error
    (model,) = read.models
    assert (model["name"], model["version"]) == ("made_sphere", "1.0.0")
    assert model["weights_sha256"] == sha256_of(source / "models" / "model.onnx")
    (volume,) = read.measurements
    assert (volume.code, volume.value) == (VOLUME, pytest.approx(ball.millilitres, rel=0.02))
    assert [finding.code for finding in read.findings] == [LARGE]
    # A second model of the same study was not made for it, says so, and stays silent.
    assert (ends["other_sphere"].state, ends["other_sphere"].reason) == (PreReadState.DECLINED, "bundle_other_body_part")
    with database.reading() as session:
        assert session.get_one(Study, study_id).urgency is Urgency.URGENT  # as the bundle's own word asks

    words = in_words(read, "zh")  # as the pages show it
    assert [(one.name, one.unit, one.beyond) for one in words.measurements] == [("球体体积", "mL", "high")]
    assert [one.name for one in words.findings] == ["球体增大"]

    deadline = time.monotonic() + 60
    reports: list[Instance] = []
    while not reports:
        with database.reading() as session:
            query = select(Instance).where(Instance.door == Door.OURS, Instance.state == CustodyState.COMPARED)
            reports = list(session.scalars(query))
        assert time.monotonic() < deadline, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.2)
    path = running_archive.archive.fetch(reports[0].archive_id or "", tmp_path / "report.dcm")
    assert f"weights SHA-256: {model['weights_sha256']}".encode() in path.read_bytes()
    assert pydicom.dcmread(path).SOPClassUID.name == "Comprehensive 3D SR Storage"
    judged = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert [line for line in (judged.stdout + judged.stderr).splitlines() if line.startswith("Error")] == []
