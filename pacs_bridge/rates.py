"""How many instances a device may send in a minute, counted where they arrive."""

from __future__ import annotations

import threading
import time
from collections import deque

from core.errors import SumuError
from pacs_bridge.devices import AdmittedDevice


class TooMany(SumuError):
    """A device sends faster than it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The device has sent its {limit} instances of this minute.",
            remedy="It sends the others later; if it needs more: sumu device admit AE --per-minute",
        )


class Rates:
    """The last minute of each device. Threads may share it."""

    def __init__(self) -> None:
        self._recent: dict[int, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, device: AdmittedDevice) -> None:
        """Count one instance, or raise :class:`TooMany`."""
        if device.max_instances_per_minute is None:
            return
        moment = time.monotonic()
        with self._lock:
            recent = self._recent.setdefault(device.id, deque())
            while recent and recent[0] < moment - 60:
                recent.popleft()
            if len(recent) >= device.max_instances_per_minute:
                raise TooMany(device.max_instances_per_minute)
            recent.append(moment)
