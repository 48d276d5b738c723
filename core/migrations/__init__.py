"""The way of the tables through time, and the one call that walks it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from core.database import Database


def upgrade(database: Database) -> None:
    """Bring the database's tables to the newest form; safe to call at every start."""
    with database.engine.connect().execution_options(sumu_writing=True) as connection:
        command.upgrade(configuration(connection), "head")
        connection.commit()


def configuration(connection: Connection) -> Config:
    """Return Alembic's configuration on an open connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
