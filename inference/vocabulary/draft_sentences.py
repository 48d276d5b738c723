"""Reads the sentences that a draft says of measurements, and refuses a list that is incomplete."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from inference.vocabulary.terms import BadVocabulary

FOLDER = Path(__file__).parent / "drafts"


@dataclass(frozen=True, kw_only=True)
class Words:
    """The same in both languages."""

    zh: str
    en: str

    def of(self, language: str) -> str:
        """Return the words in ``language``."""
        return self.zh if language == "zh" else self.en


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence and when it is said: all conditions that are given must hold."""

    #: Of sentences about one thing the first that holds is said.
    about: str
    words: Words
    #: Also in the impression; empty for most.
    impression: Words
    #: In the impression when nothing was found; empty for most.
    calm: Words
    #: Code of the number that the sentence tells as ``{value}``, and its limits.
    measure: str | None = None
    below: float | None = None
    at_least: float | None = None
    above: float | None = None
    #: Projections of the image that was measured; none: any.
    projections: Sequence[str] = ()
    #: A caution that the image bears.
    caution: str | None = None
    #: A finding that the networks spoke of.
    with_finding: str | None = None
    #: Findings whose own sentence this one takes the place of.
    instead_of: Sequence[str] = ()

    def suits(self, value: float) -> bool:
        """Return whether a number lies within the sentence's limits."""
        return (
            (self.below is None or value < self.below)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
        )


@dataclass(frozen=True, kw_only=True)
class DraftSentences:
    """Everything that a draft says of one kind of image."""

    sentences: Sequence[Sentence]
    #: Impression of a finding, with ``{name}``; by code where a finding has its own.
    impression: Words
    impressions: Mapping[str, Words]
    #: Impression when nothing was found, with ``{said}``.
    calm: Words


@cache
def draft_sentences(engine: str, folder: Path = FOLDER) -> DraftSentences | None:
    """Return the sentences of an engine's drafts, or None where it has none.

    Raises
    ------
    BadVocabulary
        If a sentence lacks a language or has a field that is not known.
    """
    file = folder / f"{engine}.toml"
    if not file.is_file():
        return None
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    impression = tables.get("impression", {})
    return DraftSentences(
        sentences=[_sentence(file, fields) for fields in tables.get("sentence", ())],
        impression=_words(file, "impression", impression),
        impressions={code: _words(file, code, words) for code, words in impression.items() if isinstance(words, dict)},
        calm=_words(file, "calm", tables.get("calm", {})),
    )


def _sentence(file: Path, fields: dict[str, Any]) -> Sentence:
    code = str(fields.get("about", "sentence"))
    languages = {f"{prefix}{language}" for prefix in ("", "impression_", "calm_") for language in ("zh", "en")}
    rest = {key: value for key, value in fields.items() if key not in languages}
    try:
        return Sentence(
            words=_words(file, code, fields),
            impression=_words(file, code, fields, prefix="impression_", needed=False),
            calm=_words(file, code, fields, prefix="calm_", needed=False),
            **rest,
        )
    except TypeError as error:
        raise BadVocabulary(file, code, str(error).split("()", 1)[-1].strip()) from error


def _words(file: Path, code: str, fields: dict[str, Any], *, prefix: str = "", needed: bool = True) -> Words:
    zh, en = (str(fields.get(f"{prefix}{language}", "")) for language in ("zh", "en"))
    if bool(zh) != bool(en) or (needed and not zh):
        raise BadVocabulary(file, code, f"{prefix}zh and {prefix}en belong together")
    return Words(zh=zh, en=en)
