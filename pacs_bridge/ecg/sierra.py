"""Philips Sierra XML: the calibration mark behind the recording is no heartbeat and is cut off.

PageWriters append a 1 mV pulse of some tenths of a second to every lead. Left in, it reads as a beat at the same
moment in all leads.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pacs_bridge.ecg.recording import EcgRecording

#: Height of the mark.
_MARK_MICROVOLTS = 1000.0
_LONGEST_SECONDS = 1.0
_SHORTEST_SECONDS = 0.1


def without_calibration_mark(recording: EcgRecording) -> EcgRecording:
    """Return the recording up to its calibration mark, where it has one.

    The mark is known by this: every lead is the same, sample for sample, and takes two values, 0 and 1 mV.
    """
    samples = np.stack([lead.samples for lead in recording.leads])
    if len(samples) < 2:
        return recording
    step = recording.leads[0].microvolts_per_step
    height = round(_MARK_MICROVOLTS / step)
    longest = round(_LONGEST_SECONDS * recording.sampling_rate)
    tail = samples[:, -longest:]
    in_mark = (tail == tail[0]).all(axis=0) & np.isin(tail[0], (0, height))
    length = len(in_mark) if in_mark.all() else int(np.argmin(in_mark[::-1]))
    if length < _SHORTEST_SECONDS * recording.sampling_rate or not (tail[0, -length:] == height).any():
        return recording
    return replace(
        recording,
        leads=tuple(replace(lead, samples=lead.samples[:-length]) for lead in recording.leads),
        notes=(
            *recording.notes,
            f"The calibration mark of 1 mV at its end ({length / recording.sampling_rate:g} s) was cut off.",
        ),
    )
