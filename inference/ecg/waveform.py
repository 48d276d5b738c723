"""A DICOM electrocardiogram as numbers: leads in the order of the paper, in microvolts.

Devices name leads in three coding schemes, in any order, in several multiplex groups and units (PS3.3 C.10.9).
Everything after this module sees one shape, ``Ecg``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.uid import (
    AmbulatoryECGWaveformStorage,
    General32bitECGWaveformStorage,
    GeneralECGWaveformStorage,
    TwelveLeadECGWaveformStorage,
)
from pydicom.waveforms.numpy_handler import multiplex_array

from core.errors import SumuError
from inference.ecg.leads import LEADS, lead_of, source_words, with_derived_leads
from pacs_bridge.ecg.printed import printed_in
from pacs_bridge.ecg.recording import Filters as Filters
from pacs_bridge.ecg.recording import PrintedMeasurements

#: SOP classes of PS3.3 A.34.3, A.34.4, A.34.5 and A.34.4's 32-bit sibling.
ECG_SOP_CLASSES = frozenset(
    str(uid)
    for uid in (
        TwelveLeadECGWaveformStorage,
        GeneralECGWaveformStorage,
        AmbulatoryECGWaveformStorage,
        General32bitECGWaveformStorage,
    )
)

#: UCUM codes that Channel Sensitivity Units (003A,0211) may hold, as microvolts.
_MICROVOLTS = {"nV": 1e-3, "uV": 1.0, "mV": 1e3, "V": 1e6}

#: Labels of a group that holds one averaged beat and not the rhythm.
_AVERAGED = re.compile(r"MEDIAN|AVERAGE|REPRESENTATIVE|TEMPLATE", re.IGNORECASE)


class NotAnEcg(SumuError):
    """The object is of another kind."""

    def __init__(self, sop_class_uid: str) -> None:
        super().__init__(
            f"SOP class {sop_class_uid or 'missing'} is not an electrocardiogram.",
            remedy="Send it as a 12-lead, general or ambulatory ECG waveform object.",
        )
        self.sop_class_uid = sop_class_uid


class NoEcgLeads(SumuError):
    """No multiplex group names a lead that we know."""

    def __init__(self, sop_instance_uid: str, sources: Sequence[str]) -> None:
        named = ", ".join(sources) or "none"
        super().__init__(
            f"ECG {sop_instance_uid} holds no known lead; its channels name: {named}.",
            remedy="Let the device write lead codes of CID 3001 into the Channel Source Sequence (003A,0208).",
        )
        self.sop_instance_uid, self.sources = sop_instance_uid, tuple(sources)


class UnreadableWaveform(SumuError):
    """The samples or their description cannot be made into numbers."""

    def __init__(self, sop_instance_uid: str, problem: str) -> None:
        super().__init__(
            f"The waveform of ECG {sop_instance_uid} cannot be read: {problem}.",
            remedy="Send the recording again from the device; if it stays, give the file to the service's support.",
        )
        self.sop_instance_uid, self.problem = sop_instance_uid, problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Ecg:
    """One recording."""

    sop_instance_uid: str
    #: Names out of ``LEADS``, in that order; leads that are missing and cannot be derived are left out.
    leads: tuple[str, ...]
    #: float32, (leads, samples).
    microvolts: npt.NDArray[np.float32]
    #: Hz.
    sampling_rate: float
    filters: Filters
    #: Leads computed here from others, by Einthoven's and Goldberger's equations.
    derived: tuple[str, ...] = ()
    #: The device also sent an averaged beat, which we do not read.
    has_median_beat: bool = False
    age_years: int | None = None
    #: Patient's Sex (0010,0040): ``M``, ``F``, ``O`` or empty.
    sex: str = ""
    #: What the machine printed, from the object's annotations.
    printed: PrintedMeasurements = field(default_factory=PrintedMeasurements)
    #: Maker and model of the machine, as far as the object names them.
    device: str = ""

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return float(self.microvolts.shape[1] / self.sampling_rate)

    def lead(self, name: str) -> npt.NDArray[np.float32] | None:
        """Return the samples of one lead in microvolts, or None."""
        return self.microvolts[self.leads.index(name)] if name in self.leads else None


def read_ecg(source: Dataset | Path) -> Ecg:
    """Read a DICOM ECG.

    Raises
    ------
    NotAnEcg
        If it is of another SOP class.
    NoEcgLeads
        If no channel is a lead of the 12-lead ECG.
    UnreadableWaveform
        If the samples do not fit their description.
    """
    dataset = source if isinstance(source, Dataset) else dcmread(source)
    uid = str(dataset.get("SOPInstanceUID", ""))
    sop_class = str(dataset.get("SOPClassUID", ""))
    if sop_class not in ECG_SOP_CLASSES:
        raise NotAnEcg(sop_class)
    groups = list(dataset.get("WaveformSequence") or [])
    index = _rhythm_group(groups)
    if index is None:
        sources = [source_words(channel) for group in groups for channel in group.get("ChannelDefinitionSequence") or []]
        raise NoEcgLeads(uid, sources)
    group = groups[index]
    rate = float(group.get("SamplingFrequency") or 0)
    if not rate > 0:
        raise UnreadableWaveform(uid, "it has no sampling frequency (003A,001A)")
    stored = _scaled_leads(dataset, index, uid)
    leads, derived = with_derived_leads(stored)
    names = tuple(name for name in LEADS if name in leads)
    return Ecg(
        sop_instance_uid=uid,
        leads=names,
        microvolts=np.stack([leads[name] for name in names]).astype(np.float32),
        sampling_rate=rate,
        filters=_filters(group),
        derived=derived,
        has_median_beat=any(_is_averaged(other) for other in groups),
        age_years=_age_years(dataset),
        sex=str(dataset.get("PatientSex") or ""),
        printed=printed_in(dataset),
        device=" ".join(
            words for keyword in ("Manufacturer", "ManufacturerModelName") if (words := str(dataset.get(keyword) or "").strip())
        ),
    )


def _is_averaged(group: Dataset) -> bool:
    return bool(_AVERAGED.search(str(group.get("MultiplexGroupLabel") or "")))


def _rhythm_group(groups: Sequence[Dataset]) -> int | None:
    def rank(index: int) -> tuple[bool, int, float]:
        group = groups[index]
        names = {lead_of(channel) for channel in group.get("ChannelDefinitionSequence") or []} - {None}
        seconds = float(group.get("NumberOfWaveformSamples") or 0) / (float(group.get("SamplingFrequency") or 0) or 1.0)
        return not _is_averaged(group), len(names), seconds

    candidates = [index for index in range(len(groups)) if rank(index)[1]]
    return max(candidates, key=rank, default=None)


def _scaled_leads(dataset: Dataset, index: int, uid: str) -> dict[str, npt.NDArray[np.float64]]:
    group = dataset.WaveformSequence[index]
    try:
        encoded = multiplex_array(dataset, index, as_raw=True)
        padding = group.get("WaveformPaddingValue")
        missing = None if padding is None else encoded == _padding(padding, encoded.dtype)
        leads: dict[str, npt.NDArray[np.float64]] = {}
        for number, channel in enumerate(group.ChannelDefinitionSequence):
            name = lead_of(channel)
            if name is None or name in leads:
                continue
            samples = _to_microvolts(encoded[:, number], channel)
            # Nothing was recorded there: the zero line, which the quality check takes for what it is.
            leads[name] = samples if missing is None else np.where(missing[:, number], 0.0, samples)
    except (AttributeError, IndexError, KeyError, NotImplementedError, ValueError) as error:
        raise UnreadableWaveform(uid, str(error).rstrip(".")) from error
    if not np.all(np.isfinite(np.stack(list(leads.values())))):
        raise UnreadableWaveform(uid, "it holds samples that are not numbers")
    return leads


def _to_microvolts(encoded: npt.NDArray[np.generic], channel: Dataset) -> npt.NDArray[np.float64]:
    """PS3.3 C.10.9.1.4: sample * sensitivity * correction + baseline, in the units of the sensitivity."""
    sensitivity = channel.get("ChannelSensitivity")
    units = channel.get("ChannelSensitivityUnitsSequence") or []
    unit = str(units[0].get("CodeValue", "")) if units else ""
    if sensitivity is None or unit not in _MICROVOLTS:
        raise ValueError(f"the sensitivity of a channel is '{sensitivity}' with the unit '{unit}', not a voltage")
    correction = float(channel.get("ChannelSensitivityCorrectionFactor") or 1.0)
    baseline = float(channel.get("ChannelBaseline") or 0.0)
    return (encoded.astype(np.float64) * float(sensitivity) * correction + baseline) * _MICROVOLTS[unit]


def _padding(value: object, dtype: np.dtype[Any]) -> Any:
    """Waveform Padding Value (5400,100A) has the samples' own encoding; with an unknown VR it arrives as bytes."""
    return np.frombuffer(value, dtype=dtype)[0] if isinstance(value, bytes) else np.asarray(value).astype(dtype)[()]


def _filters(group: Dataset) -> Filters:
    first = next(channel for channel in group.ChannelDefinitionSequence if lead_of(channel))

    def hertz(keyword: str) -> float | None:
        value = float(first.get(keyword) or 0)
        return value if value > 0 else None

    return Filters(
        low_hz=hertz("FilterLowFrequency"), high_hz=hertz("FilterHighFrequency"), notch_hz=hertz("NotchFilterFrequency")
    )


def _age_years(dataset: Dataset) -> int | None:
    if match := re.fullmatch(r"(\d{3})([DWMY])", str(dataset.get("PatientAge") or "")):
        return int(int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]])
    taken = str(dataset.get("AcquisitionDateTime") or dataset.get("StudyDate") or "")[:8]
    born = str(dataset.get("PatientBirthDate") or "")
    try:
        then, now = (datetime.strptime(text, "%Y%m%d").date() for text in (born, taken))  # noqa: DTZ007
    except ValueError:
        return None
    return now.year - then.year - ((now.month, now.day) < (then.month, then.day))
