"""Commands that say who belongs to the county: organisations, people, devices."""

from __future__ import annotations

import getpass
import os
import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.migrations import upgrade
from core.passwords import hash_password
from core.settings import Settings
from core.tables import Device, Level, Organisation, RefusedCaller, Role, User, UserRole

ACTOR = "process:sumu"
SHORTEST_PASSWORD = 10

organisations = typer.Typer(help="Hospitals and township health centres.", no_args_is_help=True)
devices = typer.Typer(help="Machines that may push to the node.", no_args_is_help=True)
people = typer.Typer(help="Accounts.", no_args_is_help=True)

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of everything that the service keeps. Default: ./var")]


class Doing(StrEnum):
    """What a device may be allowed, as :class:`core.tables.Device` names it."""

    STORE = "store"
    ASK_WORKLIST = "ask_worklist"
    QUERY = "query"
    FORWARD = "forward"


class Unusable(SumuError):
    """Something on the command line does not fit what is there."""


def database_in(data: Path | None) -> Database:
    """Open the service's database, made and migrated where it is not there yet."""
    settings = Settings(data=data) if data is not None else Settings()
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_address)
    upgrade(database)
    return database


def has_people(database: Database) -> bool:
    """Return whether anybody has an account."""
    with database.reading() as session:
        return session.scalar(select(User.id).limit(1)) is not None


def organisation_called(session: Session, code: str) -> Organisation:
    """Return the organisation of a code."""
    found = session.scalar(select(Organisation).where(Organisation.code == code))
    if found is None:
        known = ", ".join(session.scalars(select(Organisation.code))) or "none yet"
        raise Unusable(f"There is no organisation '{code}'.", remedy=f"Known: {known}. Add one: sumu organisation add")
    return found


@organisations.command("add")
def add_organisation(
    code: str,
    level: Annotated[Level, typer.Option(help="Where it stands in the tree.")],
    zh: Annotated[str, typer.Option(help="Name in Chinese.")],
    en: Annotated[str, typer.Option(help="Name in English.")],
    parent: Annotated[str | None, typer.Option(help="Code of the organisation above it.")] = None,
    data: DataOption = None,
) -> None:
    """Add a hospital or a township health centre."""
    with database_in(data).writing() as session:
        if session.scalar(select(Organisation.id).where(Organisation.code == code)) is not None:
            raise Unusable(f"There is an organisation '{code}' already.", remedy="Choose another code.")
        above = organisation_called(session, parent).id if parent else None
        session.add(Organisation(code=code, level=level, name_zh=zh, name_en=en, parent_id=above))
        record(session, ACTOR, "organisation_added", f"organisation:{code}")
    typer.echo(f"{code} {zh} is in the tree.")


@organisations.command("list")
def list_organisations(data: DataOption = None) -> None:
    """Print the tree."""
    with database_in(data).reading() as session:
        for row in session.scalars(select(Organisation).order_by(Organisation.id)):
            typer.echo(
                f"{row.code:<18} {row.level:<9} {row.name_zh}  {row.name_en}  under {row.parent.code if row.parent else '—'}"
            )


@people.command("add")
def add_person(
    username: str,
    organisation: Annotated[str, typer.Option(help="Code of their organisation.")],
    role: Annotated[list[Role], typer.Option(help="What they do; may be given several times.")],
    name: Annotated[str, typer.Option(help="Name as pages and reports show it. Default: the user name.")] = "",
    data: DataOption = None,
) -> None:
    """Add an account. The password is asked for, or read from standard input."""
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    if len(password) < SHORTEST_PASSWORD:
        raise Unusable("The password is too short.", remedy=f"Use at least {SHORTEST_PASSWORD} characters.")
    with database_in(data).writing() as session:
        if session.scalar(select(User.id).where(User.username == username)) is not None:
            raise Unusable(f"There is an account '{username}' already.", remedy="Choose another name.")
        add_account(session, username, password, organisation_called(session, organisation), role, name or username)
    typer.echo(f"{username} may sign in.")


def add_account(session: Session, username: str, password: str, home: Organisation, roles: list[Role], name: str) -> User:
    """Write an account and its trace."""
    user = User(
        organisation_id=home.id,
        username=username,
        display_name=name,
        password_hash=hash_password(password),
        created_at=now(),
        roles=[UserRole(role=role) for role in roles],
    )
    session.add(user)
    record(session, ACTOR, "user_added", f"user:{username}", {"roles": [role.value for role in roles], "organisation": home.code})
    return user


