"""From a record of ecgdatakit, which parses most formats here, to a recording of ours.

The parsers round some sampling rates to whole hertz and hand on some defects as warnings only; both are put right here.
Samples are asked for raw, so that they stay the machine's integers.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
from ecgdatakit.exceptions import UnsupportedFormatError
from ecgdatakit.models import ECGRecord, Lead
from ecgdatakit.parsing.parser import Parser

from pacs_bridge.ecg.formats import AGAIN, LONGEST_SAMPLES, EcgFormat, UnreadableEcg
from pacs_bridge.ecg.recording import (
    LEADS,
    MISSING,
    EcgDevice,
    EcgLead,
    EcgPatient,
    EcgRecording,
    Filters,
    PrintedMeasurements,
    Steps,
    of_one_length,
)
from pacs_bridge.ecg.xml_text import in_chinese

_MICROVOLTS = {"nV": 1e-3, "uV": 1.0, "mV": 1e3, "V": 1e6}
_LEAD_NAMES = {name.upper(): name for name in LEADS}
#: What stands before a lead's name in EDF and WFDB: ``ECG II``, ``EKG-V1``, ``Lead aVR``.
_PREFIX = re.compile(r"^(?:ECG|EKG|LEAD)[\s_:-]+", re.IGNORECASE)
_QTC = re.compile(r"^(\d{2,3})\b")
#: The warning about raw samples is what we asked for.
_EXPECTED_WARNING = "auto_scale"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a parser made of a file, and what it was uneasy about."""

    record: ECGRecord
    notes: tuple[str, ...]


def parse(parser: type[Parser], file: Path, found: EcgFormat, file_name: str) -> Parsed:
    """Run a parser.

    Raises
    ------
    UnreadableEcg
        With the parser's own words.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            record = parser().parse(file)
        except Exception as error:  # whatever a broken file makes the parser trip over
            why = str(error).replace(f"{file.parent}/", "").replace(file.name, file_name) or type(error).__name__
            if isinstance(error, UnsupportedFormatError):
                raise UnreadableEcg(file_name, found.name, why) from error
            raise UnreadableEcg(file_name, found.name, f"it cannot be read to its end: {why}", remedy=AGAIN) from error
    notes = tuple(str(warning.message) for warning in caught if _EXPECTED_WARNING not in str(warning.message))
    return Parsed(record=record, notes=notes)


def recording_of(
    parsed: Parsed,
    found: EcgFormat,
    file_name: str,
    *,
    rates: Mapping[str, float] | None = None,
    invalid: Mapping[str, int] | None = None,
) -> EcgRecording:
    """Return our recording of a parsed file.

    Parameters
    ----------
    rates
        Exact sampling rates by lead, where the parser rounded them.
    invalid
        The value by lead that stands for a sample that is none.

    Raises
    ------
    UnreadableEcg
        If no lead has a voltage scale.
    """
    record, notes = parsed.record, list(parsed.notes)
    rate_of = {lead.label: float((rates or {}).get(lead.label, lead.sampling_rate)) for lead in record.leads}
    scaled = [lead for lead in record.leads if _is_voltage(lead)]
    if not scaled:
        raise UnreadableEcg(file_name, found.name, "it states no amplitude scale in volts for any lead")
    rate, _ = Counter(rate_of[lead.label] for lead in scaled).most_common(1)[0]
    if not rate > 0:
        raise UnreadableEcg(file_name, found.name, "it states no sampling rate")
    kept: dict[str, EcgLead] = {}
    for lead in record.leads:
        name = lead_name(lead.label)
        if not _is_voltage(lead):
            notes.append(f"Channel {in_chinese(lead.label)} is no voltage and was left out.")
        elif rate_of[lead.label] != rate or name in kept:
            notes.append(f"Channel {in_chinese(lead.label)} has another rate or another channel's name and was left out.")
        else:
            kept[name] = _lead(name, lead, (invalid or {}).get(lead.label))
    return EcgRecording(
        format=found.name,
        leads=of_one_length(tuple(kept.values())),
        sampling_rate=rate,
        taken_at=record.recording.date,
        patient=_patient(record),
        device=_device(record),
        filters=_filters(record),
        printed=_printed(record),
        notes=tuple(notes),
    )


def lead_name(label: str) -> str:
    """Return a lead's name as this house writes it."""
    bare = _PREFIX.sub("", label.strip())
    return _LEAD_NAMES.get(bare.upper(), bare)


