"""The commands that say who belongs to the county."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli.command import app
from core.audit import verify
from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.passwords import password_matches
from core.settings import Settings
from core.tables import AuditEvent, Device, Organisation, RefusedCaller, Role, User
from pacs_bridge.devices import DeviceRegister, PlainNotAllowed
from pacs_bridge.tls import make_certificate


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


def the_device(folder: Path) -> Device:
    with database_of(folder).reading() as session:
        return session.scalars(select(Device)).one()


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
        assert (device.organisation_id, device.address, device.name) == (township.id, "10.0.0.7", "NEAR_DR")
        assert verify(session) == 4
    assert "NEAR_DR" in sumu(county_folder, "device", "list")
    assert "近苏木" in sumu(county_folder, "organisation", "list")


def test_a_new_device_is_tls_and_the_operator_of_an_old_machine_is_told_what_to_type(county_folder: Path) -> None:
    told = sumu(county_folder, "device", "admit", "OLD_CR", "--organisation", "NEAR")
    assert "cannot call yet" in told
    register = DeviceRegister(database_of(county_folder))
    with pytest.raises(PlainNotAllowed):
        register.admit("OLD_CR", "10.0.0.7")
    remedy = next(line.split("sumu ")[1] for line in told.splitlines() if "--plain" in line)
    assert "may call without TLS" in sumu(county_folder, *remedy.split())
    assert DeviceRegister(database_of(county_folder)).admit("OLD_CR", "10.0.0.7").plain


def test_every_field_of_a_device_is_set_changed_and_printed(county_folder: Path, tmp_path: Path) -> None:
    pem, _ = make_certificate("NEAR_CT", ["localhost"])
    (tmp_path / "ct.pem").write_text(pem)
    sumu(
        county_folder, "device", "admit", "NEAR_CT", "--organisation", "NEAR", "--name", "CT", "--address", "10.0.0.9",
        "--port", "11113", "--certificate", str(tmp_path / "ct.pem"), "--may", "query", "--may", "forward",
        "--may-not", "ask_worklist", "--max-mib", "512", "--per-minute", "600", "--writes", "GBK",
        "--worklist-characters", "ISO_IR 192", "--tell-availability",
    )  # fmt: skip
    device = the_device(county_folder)
    assert device.told_of_availability
    fingerprint = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    assert (device.certificate_sha256, device.plain) == (fingerprint, False)
    assert (device.may_store, device.may_ask_worklist, device.may_query, device.may_forward) == (True, False, True, True)
    assert (device.port, device.max_instance_bytes, device.max_instances_per_minute) == (11113, 512 << 20, 600)
    assert (device.character_set_rule, device.worklist_character_set) == ("GBK", "ISO_IR 192")
    printed = sumu(county_folder, "device", "list")
    for words in (fingerprint[:16], "store query forward", "512 MiB", "600 a minute", "writes GBK", "told of complete"):
        assert words in printed, words
    sumu(
        county_folder, "device", "admit", "NEAR_CT", "--max-mib", "0", "--per-minute", "0", "--writes", "", "--address", "",
        "--may-not", "query", "--no-tell-availability",
    )  # fmt: skip
    device = the_device(county_folder)
    assert not device.told_of_availability
    assert (device.max_instance_bytes, device.max_instances_per_minute, device.character_set_rule) == (None, None, None)
    assert (device.address, device.may_query, device.may_forward, device.name) == (None, False, True, "CT")


def test_a_device_that_is_to_be_told_and_cannot_be_called_is_named(county_folder: Path) -> None:
    told = sumu(county_folder, "device", "admit", "RIS", "--organisation", "NEAR", "--tell-availability")
    assert "--address ADDRESS --port PORT" in told
    told = sumu(county_folder, "device", "admit", "RIS", "--address", "10.0.0.9", "--port", "11112")
    assert "cannot be told" not in told


def test_a_token_is_printed_once_and_kept_as_its_hash(county_folder: Path) -> None:
    sumu(county_folder, "device", "admit", "EDGE", "--organisation", "NEAR")
    first = sumu(county_folder, "device", "token", "EDGE").split()[0]
    second = sumu(county_folder, "device", "token", "EDGE").split()[0]
    assert first != second
    assert the_device(county_folder).token_hash == hashlib.sha256(second.encode()).hexdigest()
    sumu(county_folder, "device", "token", "EDGE", "--withdraw")
    assert the_device(county_folder).token_hash is None
    with database_of(county_folder).reading() as session:
        actions = [event.action for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id))]
        assert actions[-3:] == ["device_token_issued", "device_token_issued", "device_token_withdrawn"]
        assert first not in str([event.detail for event in session.scalars(select(AuditEvent))])


def test_a_certificate_is_made_with_its_key_and_opens_the_door(county_folder: Path, tmp_path: Path) -> None:
    sumu(county_folder, "device", "admit", "NEAR_CT", "--organisation", "NEAR")
    out = tmp_path / "stick"
    assert "node.pem" in sumu(county_folder, "device", "certificate", "NEAR_CT", "--out", str(out))
    assert (out / "NEAR_CT.key").stat().st_mode & 0o777 == 0o600
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(out / "NEAR_CT.pem", out / "NEAR_CT.key")
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert((out / "NEAR_CT.pem").read_text())).hexdigest()
    assert DeviceRegister(database_of(county_folder)).admit("NEAR_CT", "10.0.0.1", shown).certificate_sha256 == shown
    answer = CliRunner().invoke(app, ["device", "certificate", "NEAR_CT", "--out", str(out), "--data", str(county_folder)])
    assert isinstance(answer.exception, SumuError), "a key that is there is not written over"


def test_refused_callers_are_printed_with_what_helps(county_folder: Path) -> None:
    with database_of(county_folder).writing() as session:
        session.add(
            RefusedCaller(
                ae_title="STRANGER", address="10.9.9.9", reason="It is not admitted.", remedy="Admit it.", calls=7,
                first_at=now(), last_at=now(),
            )
        )  # fmt: skip
    printed = sumu(county_folder, "device", "refused")
    for words in ("STRANGER", "10.9.9.9", "without TLS", "7 calls", "Admit it."):
        assert words in printed


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
        (("device", "admit", "NEW", "--organisation", "NEAR", "--address", "yonder"), "", "10.1.2.3"),
        (("device", "admit", "NEW", "--organisation", "NEAR", "--port", "70000"), "", "65535"),
        (("device", "admit", "NEW", "--organisation", "NEAR", "--max-mib", "-3"), "", "above 0"),
        (("device", "admit", "NEW", "--organisation", "NEAR", "--writes", "EBCDIC"), "", "GB18030"),
        (("device", "admit", "NEW", "--organisation", "NEAR", "--certificate", __file__), "", "PEM"),
        (("device", "token", "NOBODY"), "", "device list"),
        (("device", "dismiss", "NOBODY"), "", "device list"),
        (("user", "add", "x", "--organisation", "COUNTY", "--role", "doctor"), "short\n", "at least 10"),
    ],
)
def test_what_cannot_be_done_says_what_to_do(county_folder: Path, words: tuple[str, ...], typed: str, says: str) -> None:
    answer = CliRunner().invoke(app, [*words, "--data", str(county_folder)], input=typed)
    assert isinstance(answer.exception, SumuError)
    assert says in answer.exception.remedy
    with database_of(county_folder).reading() as session:
        assert session.scalars(select(Device)).first() is None
