"""The one mechanism behind every life cycle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from core.errors import ForbiddenTransition

State = TypeVar("State", bound=StrEnum)
Event = TypeVar("Event", bound=StrEnum)


@dataclass(frozen=True, kw_only=True)
class LifeCycle(Generic[State, Event]):
    """A named transition table."""

    #: What passes through this life, in words of the field.
    name: str
    #: The state in which it is born.
    start: State
    #: Every allowed step.
    table: Mapping[tuple[State, Event], State]

    def next(self, state: State, event: Event) -> State:
        """Return the state after ``event``.

        Raises
        ------
        ForbiddenTransition
            If the table has no such step; the message lists what is possible.
        """
        try:
            return self.table[state, event]
        except KeyError:
            raise ForbiddenTransition(self.name, state, event, self.events_in(state)) from None

    def allows(self, state: State, event: Event) -> bool:
        """Return whether ``event`` may happen in ``state``."""
        return (state, event) in self.table

    def events_in(self, state: State) -> list[str]:
        """Return the events that ``state`` allows, in the table's order."""
        return [str(event) for known, event in self.table if known == state]
