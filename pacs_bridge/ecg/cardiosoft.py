"""GE CardioSoft XML (``CardiologyXML``), which no maintained parser reads: integers with commas, one list a lead."""

from __future__ import annotations

from datetime import date, datetime
from xml.etree.ElementTree import Element

import numpy as np

from pacs_bridge.ecg.formats import CARDIOSOFT, UnreadableEcg
from pacs_bridge.ecg.recording import (
    EcgDevice,
    EcgLead,
    EcgPatient,
    EcgRecording,
    Filters,
    PrintedMeasurements,
    Steps,
    of_one_length,
)

_MEASUREMENTS = {
    "heart_rate": "VentricularRate",
    "rr_ms": "RRInterval",
    "pr_ms": "PQInterval",
    "qrs_ms": "QRSDuration",
    "qt_ms": "QTInterval",
    "qtc_ms": "QTCInterval",
    "p_axis": "PAxis",
    "qrs_axis": "RAxis",
    "t_axis": "TAxis",
}
_SEXES = {"MALE": "M", "FEMALE": "F", "M": "M", "F": "F"}
#: ``Resolution units=…`` in microvolts.
_RESOLUTION_UNITS = {"uvperlsb": 1.0, "nvperlsb": 1e-3}


def read_cardiosoft(root: Element, file_name: str) -> EcgRecording:
    """Read a document.

    Raises
    ------
    UnreadableEcg
        If the strip, its rate or its resolution is missing.
    """
    strip = root.find("StripData")
    if strip is None:
        raise UnreadableEcg(file_name, CARDIOSOFT.name, "the strip (StripData) is missing; an exercise test has none")
    rate, step = _float(strip, "SampleRate"), _float(strip, "Resolution")
    if not rate:
        raise UnreadableEcg(file_name, CARDIOSOFT.name, "the sampling rate (SampleRate) is missing")
    element = strip.find("Resolution")
    unit = "" if element is None else (element.get("units") or "").lower()
    if not step or unit not in _RESOLUTION_UNITS:
        raise UnreadableEcg(file_name, CARDIOSOFT.name, f"the resolution is missing or its unit '{unit}' is no voltage")
    leads = of_one_length(
        tuple(
            EcgLead(
                name=(wave.get("lead") or "").strip(),
                samples=_samples(wave, file_name),
                microvolts_per_step=step * _RESOLUTION_UNITS[unit],
            )
            for wave in strip.findall("WaveformData")
        )
    )
    if not leads:
        raise UnreadableEcg(file_name, CARDIOSOFT.name, "the strip holds no lead (WaveformData)")
    return EcgRecording(
        format=CARDIOSOFT.name,
        leads=leads,
        sampling_rate=rate,
        taken_at=_moment(root.find("ObservationDateTime")),
        patient=_patient(root),
        device=EcgDevice(
            manufacturer="GE",
            model=_text(root, "ClinicalInfo/DeviceInfo/Desc"),
            software_version=_text(root, "ClinicalInfo/DeviceInfo/SoftwareVer"),
            institution=_text(root, "PatientVisit/ServicingFacility/Name"),
        ),
        filters=Filters(
            low_hz=_float(root, "FilterSetting/HighPass"),
            high_hz=_float(root, "FilterSetting/LowPass"),
            notch_hz=_notch(root),
        ),
        printed=PrintedMeasurements(
            **{name: _integer(root, f"RestingECGMeasurements/{tag}") for name, tag in _MEASUREMENTS.items()},
            statements=_statements(root),
        ),
    )


def _patient(root: Element) -> EcgPatient:
    age, unit = _integer(root, "PatientInfo/Age"), root.find("PatientInfo/Age")
    in_years = unit is not None and (unit.get("units") or "years").lower().startswith("y")
    day = [_integer(root, f"PatientInfo/BirthDateTime/{part}") for part in ("Year", "Month", "Day")]
    return EcgPatient(
        identifier=_text(root, "PatientInfo/PID"),
        family_name=_text(root, "PatientInfo/Name/FamilyName"),
        given_name=_text(root, "PatientInfo/Name/GivenName"),
        sex=_SEXES.get(_text(root, "PatientInfo/Gender").upper(), ""),
        birth_date=_date(day),
        age_years=age if in_years else None,
    )


def _samples(wave: Element, file_name: str) -> Steps:
    try:
        values = [int(word) for word in "".join(wave.itertext()).replace(",", " ").split()]
    except ValueError:
        raise UnreadableEcg(file_name, CARDIOSOFT.name, f"lead {wave.get('lead')} holds something that is no number") from None
    return np.array(values, np.int32)


def _statements(root: Element) -> tuple[str, ...]:
    """The doctor's conclusion where there is one, else the program's."""
    for path in ("Interpretation/Conclusion/ConclusionText", "Interpretation/Diagnosis/DiagnosisText"):
        lines = tuple("".join(line.itertext()).strip() for line in root.findall(path))
        if any(lines):
            return tuple(line for line in lines if line)
    return ()


def _notch(root: Element) -> float | None:
    for hertz in (50, 60):
        if _text(root, f"FilterSetting/Filter{hertz}Hz").lower() == "yes":
            return float(hertz)
    return None


def _moment(element: Element | None) -> datetime | None:
    if element is None:
        return None
    parts = [_integer(element, part) for part in ("Year", "Month", "Day", "Hour", "Minute", "Second")]
    day = _date(parts[:3])
    if day is None:
        return None
    hour, minute, second = (part or 0 for part in parts[3:])
    try:
        return datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - the machine's wall clock
    except ValueError:
        return None


def _date(parts: list[int | None]) -> date | None:
    year, month, day = parts
    try:
        return date(year, month, day) if year and month and day else None
    except ValueError:
        return None


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    return "" if found is None else "".join(found.itertext()).strip()


def _float(element: Element, path: str) -> float | None:
    try:
        return float(_text(element, path)) or None
    except ValueError:
        return None


def _integer(element: Element, path: str) -> int | None:
    try:
        return round(float(_text(element, path)))
    except ValueError:
        return None