@devices.command("admit")
def admit_device(
    ae_title: str,
    organisation: Annotated[str, typer.Option(help="Code of the organisation that it stands in; needed for a new device.")] = "",
    name: Annotated[str | None, typer.Option(help="What people call it. Default: the AE title.")] = None,
    address: Annotated[str | None, typer.Option(help="The one address that it may call from; empty: any.")] = None,
    port: Annotated[int | None, typer.Option(help="Port on which it listens itself; 0: none.")] = None,
    plain: Annotated[
        bool | None, typer.Option("--plain/--tls", help="Whether it may call without TLS. A new device is TLS.")
    ] = None,
    certificate: Annotated[Path | None, typer.Option(help="PEM file with the certificate that it shows.")] = None,
    may: Annotated[list[Doing] | None, typer.Option(help="What it may do; may be given several times.")] = None,
    may_not: Annotated[list[Doing] | None, typer.Option(help="What it may not do; may be given several times.")] = None,
    told: Annotated[
        bool | None,
        typer.Option("--tell-availability/--no-tell-availability", help="Whether it is told when a study is complete."),
    ] = None,
    max_mib: Annotated[int | None, typer.Option(help="Largest instance in MiB; 0: any size.")] = None,
    per_minute: Annotated[int | None, typer.Option(help="Instances in one minute; 0: any number.")] = None,
    writes: Annotated[
        str | None,
        typer.Option(help="Character set of its text, whatever it declares; empty: decide by the bytes."),
    ] = None,
    worklist_characters: Annotated[str | None, typer.Option(help="Character set in which it can show its worklist.")] = None,
    data: DataOption = None,
) -> None:
    """Admit a device, or change what is known of one; the node knows it within two seconds."""
    from api import device_admission

    fields: dict[str, Any] = {
        "name": name,
        "address": address,
        "port": port,
        "plain": plain,
        "told_of_availability": told,
        "certificate": _read(certificate) if certificate is not None else None,
        "max_instance_bytes": None if max_mib is None else max_mib << 20,
        "max_instances_per_minute": per_minute,
        "character_set_rule": writes,
        "worklist_character_set": worklist_characters,
        **{f"may_{doing.value}": True for doing in may or []},
        **{f"may_{doing.value}": False for doing in may_not or []},
    }
    said = {field: value for field, value in fields.items() if value is not None}
    for field in ("port", "max_instance_bytes", "max_instances_per_minute"):
        if said.get(field) == 0:
            said[field] = None
    with database_in(data).writing() as session:
        device = device_admission.device_called(session, ae_title)
        if device is None:
            if not organisation:
                raise Unusable(f"'{ae_title}' is a new device.", remedy="Say where it stands: --organisation CODE")
            home = organisation_called(session, organisation)
            device = device_admission.admit(session, ae_title, home.id, actor=ACTOR, **said)
        else:
            if organisation:
                said["organisation_id"] = organisation_called(session, organisation).id
            device_admission.let_in_again(session, device, actor=ACTOR)
            device_admission.change(session, device, actor=ACTOR, **said)
        said_of_it = [_how_it_calls(device), *_what_it_lacks_to_be_told(device)]
    typer.echo("\n".join(said_of_it))


@devices.command("token")
def give_token(
    ae_title: str,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take the token away instead.")] = False,
    data: DataOption = None,
) -> None:
    """Give a device a new token for the HTTPS doors, printed once; the one before it ends."""
    from api import device_admission

    with database_in(data).writing() as session:
        device = _known_device(session, ae_title)
        if withdraw:
            device_admission.withdraw_token(session, device, actor=ACTOR)
            token = ""
        else:
            token = device_admission.issue_token(session, device, actor=ACTOR)
    typer.echo(token or f"{ae_title} has no token now.")
    if token:
        typer.echo("Nobody can read it again. The device shows it as 'Authorization: Bearer …', or as its passcode.", err=True)


