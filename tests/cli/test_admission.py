"""The commands that say who belongs to the county."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli.command import app
from core.audit import verify
from core.database import Database
from core.errors import SumuError
from core.passwords import password_matches
from core.settings import Settings
from core.tables import Device, Organisation, Role, User


def sumu(folder: Path, *words: str, typed: str = "") -> str:
    answer = CliRunner().invoke(app, [*words, "--data", str(folder)], input=typed, catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture
def county_folder(tmp_path: Path) -> Path:
    sumu(tmp_path, "organisation", "add", "COUNTY", "--level", "county", "--zh", "县医院", "--en", "County Hospital")
    sumu(tmp_path, "organisation", "add", "NEAR", "--level", "township", "--zh", "近苏木", "--en", "Near", "--parent", "COUNTY")
    return tmp_path


def database_of(folder: Path) -> Database:
    return Database(Settings(data=folder).database_address)


def test_a_county_is_made_from_the_command_line(county_folder: Path) -> None:
    sumu(county_folder, "user", "add", "doctor", "--organisation", "COUNTY", "--role", "doctor", typed="a long password\n")
    sumu(county_folder, "device", "admit", "NEAR_DR", "--organisation", "NEAR", "--address", "10.0.0.7")
    with database_of(county_folder).reading() as session:
        township = session.scalars(select(Organisation).where(Organisation.code == "NEAR")).one()
        assert township.parent is not None
        assert township.parent.code == "COUNTY"
        doctor = session.scalars(select(User)).one()
        assert [held.role for held in doctor.roles] == [Role.DOCTOR]
        assert password_matches(doctor.password_hash, "a long password")
        device = session.scalars(select(Device)).one()
        assert (device.organisation_id, device.address) == (township.id, "10.0.0.7")
        assert verify(session) == 4
    assert "NEAR_DR" in sumu(county_folder, "device", "list")
    assert "近苏木" in sumu(county_folder, "organisation", "list")


def test_a_dismissed_device_may_be_admitted_again(county_folder: Path) -> None:
    sumu(county_folder, "device", "admit", "NEAR_DR", "--organisation", "NEAR")
    sumu(county_folder, "device", "dismiss", "NEAR_DR")
    assert "dismissed" in sumu(county_folder, "device", "list")
    sumu(county_folder, "device", "admit", "NEAR_DR")
    assert "admitted" in sumu(county_folder, "device", "list")


@pytest.mark.parametrize(
    ("words", "typed", "says"),
    [
        (("device", "admit", "NEW"), "", "--organisation"),
        (("device", "admit", "A" * 17, "--organisation", "NEAR"), "", "1 to 16"),
        (("device", "admit", "NEW", "--organisation", "NOWHERE"), "", "COUNTY, NEAR"),
        (("user", "add", "x", "--organisation", "COUNTY", "--role", "doctor"), "short\n", "at least 10"),
        (("device", "dismiss", "NOBODY"), "", "device list"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(county_folder: Path, words: tuple[str, ...], typed: str, says: str) -> None:
    answer = CliRunner().invoke(app, [*words, "--data", str(county_folder)], input=typed)
    assert isinstance(answer.exception, SumuError)
    assert says in answer.exception.remedy
