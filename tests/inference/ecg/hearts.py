"""Hearts of known intervals, written as DICOM ECG objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, TwelveLeadECGWaveformStorage, generate_uid

from inference.ecg.waveform import Ecg, read_ecg

#: Height of P, Q, R, S, T in mV, lead by lead, of an ordinary heart with an axis of about 45 degrees.
HEART = {
    "I": (0.08, -0.05, 0.70, -0.10, 0.22),
    "II": (0.15, -0.08, 1.00, -0.15, 0.32),
    "V1": (0.06, 0.0, 0.20, -0.90, -0.08),
    "V2": (0.07, 0.0, 0.35, -1.20, 0.30),
    "V3": (0.07, 0.0, 0.60, -0.80, 0.40),
    "V4": (0.08, -0.05, 1.10, -0.40, 0.42),
    "V5": (0.08, -0.08, 1.20, -0.15, 0.35),
    "V6": (0.08, -0.08, 0.95, -0.08, 0.28),
}
SCP = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64}


def _bump(t: npt.NDArray[np.float64], middle: float, width: float) -> npt.NDArray[np.float64]:
    """A Gaussian that is practically over ``width / 2`` from its middle."""
    return np.exp(-0.5 * ((t - middle) / (width / 5)) ** 2)


def heart(
    r_times: Sequence[float],
    *,
    seconds: float = 10.0,
    rate: float = 500.0,
    pr: float = 0.16,
    qrs: float = 0.09,
    qt: float = 0.38,
    p: bool = True,
    noise_uv: float = 4.0,
    shape: dict[str, tuple[float, float, float, float, float]] = HEART,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return microvolts of the eight independent leads; ``r_times`` are the beginnings of the QRS."""
    t = np.arange(round(seconds * rate)) / rate
    random = np.random.default_rng(7)
    leads = {}
    for name, (hp, hq, hr, hs, ht) in shape.items():
        signal = np.zeros_like(t)
        for onset in r_times:
            if p:
                signal += hp * _bump(t, onset - pr + 0.05, 0.10)
            for height, place in ((hq, 0.2), (hr, 0.48), (hs, 0.8)):
                signal += height * _bump(t, onset + place * qrs, qrs * 0.42)
            signal += ht * _bump(t, onset + qt - 0.10, 0.20)
        leads[name] = signal * 1000 + random.normal(0, noise_uv, len(t))
    return leads


def regular(rr: float, *, first: float = 0.3, seconds: float = 10.0) -> list[float]:
    """Beginnings of the QRS of a regular rhythm."""
    return list(np.arange(first, seconds - 0.4, rr))


def ecg_dataset(
    leads: dict[str, npt.NDArray[np.float64]],
    *,
    rate: float = 500.0,
    sensitivity: float = 2.5,
    unit: str = "uV",
    factor: float = 1.0,
    baseline: float = 0.0,
    label: str = "RHYTHM",
    code: Callable[[str], tuple[str, str, str]] = lambda name: (f"5.6.3-9-{SCP[name]}", "SCPECG", f"Lead {name}"),
    age: str = "045Y",
    sex: str = "F",
) -> Dataset:
    """Return a 12-lead ECG object (PS3.3 A.34.3) that holds ``leads``, given in microvolts."""
    in_units = {"uV": 1.0, "mV": 1e-3, "nV": 1e3}.get(unit, 1.0)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = TwelveLeadECGWaveformStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.Modality, dataset.PatientAge, dataset.PatientSex = "ECG", age, sex
    dataset.WaveformSequence = [group(leads, rate, sensitivity, unit, factor, baseline, label, code, in_units)]
    return dataset


def group(
    leads: dict[str, npt.NDArray[np.float64]],
    rate: float,
    sensitivity: float,
    unit: str,
    factor: float,
    baseline: float,
    label: str,
    code: Callable[[str], tuple[str, str, str]],
    in_units: float,
) -> Dataset:
    """Return one multiplex group."""
    item = Dataset()
    item.MultiplexGroupLabel, item.WaveformOriginality = label, "ORIGINAL"
    item.SamplingFrequency = str(rate)
    item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = len(leads), len(next(iter(leads.values())))
    item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
    item.ChannelDefinitionSequence = [_channel(code(name), sensitivity, unit, factor, baseline) for name in leads]
    values = np.stack([(row * in_units - baseline) / (sensitivity * factor) for row in leads.values()], axis=1)
    item.WaveformData = np.rint(values).astype("<i2").tobytes()
    return item


def _channel(code: tuple[str, str, str], sensitivity: float, unit: str, factor: float, baseline: float) -> Dataset:
    channel, source, units = Dataset(), Dataset(), Dataset()
    source.CodeValue, source.CodingSchemeDesignator, source.CodeMeaning = code
    units.CodeValue, units.CodingSchemeDesignator, units.CodeMeaning = unit, "UCUM", unit
    channel.ChannelSourceSequence, channel.ChannelSensitivityUnitsSequence = [source], [units]
    channel.ChannelSensitivity, channel.ChannelSensitivityCorrectionFactor = str(sensitivity), str(factor)
    channel.ChannelBaseline, channel.ChannelSampleSkew, channel.WaveformBitsStored = str(baseline), "0", 16
    channel.FilterLowFrequency, channel.FilterHighFrequency, channel.NotchFilterFrequency = "0.05", "150", "50"
    return channel


def ecg_of(leads: dict[str, npt.NDArray[np.float64]], **about: object) -> Ecg:
    """Return the leads as they come out of a DICOM object."""
    return read_ecg(ecg_dataset(leads, **about))  # type: ignore[arg-type]


def saved(dataset: Dataset, folder: Path) -> Path:
    """Write the object as a Part 10 file."""
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    assert dcmread(path).SOPInstanceUID == dataset.SOPInstanceUID
    return path
