"""The way of the tables through time, and the one call that walks it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from core.database import Database


def upgrade(database: Database) -> None:
    """Bring the database's tables to the newest form; safe to call at every start."""
    with (
        database.engine.connect().execution_options(sumu_writing=True) as connection,
        _tables_may_be_rebuilt(connection),
    ):
        command.upgrade(configuration(connection), "head")
        connection.commit()


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _tables_may_be_rebuilt(connection: Connection) -> Iterator[None]:
    """Let SQLite replace a table that others refer to: it changes a column by copying the whole table.

    https://www.sqlite.org/lang_altertable.html#otheralter: foreign keys are off meanwhile, which only works between
    transactions.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    raw = connection.connection.driver_connection
    assert raw is not None
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        connection.rollback()
        raw.execute("PRAGMA foreign_keys=ON")
