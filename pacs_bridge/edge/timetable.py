"""How much of the line an edge may take at which hour of the day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time

from core.clock import in_county
from core.errors import SumuError

_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)")


class UnusableTimetable(SumuError):
    """A row of the timetable that says no hours, or no rate."""

    def __init__(self, hours: str) -> None:
        super().__init__(
            f"The timetable's row '{hours}' is not understood.",
            remedy="Write edge.timetable as hours and kilobytes a second, 0 or more: '08:00-18:00' = 200.",
        )


@dataclass(frozen=True, kw_only=True)
class Hours:
    """A part of the day, and the most bytes a second in it."""

    begins: time
    #: The first moment after it; before ``begins`` where it passes midnight, and equal to it where it is the whole day.
    ends: time
    bytes_per_second: float

    def hold(self, clock: time) -> bool:
        """Return whether ``clock`` is in it."""
        if self.begins < self.ends:
            return self.begins <= clock < self.ends
        return clock >= self.begins or clock < self.ends


class Timetable:
    """The rows of ``edge.timetable`` on the county's wall clock."""

    def __init__(self, rows: Mapping[str, float], timezone: str) -> None:
        """Read the rows.

        Raises
        ------
        UnusableTimetable
            If one of them is none.
        """
        self._hours, self._timezone = [_hours(text, kilobytes) for text, kilobytes in rows.items()], timezone

    def at(self, moment: datetime) -> float | None:
        """Return the most bytes a second at ``moment``, the least where rows overlap; None: no limit."""
        clock = in_county(moment, self._timezone).time()
        return min((hours.bytes_per_second for hours in self._hours if hours.hold(clock)), default=None)


def _hours(text: str, kilobytes: float) -> Hours:
    found = _HOURS.fullmatch(text.strip())
    if found is None or kilobytes < 0:
        raise UnusableTimetable(text)
    hour, minute, last_hour, last_minute = map(int, found.groups())
    if last_hour == 24 and last_minute:
        raise UnusableTimetable(text)
    return Hours(begins=time(hour, minute), ends=time(last_hour % 24, last_minute), bytes_per_second=kilobytes * 1000)
