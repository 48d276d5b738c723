"""Concepts of the house as FHIR CodeableConcepts, with their names in Chinese and English."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from inference.vocabulary.terms import Concept, FindingTerm, MeasurementTerm

FILE = Path(__file__).parent / "fhir_codes.toml"
LOINC = "http://loinc.org"
_TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
_MDC_PARTITION = 1 << 16


@cache
def tables() -> dict[str, Any]:
    """Return ``fhir_codes.toml``."""
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def both(zh: str, en: str) -> dict[str, Any]:
    """Return ``text`` in Chinese with its English translation, as fields of a CodeableConcept or an Annotation."""
    translation = {
        "url": _TRANSLATION,
        "extension": [{"url": "lang", "valueCode": "en"}, {"url": "content", "valueString": en}],
    }
    return {"text": zh, "_text": {"extension": [translation]}}


def coding(concept: Concept) -> dict[str, str]:
    """Return a DICOM code as a Coding; MDC codes become the 32-bit numbers of ISO/IEEE 11073-10101."""
    value = concept.value
    if concept.scheme == "MDC":
        partition, number = value.split(":")
        value = str(int(partition) * _MDC_PARTITION + int(number))
    return {"system": tables()["system"][concept.scheme], "code": value, "display": concept.meaning}


def measurement_code(term: MeasurementTerm) -> dict[str, Any]:
    """Return what a number is called: LOINC first where LOINC has it."""
    loinc = tables()["loinc"].get(term.code)
    codings = [{"system": LOINC, "code": loinc["code"], "display": loinc["display"]}] if loinc else []
    if term.concept.scheme != "LN":
        codings.append(coding(term.concept))
    return {"coding": codings, **both(term.zh, term.en)}


def finding_value(term: FindingTerm) -> dict[str, Any]:
    """Return what a finding says."""
    return {"coding": [coding(term.concept)], **both(term.zh, term.en)}


def report_code(modality: str) -> dict[str, Any]:
    """Return what kind of study a report is about."""
    row = _report(modality)
    return {"coding": [{"system": LOINC, "code": row["code"], "display": row["display"]}], **both(row["zh"], row["display"])}


def report_category(modality: str) -> dict[str, Any]:
    """Return the diagnostic service section that made it (HL7 table 0074)."""
    return {"coding": [{"system": _SECTIONS, "code": _report(modality)["section"]}]}


def _report(modality: str) -> dict[str, str]:
    rows: dict[str, dict[str, str]] = tables()["report"]
    return rows.get(modality, rows["other"])
