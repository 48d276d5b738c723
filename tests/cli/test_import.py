"""``sumu import``: a table for the person at the keyboard, and an exit code for the script."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli.command import app
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Door, Instance
from tests.pacs_bridge.ecg import machine_files as machines


@pytest.fixture
def data(tmp_path: Path) -> Path:
    words = ["organisation", "add", "NEAR", "--level", "township", "--zh", "近苏木", "--en", "Near"]
    assert CliRunner().invoke(app, [*words, "--data", str(tmp_path / "var")]).exit_code == 0
    return tmp_path / "var"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    machines.muse(tmp_path / "stick", machines.eight_leads())
    return tmp_path / "stick"


def test_an_ecg_is_taken_and_told(data: Path, stick: Path) -> None:
    answer = CliRunner().invoke(app, ["import", str(stick), "--organisation", "NEAR", "--data", str(data)])
    assert answer.exit_code == 0, answer.output
    assert "taken        muse.xml  GE MUSE XML" in answer.output
    assert "1 taken" in answer.output
    with Database(Settings(data=data).database_address).reading() as session:
        assert session.scalars(select(Instance)).one().door is Door.IMPORT
    again = CliRunner().invoke(app, ["import", str(stick), "--organisation", "NEAR", "--data", str(data)])
    assert (again.exit_code, "1 had it" in again.output) == (0, True)


def test_a_refused_file_is_told_with_its_remedy_and_the_command_fails(data: Path, stick: Path) -> None:
    (stick / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    answer = CliRunner().invoke(app, ["import", str(stick), "--organisation", "NEAR", "--data", str(data)])
    assert answer.exit_code == 1
    assert "REFUSED      photo.jpg" in answer.output
    assert "a picture of an ECG has no samples. Export the recording" in answer.output
    assert "1 taken, 1 REFUSED" in answer.output


@pytest.mark.parametrize(
    ("source", "organisation", "says"), [("stick", "NOWHERE", "organisation add"), ("nowhere", "NEAR", "Give a folder")]
)
def test_what_cannot_be_done_says_what_to_do(
    source: str, organisation: str, says: str, data: Path, stick: Path, tmp_path: Path
) -> None:
    answer = CliRunner().invoke(app, ["import", str(tmp_path / source), "--organisation", organisation, "--data", str(data)])
    assert isinstance(answer.exception, SumuError)
    assert says in answer.exception.remedy


def test_an_empty_folder_is_no_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = CliRunner().invoke(app, ["import", str(tmp_path / "empty"), "--organisation", "NEAR", "--data", str(data)])
    assert (answer.exit_code, answer.output) == (0, "There is no file in it.\n")