@devices.command("certificate")
def make_device_certificate(
    ae_title: str,
    out: Annotated[Path, typer.Option(help="Folder for the certificate and its key.")],
    data: DataOption = None,
) -> None:
    """Make a certificate and a key for a device and register the certificate; the key is kept nowhere else."""
    from api import device_admission
    from pacs_bridge.tls import node_certificate

    settings = Settings(data=data) if data is not None else Settings()
    key_file, certificate_file = out / f"{ae_title}.key", out / f"{ae_title}.pem"
    if key_file.exists():
        raise Unusable(f"{key_file} is there already.", remedy="Move it away, or give another folder.")
    with database_in(data).writing() as session:
        pem, key = device_admission.make_key(session, _known_device(session, ae_title), actor=ACTOR)
        out.mkdir(parents=True, exist_ok=True)
        with open(os.open(key_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
            file.write(key)
        certificate_file.write_text(pem, encoding="ascii")
    typer.echo(f"{key_file} and {certificate_file} go into the device; {ae_title} may call with them.")
    typer.echo(f"It must know the node's certificate too: {node_certificate(settings)[0]}")


@devices.command("refused")
def list_refused(data: DataOption = None) -> None:
    """Print the callers who were turned away, the latest first, and what helps."""
    with database_in(data).reading() as session:
        for row in session.scalars(select(RefusedCaller).order_by(RefusedCaller.last_at.desc())):
            how = "TLS" if row.certificate_sha256 else "without TLS"
            typer.echo(
                f"{row.ae_title:<16} {row.address:<15} {how:<11} {row.calls:>5} calls, last {row.last_at:%Y-%m-%d %H:%M} UTC"
            )
            typer.echo(f"    {row.reason} {row.remedy}")


@devices.command("dismiss")
def dismiss_device(ae_title: str, data: DataOption = None) -> None:
    """Refuse a device from now on; what it sent stays."""
    from api import device_admission

    with database_in(data).writing() as session:
        device_admission.dismiss(session, _known_device(session, ae_title), actor=ACTOR)
    typer.echo(f"{ae_title} is refused from now on.")


@devices.command("list")
def list_devices(data: DataOption = None) -> None:
    """Print the devices: how each calls, what it may do, its limits, and the rule for its text."""
    with database_in(data).reading() as session:
        for row in session.scalars(select(Device).order_by(Device.ae_title)):
            state = "dismissed" if row.dismissed_at else "admitted"
            may = " ".join(doing.value for doing in Doing if getattr(row, f"may_{doing.value}")) or "nothing"
            limits = [f"{row.max_instance_bytes >> 20} MiB"] if row.max_instance_bytes else []
            limits += [f"{row.max_instances_per_minute} a minute"] if row.max_instances_per_minute else []
            typer.echo(f"{row.ae_title:<16} {state:<9} {row.organisation.code:<18} {row.address or 'any address':<15} {row.name}")
            typer.echo(
                f"    {_transport(row)}; may {may}; at most {', '.join(limits) or 'anything'}; worklist in "
                f"{row.worklist_character_set}; {'writes ' + row.character_set_rule if row.character_set_rule else 'no rule'}"
                f"{'; has a token' if row.token_hash else ''}{'; told of complete studies' if row.told_of_availability else ''}"
            )


def _transport(device: Device) -> str:
    if device.certificate_sha256:
        return f"TLS ({device.certificate_sha256[:16]}…){' or plain' if device.plain else ''}"
    return "plain" if device.plain else "TLS, waits for its certificate"


def _how_it_calls(device: Device) -> str:
    """Return one sentence for the person who has just admitted a device, and what is still missing."""
    ae = device.ae_title
    if device.plain:
        return f"{ae} may call without TLS."
    if device.certificate_sha256:
        return f"{ae} may call with TLS and its certificate {device.certificate_sha256[:16]}…; without TLS it is refused."
    return (
        f"{ae} is admitted for TLS and cannot call yet: it has no certificate.\n"
        f"  A machine that can do TLS:       sumu device certificate {ae} --out FOLDER\n"
        f"  An old machine that cannot:      sumu device admit {ae} --plain"
    )


def _what_it_lacks_to_be_told(device: Device) -> list[str]:
    if not device.told_of_availability or (device.address and device.port):
        return []
    return [f"It cannot be told of studies yet: sumu device admit {device.ae_title} --address ADDRESS --port PORT"]


def _known_device(session: Session, ae_title: str) -> Device:
    from api import device_admission

    device = device_admission.device_called(session, ae_title)
    if device is None:
        raise Unusable(f"There is no device '{ae_title}'.", remedy="See: sumu device list")
    return device


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise Unusable(f"{file} cannot be read: {error}.", remedy="Give a PEM file with the device's certificate.") from error


def new_password() -> str:
    """Return a password that a person can type from a screen."""
    return "-".join(secrets.token_hex(2) for _ in range(3))
