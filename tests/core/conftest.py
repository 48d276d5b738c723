"""Both databases: SQLite, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from core.database import Database
from core.migrations import upgrade
from tests.conftest import free_port


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Start PostgreSQL on loopback in a folder of its own and return its address."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.fail("PostgreSQL is not installed; ./sumu test installs it.")
    # Not under pytest's own folder: its parents are closed to the server's user.
    folder, port = Path(tempfile.mkdtemp(prefix="sumu-postgresql-")), free_port()
    as_postgres: list[str] = []
    if os.geteuid() == 0:  # the server refuses to run as root
        owner = pwd.getpwnam("postgres")
        shutil.chown(folder, owner.pw_uid, owner.pw_gid)
        as_postgres = ["runuser", "-u", "postgres", "--"]
    run = [*as_postgres, str(programs[-1] / "pg_ctl"), "-D", str(folder / "data")]
    subprocess.run([*run, "initdb", "-o", "--auth=trust --username=sumu --encoding=UTF8"], check=True, capture_output=True)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    subprocess.run([*run, "-w", "-l", str(folder / "log"), "-o", options, "start"], check=True, stdout=subprocess.DEVNULL)
    try:
        yield f"postgresql+psycopg://sumu@127.0.0.1:{port}"
    finally:
        subprocess.run([*run, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'sumu.db'}"
    else:
        server = request.getfixturevalue("postgresql")
        name = f"test_{tmp_path.name.lower().replace('-', '_').replace('[', '_').replace(']', '_')}"[-60:]
        administration = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
        with administration.connect() as connection:
            connection.execute(text(f'CREATE DATABASE "{name}"'))
        administration.dispose()
        address = f"{server}/{name}"
    database = Database(address)
    upgrade(database)
    yield database
    database.close()
