"""Life cycles as tables: (state, event) -> state. Nothing else in the house changes a state."""

from core.lifecycles.life_cycle import LifeCycle

__all__ = ["LifeCycle"]
