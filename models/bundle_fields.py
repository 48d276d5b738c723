"""Reads the declared fields of a bundle one by one, and says of each fault which field it is and what belongs there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

from core.errors import SumuError

T = TypeVar("T")
_REQUIRED: Any = object()


class BundleRefused(SumuError):
    """A bundle was not added, or a county's rule for it does not hold."""

    def __init__(self, bundle: str, problem: str, *, remedy: str) -> None:
        super().__init__(f"The model bundle '{bundle}' is refused: {problem}.", remedy=remedy)
        self.bundle, self.problem = bundle, problem


class Fields:
    """The fields of one object, each taken once; what is left over at the end is refused as unknown.

    ``place`` is how a person finds it: ``sumu.routing in configs/metadata.json``.
    """

    def __init__(self, bundle: str, place: str, values: object) -> None:
        self.bundle, self.place = bundle, place
        if not isinstance(values, Mapping):
            self.refuse("is not an object with named fields", "Write it as docs/models.md shows.")
        self._left = dict(values)
        self._known: list[str] = []

    def refuse(self, problem: str, remedy: str) -> NoReturn:
        """Refuse the bundle because of this object."""
        raise BundleRefused(self.bundle, f"{self.place} {problem}", remedy=remedy)

    def text(self, name: str, default: Any = _REQUIRED, *, among: tuple[str, ...] = ()) -> str:
        """Take a text, one of ``among`` where that is given."""
        value = self._take(name, default)
        if not isinstance(value, str) or (among and value not in among):
            self._wrong(name, value, f"one of {', '.join(among)}" if among else "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """Take a text that may be left out."""
        value = self._take(name, None)
        return value if value is None or isinstance(value, str) else self._wrong(name, value, "a text")

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        """Take a finite number."""
        value = self._take(name, default)
        return float(value) if _is_number(value) else self._wrong(name, value, "a number")

    def optional_number(self, name: str) -> float | None:
        """Take a finite number that may be left out."""
        value = self._take(name, None)
        return None if value is None else float(value) if _is_number(value) else self._wrong(name, value, "a number")

    def numbers(self, name: str, count: int, default: Any = _REQUIRED, *, positive: bool = False) -> tuple[float, ...]:
        """Take a list of ``count`` numbers."""
        value = self._take(name, default)
        fits = isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))
        if not fits or (positive and min(value) <= 0):
            self._wrong(name, value, f"a list of {count} numbers{' above 0' if positive else ''}")
        return tuple(float(one) for one in value)

    def whole(self, name: str, default: Any = _REQUIRED, *, least: int = 0) -> int:
        """Take a whole number."""
        value = self._take(name, default)
        if not _is_number(value) or value != int(value) or value < least:
            self._wrong(name, value, f"a whole number, {least} or more")
        return int(value)

    def flag(self, name: str, default: Any = _REQUIRED) -> bool:
        """Take true or false."""
        value = self._take(name, default)
        return value if isinstance(value, bool) else self._wrong(name, value, "true or false")

    def texts(self, name: str, default: Any = _REQUIRED) -> tuple[str, ...]:
        """Take a list of texts."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one.strip() for one in value):
            self._wrong(name, value, "a list of texts")
        return tuple(one.strip() for one in value)

    def items(self, name: str, default: Any = _REQUIRED) -> tuple[Any, ...]:
        """Take a list of objects."""
        value = self._take(name, default)
        return tuple(value) if isinstance(value, list | tuple) else self._wrong(name, value, "a list")

    def given(self, name: str) -> bool:
        """Return whether a field is there and not yet taken."""
        return self._left.get(name) is not None

    def end(self) -> None:
        """Refuse what nobody asked for: a misspelt field must not be passed over."""
        if self._left:
            self.refuse(
                f"has fields that Sumu does not know: {', '.join(map(str, self._left))}",
                f"Known here: {', '.join(sorted(self._known))}. Remove or rename the others.",
            )

    def _take(self, name: str, default: Any) -> Any:
        self._known.append(name)
        value = self._left.pop(name, None)
        if value is None:
            if default is _REQUIRED:
                self.refuse(f"lacks '{name}'", "Add it; docs/models.md says what it holds.")
            return default
        return value

    def _wrong(self, name: str, value: object, wanted: str) -> NoReturn:
        self.refuse(f"has '{name}' = {value!r}", f"Write {wanted} there.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
