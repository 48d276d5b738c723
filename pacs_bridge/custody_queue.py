"""The custody rows as a queue: which of them wait on this machine, which are due, and how long a failed try waits.

What goes to the archive and what an edge sends to its county wait in the same way.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import ColumnElement, or_

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.settings import Settings
from core.tables import Instance


class CustodyQueue:
    """Criteria over :class:`core.tables.Instance`, and the waits between tries."""

    def __init__(self, settings: Settings) -> None:
        self._machine, self._delivery = settings.machine, settings.delivery

    def waiting(self, state: CustodyState) -> tuple[ColumnElement[bool], ...]:
        """Return the criteria of rows in ``state`` whose file lies in this machine's spool."""
        return Instance.state == state, Instance.machine == self._machine, Instance.spool_name.is_not(None)

    def due(self) -> ColumnElement[bool]:
        """Return the criterion of rows that may be tried now.

        No try is put off longer than the settings say: one that is was written by a clock that ran ahead.
        """
        longest = timedelta(seconds=self._delivery.longest_retry_seconds)
        return or_(Instance.next_try_at <= now(), Instance.next_try_at > now() + longest)

    def wait_seconds(self, tries: int) -> float:
        """Return the wait after so many failed tries: it doubles up to a limit."""
        doubled = self._delivery.first_retry_seconds * 2 ** min(max(tries, 1) - 1, 30)
        return float(min(doubled, self._delivery.longest_retry_seconds))

    def wait(self, tries: int) -> timedelta:
        """Return the same as a span of time."""
        return timedelta(seconds=self.wait_seconds(tries))
