"""Commands that say who belongs to the county: organisations, people, devices."""

from __future__ import annotations

import getpass
import secrets
import sys
from pathlib import Path
from typing import Annotated

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
from core.tables import Device, Level, Organisation, Role, User, UserRole

ACTOR = "process:sumu"
SHORTEST_PASSWORD = 10

organisations = typer.Typer(help="Hospitals and township health centres.", no_args_is_help=True)
devices = typer.Typer(help="Machines that may push to the node.", no_args_is_help=True)
people = typer.Typer(help="Accounts.", no_args_is_help=True)

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of everything that the service keeps. Default: ./var")]


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
    name: Annotated[str, typer.Option(help="What people call it. Default: the AE title.")] = "",
    address: Annotated[str, typer.Option(help="The one address that it may call from. Default: any.")] = "",
    data: DataOption = None,
) -> None:
    """Admit a device, or change what is known of one; the node knows it within two seconds."""
    if not 1 <= len(ae_title) <= 16:
        raise Unusable(f"'{ae_title}' is no AE title.", remedy="Use 1 to 16 characters (PS3.5 6.2, VR AE).")
    with database_in(data).writing() as session:
        device = session.scalar(select(Device).where(Device.ae_title == ae_title))
        if device is None:
            if not organisation:
                raise Unusable(f"'{ae_title}' is a new device.", remedy="Say where it stands: --organisation CODE")
            home = organisation_called(session, organisation)
            device = Device(ae_title=ae_title, organisation_id=home.id, name=name or ae_title, admitted_at=now())
            session.add(device)
        elif organisation:
            device.organisation_id = organisation_called(session, organisation).id
        device.name = name or device.name
        device.address = address or device.address
        device.dismissed_at = None
        record(session, ACTOR, "device_admitted", f"device:{ae_title}", {"address": device.address})
    typer.echo(f"{ae_title} may push.")


@devices.command("dismiss")
def dismiss_device(ae_title: str, data: DataOption = None) -> None:
    """Refuse a device from now on; what it sent stays."""
    with database_in(data).writing() as session:
        device = session.scalar(select(Device).where(Device.ae_title == ae_title))
        if device is None:
            raise Unusable(f"There is no device '{ae_title}'.", remedy="See: sumu device list")
        device.dismissed_at = now()
        record(session, ACTOR, "device_dismissed", f"device:{ae_title}")
    typer.echo(f"{ae_title} is refused from now on.")


@devices.command("list")
def list_devices(data: DataOption = None) -> None:
    """Print the devices."""
    with database_in(data).reading() as session:
        for row in session.scalars(select(Device).order_by(Device.ae_title)):
            state = "dismissed" if row.dismissed_at else "admitted"
            typer.echo(f"{row.ae_title:<16} {state:<9} {row.organisation.code:<18} {row.address or 'any address':<15} {row.name}")


def new_password() -> str:
    """Return a password that a person can type from a screen."""
    return "-".join(secrets.token_hex(2) for _ in range(3))
