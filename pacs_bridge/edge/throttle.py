"""Keeps what goes over the line below a rate that may change while it goes."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Between two looks at the rate while waiting.
_LOOK_SECONDS = 0.5
LARGEST_GRAIN, _SMALLEST_GRAIN = 1 << 18, 1 << 10
#: A shorter wait would be lost in the clock's own steps.
_SHORTEST_SECONDS = 0.001


class Throttle:
    """A bucket without depth: each piece waits until those before it have had their time."""

    def __init__(
        self,
        rate: Callable[[], float | None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Begin with an idle line.

        Parameters
        ----------
        rate
            Bytes a second now; None: no limit.
        """
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self._owed, self._settled_at = 0.0, clock()

    def grain(self) -> int:
        """Return how many bytes may go at once, so that a slow line is never silent for long."""
        rate = self._rate()
        return LARGEST_GRAIN if rate is None else max(_SMALLEST_GRAIN, min(LARGEST_GRAIN, int(rate)))

    def take(self, size: int) -> None:
        """Wait until ``size`` bytes may go."""
        while (rate := self._settle()) is not None and self._owed > 0:
            self._sleep(min(max(self._owed / rate, _SHORTEST_SECONDS) if rate else _LOOK_SECONDS, _LOOK_SECONDS))
        if rate is not None:
            self._owed += size

    def _settle(self) -> float | None:
        """Take off what the time since the last look has paid for, at the present rate."""
        rate, moment = self._rate(), self._clock()
        passed, self._settled_at = moment - self._settled_at, moment
        self._owed = 0.0 if rate is None else max(0.0, self._owed - passed * rate)
        return rate
