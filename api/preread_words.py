"""A pre-read in a reader's language: codes become words, numbers get units, and nothing sounds like a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.refusals import N_
from api.translations import translate
from core.lifecycles.preread import PreReadState
from core.tables import Finding, Measurement, PreRead, Urgency, Verdict
from inference.vocabulary.terms import FindingTerm, vocabulary

ENGINES = {"ecg": N_("ECG"), "radiograph": N_("Radiograph"), "pathology": N_("Pathology slide"), "none": N_("AI pre-read")}
#: How pages write units that UCUM spells for machines; the rest is shown as UCUM has it.
_UNITS = {
    "/min": {"zh": "次/分", "en": "/min"},
    "{beats}/min": {"zh": "次/分", "en": "bpm"},
    "deg": {"zh": "°", "en": "°"},
    "um": {"zh": "μm", "en": "μm"},
    "um2": {"zh": "μm²", "en": "μm²"},
    "mm2": {"zh": "mm²", "en": "mm²"},
    "cm2": {"zh": "cm²", "en": "cm²"},
    "1": {"zh": "", "en": ""},
}
#: Letters of a hash that people compare by eye.
_HASH_LETTERS = 10


@dataclass(frozen=True, kw_only=True)
class FindingWords:
    """One finding as a page shows it."""

    id: int
    code: str
    name: str
    probability: float | None
    urgency: Urgency
    normal: bool
    verdict: Verdict | None
    verdict_at: datetime | None
    region: dict[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class MeasurementWords:
    """One number with its unit and usual limits."""

    code: str
    name: str
    value: str
    unit: str
    limits: str
    #: ``low``, ``high`` or empty.
    beyond: str


@dataclass(frozen=True, kw_only=True)
class ModelWords:
    """Who says it."""

    name: str
    version: str
    short_hash: str
    weights_sha256: str
    preprocessing: str


@dataclass(frozen=True, kw_only=True)
class PreReadWords:
    """One pre-read as a page shows it."""

    id: int
    engine: str
    engine_name: str
    state: PreReadState
    reason: str
    error: str
    models: Sequence[ModelWords]
    findings: Sequence[FindingWords]
    measurements: Sequence[MeasurementWords]
    finished_at: datetime | None

    @property
    def abnormal(self) -> list[FindingWords]:
        """What a reader should look at first: not struck, most urgent first, then surest first."""
        shown = [finding for finding in self.findings if not finding.normal and finding.verdict is not Verdict.STRUCK]
        return sorted(shown, key=lambda finding: (finding.urgency.rank, -(finding.probability or 1.0)))


def in_words(pre_read: PreRead, language: str) -> PreReadWords:
    """Return ``pre_read`` in ``language``; a code that the vocabulary has lost is shown as it is."""
    return PreReadWords(
        id=pre_read.id,
        engine=pre_read.engine,
        engine_name=_engine_name(pre_read.engine, language),
        state=pre_read.state,
        reason=_reason(pre_read, language),
        error=(pre_read.error or "").strip(),
        models=[_model(model) for model in pre_read.models],
        findings=[_finding(finding, language) for finding in pre_read.findings],
        measurements=[_measurement(measurement, language) for measurement in pre_read.measurements],
        finished_at=pre_read.finished_at,
    )


def _engine_name(engine: str, language: str) -> str:
    """Return the name of an engine, or of a model that was added."""
    term = vocabulary().engines.get(engine)
    if term:
        return term.zh if language == "zh" else term.en
    return translate(language, ENGINES.get(engine, engine))


def latest(pre_reads: Iterable[PreRead]) -> list[PreRead]:
    """Return the pre-reads of the newest revision among ``pre_reads``: older ones speak of an incomplete study."""
    known = [one for one in pre_reads if one.state is not PreReadState.SUPERSEDED]
    newest = max((one.revision for one in known), default=0)
    return [one for one in known if one.revision == newest]


def term_of(code: str) -> FindingTerm | None:
    """Return the vocabulary's term of a finding, or None."""
    return vocabulary().findings.get(code)


def _finding(finding: Finding, language: str) -> FindingWords:
    term = term_of(finding.code)
    return FindingWords(
        id=finding.id,
        code=finding.code,
        name=(term.zh if language == "zh" else term.en) if term else finding.code,
        probability=finding.probability,
        urgency=Urgency(term.urgency) if term else Urgency.ROUTINE,
        normal=term.normal if term else False,
        verdict=finding.verdict,
        verdict_at=finding.verdict_at,
        region=finding.region,
    )


def _measurement(measurement: Measurement, language: str) -> MeasurementWords:
    term = vocabulary().measurements.get(measurement.code)
    if term is None:
        return MeasurementWords(
            code=measurement.code, name=measurement.code, value=f"{measurement.value:g}", unit="", limits="", beyond=""
        )
    low, high = term.low, term.high
    beyond = (
        "low" if low is not None and measurement.value < low else "high" if high is not None and measurement.value > high else ""
    )
    limits = (
        f"{low:g}–{high:g}"
        if low is not None and high is not None
        else f"≥ {low:g}"
        if low is not None
        else f"≤ {high:g}"
        if high is not None
        else ""
    )
    return MeasurementWords(
        code=measurement.code,
        name=term.zh if language == "zh" else term.en,
        value=f"{measurement.value:.{term.digits}f}",
        unit=_UNITS.get(term.unit, {}).get(language, term.unit),
        limits=limits,
        beyond=beyond,
    )


def _model(model: dict[str, Any]) -> ModelWords:
    weights = str(model.get("weights_sha256") or "")
    return ModelWords(
        name=str(model.get("name", "")),
        version=str(model.get("version", "")),
        short_hash=weights[:_HASH_LETTERS],
        weights_sha256=weights,
        preprocessing=str(model.get("preprocessing", "")),
    )


def _reason(pre_read: PreRead, language: str) -> str:
    if not pre_read.reason:
        return ""
    term = vocabulary().reasons.get(pre_read.reason)
    return (term.zh if language == "zh" else term.en) if term else pre_read.reason
