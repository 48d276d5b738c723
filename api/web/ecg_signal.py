"""An ECG's samples as a page receives them: once, exact to a microvolt, in sixteen bits."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from api.web.ecg_paper import recording_words
from inference.ecg.waveform import Ecg

#: A page gets a long recording in pieces of this many seconds.
PIECE_SECONDS = 120.0
_LARGEST = 32_767


def signal_of(ecg: Ecg, language: str, start: float = 0.0) -> dict[str, Any]:
    """Return a piece of a recording as JSON.

    ``samples`` is base64 of little-endian int16, (leads, samples), in steps of ``microvolts_per_step``: one microvolt
    wherever the piece fits into 32 mV. Each lead hangs on its own median over the whole recording, as on the printed paper.

    Parameters
    ----------
    start
        Seconds from the beginning of the recording; the piece is at most ``PIECE_SECONDS`` long.
    """
    first = round(min(max(start, 0.0), max(ecg.seconds - 1, 0.0)) * ecg.sampling_rate)
    piece = ecg.microvolts[:, first : first + round(PIECE_SECONDS * ecg.sampling_rate)].astype(np.float64)
    piece = piece - np.median(ecg.microvolts, axis=1, keepdims=True)
    step = max(1, int(np.ceil(np.abs(piece).max(initial=0) / _LARGEST)))
    return {
        "leads": list(ecg.leads),
        "rate": ecg.sampling_rate,
        "seconds": ecg.seconds,
        "start": first / ecg.sampling_rate,
        "microvolts_per_step": step,
        "samples": base64.b64encode(np.rint(piece / step).astype("<i2").tobytes()).decode(),
        "words": recording_words(ecg, language),
    }
