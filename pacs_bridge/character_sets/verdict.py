"""What the detective says of one instance: what is declared, what the bytes are, how sure, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Where an element stands: tag, then item number and tag for every sequence that it lies in, outermost first.
ElementPath = tuple[int, ...]

#: Only a finding at least this sure is repaired.
REPAIR_CONFIDENCE = 0.99


class Finding(StrEnum):
    """The outcome of comparing the declaration with the bytes."""

    #: Every text is ASCII: any declaration that Sumu knows reads it alike.
    PLAIN = "plain"
    #: The bytes are what is declared.
    AGREES = "agrees"
    #: The bytes are something else, and we are sure of what.
    DISAGREES = "disagrees"
    #: We do not know; nothing may be changed.
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedValue:
    """One text value that is not ASCII, read."""

    path: ElementPath
    vr: str
    #: The value as it stands in the file, with its padding.
    raw: bytes
    #: The value as text, padding removed; several values are separated by a backslash.
    text: str
    #: The character set in which it was read.
    encoding: str
    #: The device cut the value inside a character; that character is lost.
    truncated: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A character set that the bytes may be in."""

    encoding: str
    #: 0 to 1.
    confidence: float
    #: The first texts as they would read.
    sample: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What is known of the character set of one instance."""

    finding: Finding
    #: Specific Character Set of the data set as written, empty where none is.
    declared: str
    #: The character set of the bytes; empty when undecided. Where values differ, the one of most values: see ``values``.
    found: str
    #: 0 to 1: the share of all explanations that ``found`` has, among them "none of these".
    confidence: float
    #: Every value that is not ASCII; empty when undecided.
    values: tuple[DecodedValue, ...]
    #: In one sentence, why the declaration does not hold; empty when it does.
    reason: str
    #: What spoke for the finding, for the person who looks.
    evidence: tuple[str, ...]
    #: The best explanations, the best first.
    candidates: tuple[Candidate, ...]

    @property
    def may_be_repaired(self) -> bool:
        """Whether the finding is a disagreement and sure enough to write it down."""
        return self.finding is Finding.DISAGREES and self.confidence >= REPAIR_CONFIDENCE