def _is_voltage(lead: Lead) -> bool:
    return bool(lead.resolution) and lead.resolution_unit in _MICROVOLTS


def _lead(name: str, lead: Lead, invalid: int | None) -> EcgLead:
    per_unit = _MICROVOLTS[lead.resolution_unit]
    steps = _steps(lead.samples, invalid)
    # SCP-ECG 5.6: leads of one recording may begin one after the other.
    begins = int(lead.annotations.get("start_sample", "1")) - 1
    if begins > LONGEST_SAMPLES:
        raise ValueError(f"lead {name} begins at sample {begins + 1}")
    if begins > 0:
        steps = np.concatenate([np.full(begins, MISSING, np.int32), steps])
    return EcgLead(
        name=name,
        samples=steps,
        microvolts_per_step=lead.resolution * per_unit,
        microvolts_at_zero=lead.offset * per_unit,
    )


def _steps(samples: npt.NDArray[np.float64], invalid: int | None) -> Steps:
    absent = ~np.isfinite(samples)
    if invalid is not None:
        absent |= samples == invalid
    return np.where(absent, MISSING, np.rint(np.where(absent, 0, samples))).astype(np.int32)


def _patient(record: ECGRecord) -> EcgPatient:
    patient = record.patient
    return EcgPatient(
        identifier=in_chinese(patient.patient_id).strip(),
        family_name=in_chinese(patient.last_name).strip(),
        given_name=in_chinese(patient.first_name).strip(),
        sex=patient.sex if patient.sex in ("M", "F") else "",
        birth_date=patient.birth_date.date() if isinstance(patient.birth_date, datetime) else None,
        age_years=patient.age,
    )


def _device(record: ECGRecord) -> EcgDevice:
    device = record.recording.device
    return EcgDevice(
        manufacturer=in_chinese(device.manufacturer),
        model=in_chinese(device.model),
        serial_number=device.serial_number,
        software_version=device.software_version,
        institution=in_chinese(device.institution),
    )


def _filters(record: ECGRecord) -> Filters:
    filters = record.recording.acquisition.filters
    return Filters(
        low_hz=filters.highpass,
        high_hz=filters.lowpass,
        notch_hz=filters.notch if filters.notch_active is not False else None,
    )


def _printed(record: ECGRecord) -> PrintedMeasurements:
    told = record.measurements
    return PrintedMeasurements(
        heart_rate=told.heart_rate,
        rr_ms=told.rr_interval,
        pr_ms=told.pr_interval,
        qrs_ms=told.qrs_duration,
        qt_ms=told.qt_interval,
        qtc_ms=_qtc(record),
        qtc_bazett_ms=told.qtc_bazett,
        qtc_fridericia_ms=told.qtc_fridericia,
        p_axis=told.p_axis,
        qrs_axis=told.qrs_axis,
        t_axis=told.t_axis,
        statements=_statements(record),
    )


def _statements(record: ECGRecord) -> tuple[str, ...]:
    """The rhythm, where the file keeps it apart (HL7), before the interpretation."""
    said = [(record.annotations.get("rhythm", ""),), *record.interpretation.statements]
    lines = [" ".join(in_chinese(part).strip() for part in parts if part) for parts in said]
    return tuple(dict.fromkeys(line for line in lines if line))


def _qtc(record: ECGRecord) -> int | None:
    """A QTc whose formula the file does not name: each parser keeps it elsewhere."""
    written = (
        record.annotations.get("QTCorrected"),  # MUSE
        record.annotations.get("MDC_ECG_TIME_PD_QTc"),  # HL7
        record.raw_metadata.get("qtc_ms"),  # SCP-ECG
        record.raw_metadata.get("qtc"),  # Mortara
        None if record.measurements.qtc_bazett else record.annotations.get("qtc"),  # Philips Sierra 1.03
    )
    return next((int(match[1]) for value in written if value is not None and (match := _QTC.match(str(value)))), None)
