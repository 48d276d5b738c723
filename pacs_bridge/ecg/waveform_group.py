"""The samples of a recording as a multiplex group (PS3.3 C.10.9), and the SOP class that may hold them."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import (
    UID,
    AmbulatoryECGWaveformStorage,
    General32bitECGWaveformStorage,
    GeneralECGWaveformStorage,
    TwelveLeadECGWaveformStorage,
)
from pydicom.valuerep import DSfloat

from pacs_bridge.ecg.codes import code_item, lead_code
from pacs_bridge.ecg.recording import LEADS, MISSING, EcgLead, EcgRecording, Filters

#: PS3.3 A.34.3.4.
_TWELVE_LEAD_SAMPLES = 16384
_SHORT = np.iinfo(np.int16)


def sop_class_of(recording: EcgRecording) -> UID:
    """Return the class whose limits the recording keeps.

    PS3.3 A.34.3.4: the twelve leads at 200 to 1000 Hz, at most 16 384 samples each. A.34.4.4: other leads or longer.
    A.34.5.4: from 50 Hz, twelve channels. What is faster, wider than 16 bits or has more channels is a 32-bit ECG, which
    sets no limit.
    """
    rate, channels = recording.sampling_rate, len(recording.leads)
    if _is_wide(recording) or rate > 1000 or rate < 50 or channels > 24:
        return General32bitECGWaveformStorage
    if rate < 200:
        return AmbulatoryECGWaveformStorage if channels <= 12 else General32bitECGWaveformStorage
    twelve = {lead.name for lead in recording.leads} == set(LEADS)
    return TwelveLeadECGWaveformStorage if twelve and recording.length <= _TWELVE_LEAD_SAMPLES else GeneralECGWaveformStorage


def multiplex_group(recording: EcgRecording) -> Dataset:
    """Return the group of all leads."""
    wide = sop_class_of(recording) == General32bitECGWaveformStorage
    bits, sample_type = (32, np.dtype("<i4")) if wide else (16, np.dtype("<i2"))
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels, group.NumberOfWaveformSamples = len(recording.leads), recording.length
    group.SamplingFrequency = DSfloat(recording.sampling_rate, auto_format=True)
    group.MultiplexGroupLabel = "RHYTHM"
    group.ChannelDefinitionSequence = [_channel(lead, recording.filters, bits) for lead in recording.leads]
    group.WaveformBitsAllocated, group.WaveformSampleInterpretation = bits, "SL" if wide else "SS"
    samples = np.stack([lead.samples for lead in recording.leads], axis=1)
    missing = samples == MISSING
    padding = np.iinfo(sample_type).min
    if missing.any():
        group.WaveformPaddingValue = padding.to_bytes(bits // 8, "little", signed=True)
    group.WaveformData = np.where(missing, padding, samples).astype(sample_type).tobytes()
    return group


def _channel(lead: EcgLead, filters: Filters, bits: int) -> Dataset:
    channel = Dataset()
    channel.ChannelLabel = lead.name[:16]
    channel.ChannelSourceSequence = [lead_code(lead.name)]
    if lead.computed_from:
        channel.ChannelDerivationDescription = f"Computed from leads {' and '.join(lead.computed_from)}"
    channel.ChannelSensitivity = DSfloat(lead.microvolts_per_step, auto_format=True)
    channel.ChannelSensitivityUnitsSequence = [code_item("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = DSfloat(lead.microvolts_at_zero, auto_format=True)
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = bits
    for keyword, hertz in (
        ("FilterLowFrequency", filters.low_hz),
        ("FilterHighFrequency", filters.high_hz),
        ("NotchFilterFrequency", filters.notch_hz),
    ):
        if hertz is not None:
            setattr(channel, keyword, DSfloat(hertz, auto_format=True))
    return channel


def _is_wide(recording: EcgRecording) -> bool:
    """Whether a sample, or the padding below them all, needs more than 16 bits."""
    for lead in recording.leads:
        stored = lead.samples[lead.samples != MISSING]
        lowest = _SHORT.min + 1 if len(stored) < len(lead.samples) else _SHORT.min
        if len(stored) and (stored.min() < lowest or stored.max() > _SHORT.max):
            return True
    return False
