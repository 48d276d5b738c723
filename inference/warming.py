"""What an engine may have beside :class:`inference.engine.Engine`: a way to be ready before its first study."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Warmable(Protocol):
    """An engine whose networks are loaded and run once when its process starts, not at the first patient."""

    def warm(self) -> None:
        """Load the networks and run each once.

        Raises
        ------
        SumuError
            If a model cannot be trusted, is not there, or its runtime does not start.
        """
        ...
