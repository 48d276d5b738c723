"""What every request needs of the house: settings, the database, the archive."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from core.database import Database
from core.settings import Settings
from pacs_bridge.archive import Archive
from pacs_bridge.credentials import archive_credentials


@dataclass(frozen=True, kw_only=True)
class House:
    """The three things that pages and APIs are made from."""

    settings: Settings
    database: Database
    archive: Archive


def open_house(settings: Settings) -> House:
    """Open the database and the archive that ``settings`` name; nothing is asked of either yet."""
    archive = Archive(
        settings.archive_address,
        archive_credentials(settings.secrets),
        timeout_seconds=settings.archive.timeout_seconds,
    )
    return House(settings=settings, database=Database(settings.database_address), archive=archive)


def house_of(request: Request) -> House:
    """Return the house that serves ``request``: a FastAPI dependency."""
    house: House = request.app.state.house
    return house
