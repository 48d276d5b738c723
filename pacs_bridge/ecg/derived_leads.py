"""The limb leads that a machine left out, computed from two that it stored (Einthoven, Goldberger).

Augmented leads are halves of sums of steps. They are kept in half steps, so that they are exact: nothing is rounded.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pacs_bridge.ecg.recording import MISSING, EcgLead, EcgRecording, Steps, in_paper_order

#: Each limb lead as twice itself in multiples of I and II.
_DOUBLED = {"I": (2, 0), "II": (0, 2), "III": (-2, 2), "aVR": (-1, -1), "aVL": (2, -1), "aVF": (-1, 2)}
#: Pairs that give all six, the most usual first.
_PAIRS = (("I", "II"), ("II", "III"), ("I", "III"))


def with_derived_leads(recording: EcgRecording) -> EcgRecording:
    """Return the recording with its missing limb leads, where two stored ones give them."""
    known = {lead.name: lead for lead in recording.leads}
    pair = next((pair for pair in _PAIRS if known.keys() >= set(pair)), None)
    if pair is None or known.keys() >= _DOUBLED.keys():
        return recording
    one, other = known[pair[0]], known[pair[1]]
    derived = tuple(_derive(name, one, other) for name in _DOUBLED if name not in known)
    return replace(recording, leads=in_paper_order((*recording.leads, *derived)))


def _derive(name: str, one: EcgLead, other: EcgLead) -> EcgLead:
    weights = _weights(name, one.name, other.name)
    missing = (one.samples == MISSING) | (other.samples == MISSING)
    if one.microvolts_per_step == other.microvolts_per_step and not (one.microvolts_at_zero or other.microvolts_at_zero):
        doubled = one.samples.astype(np.int64) * weights[0] + other.samples.astype(np.int64) * weights[1]
        step = one.microvolts_per_step / 2
        if not np.any(doubled[~missing] % 2):
            doubled, step = doubled // 2, one.microvolts_per_step
    else:
        step = min(abs(one.microvolts_per_step), abs(other.microvolts_per_step)) / 2
        volts = (np.nan_to_num(one.microvolts) * weights[0] + np.nan_to_num(other.microvolts) * weights[1]) / 2
        doubled = np.rint(volts / step).astype(np.int64)
    return EcgLead(name=name, samples=_steps(doubled, missing), microvolts_per_step=step, computed_from=(one.name, other.name))


def _weights(name: str, one: str, other: str) -> tuple[int, int]:
    """Return twice ``name`` as whole multiples of the two stored leads."""
    (a, b), (c, d), (e, f) = _DOUBLED[one], _DOUBLED[other], _DOUBLED[name]
    determinant = a * d - b * c  # 4 or -4 for every pair of Einthoven's triangle
    return 2 * (e * d - f * c) // determinant, 2 * (a * f - b * e) // determinant


def _steps(values: npt.NDArray[np.int64], missing: npt.NDArray[np.bool_]) -> Steps:
    return np.where(missing, MISSING, values).astype(np.int32)
