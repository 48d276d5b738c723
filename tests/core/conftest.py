"""Both databases: SQLite, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from core.database import Database
from core.migrations import upgrade


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
