"""Time in the house: aware UTC inside, county time on pages."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def now() -> datetime:
    """Return the present as aware UTC."""
    return datetime.now(UTC)


def in_county(moment: datetime, timezone: str) -> datetime:
    """Return ``moment`` on the county's wall clock; naive datetimes are refused.

    Raises
    ------
    ValueError
        If ``moment`` carries no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError("A datetime without a time zone reached a page; make it aware UTC where it is born.")
    return moment.astimezone(ZoneInfo(timezone))
