"""What the forwarder last knew of the line, left in a small file for the edge's page."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from core.clock import now
from core.errors import SumuError

_FILE = "edge-line.json"
#: How often a state that says nothing new is written again.
_EVERY_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class LineState:
    """Whether the county answers."""

    #: None before the first try.
    up: bool | None = None
    since: datetime | None = None
    #: When the county last answered.
    answered_at: datetime | None = None
    #: Why it does not, or why it takes nothing, and what helps.
    problem: str = ""
    remedy: str = ""
    #: When this was written; an old one tells that the forwarder is not running.
    written_at: datetime | None = None
    #: Bytes of instances forwarded since the forwarder started, and what of them went over the line.
    instance_bytes: int = 0
    line_bytes: int = 0

    def answered(self) -> LineState:
        """Return the state after an answer."""
        moment = now()
        return replace(self, up=True, since=self.since if self.up else moment, answered_at=moment, problem="", remedy="")

    def failed(self, error: SumuError, *, up: bool) -> LineState:
        """Return the state after a failure; ``up`` where the county answered all the same."""
        moment = now()
        return replace(
            self, up=up, since=self.since if self.up is up else moment, problem=str(error.args[0]), remedy=error.remedy,
            answered_at=moment if up else self.answered_at,
        )  # fmt: skip


def read_line_state(data: Path) -> LineState:
    """Return what the forwarder last wrote; an empty state where it never ran."""
    try:
        said = json.loads((data / _FILE).read_text(encoding="utf-8"))
        times = {
            name: datetime.fromisoformat(said[name]) if said[name] else None for name in ("since", "answered_at", "written_at")
        }
        return LineState(**{**said, **times})
    except (OSError, ValueError, TypeError, KeyError):
        return LineState()


class LineFile:
    """Writes the state when it changes, and from time to time."""

    def __init__(self, data: Path) -> None:
        self._path, self._written = data / _FILE, LineState()

    def write(self, state: LineState) -> None:
        """Put the state down, whole or not at all."""
        moment = now()
        told = (state.up, state.since, state.problem)
        before = (self._written.up, self._written.since, self._written.problem)
        written_at = self._written.written_at
        if told == before and written_at is not None and abs((moment - written_at).total_seconds()) < _EVERY_SECONDS:
            return
        self._written = replace(state, written_at=moment)
        fields = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in vars(self._written).items()
        }
        draft = self._path.with_suffix(".draft")
        with suppress(OSError):  # a full disk must not stop what empties it
            draft.write_text(json.dumps(fields, ensure_ascii=False), encoding="utf-8")
            os.replace(draft, self._path)
