"""What a device has done before: how often it declared one character set and wrote another, and what an operator has ruled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from core.errors import SumuError
from pacs_bridge.character_sets.repertoires import is_known
from pacs_bridge.character_sets.verdict import Finding, Verdict

#: A device's past moves an explanation by at most this much (log10), so that it never outweighs the bytes.
LARGEST_SHIFT = 1.5


class UnknownCharacterSet(SumuError):
    """A rule names a character set that Sumu cannot read."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name}' is no character set that Sumu can read.",
            remedy="Take GB18030, ISO_IR 192, Big5, \\ISO 2022 IR 58 or another defined term of DICOM.",
        )


@dataclass(frozen=True, kw_only=True)
class DeviceStatistics:
    """Counts of one device's verdicts; a value, the caller keeps it.

    Raises
    ------
    UnknownCharacterSet
        If the rule names a set that cannot be read.
    """

    #: (declared as written, found) to the number of instances; found is empty for undecided ones.
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    #: An operator's rule: this device's bytes are in this set whatever it declares. A term of ``repertoires.toml``.
    rule: str | None = None

    def __post_init__(self) -> None:
        if self.rule is not None and not is_known(self.rule):
            raise UnknownCharacterSet(self.rule)

    def after(self, verdict: Verdict) -> DeviceStatistics:
        """Return the statistics with one more verdict counted; plain ones tell nothing and are not counted."""
        if verdict.finding is Finding.PLAIN:
            return self
        pair = (verdict.declared, verdict.found)
        return replace(self, counts={**self.counts, pair: self.counts.get(pair, 0) + 1})

    def disagreements(self) -> dict[tuple[str, str], int]:
        """Return the pairs in which the device declared one set and wrote another."""
        return {pair: count for pair, count in self.counts.items() if pair[1] and pair[0] != pair[1]}

    def shift(self, declared: str, encoding: str) -> float:
        """Return by how much (log10) the past moves one explanation, 0 for a device that was never seen with this declaration."""
        decided = {found: count for (said, found), count in self.counts.items() if said == declared and found}
        total = sum(decided.values())
        share = (decided.get(encoding, 0) + 1) / (total + 2)
        return max(-LARGEST_SHIFT, min(LARGEST_SHIFT, math.log10(share / 0.5)))
