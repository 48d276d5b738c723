"""How often a ventricular or an early beat is found where PTB-XL's reports speak of such beats, and in normal recordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.ecg.delineation import Delineator
from inference.ecg.leads import LEADS, with_derived_leads
from inference.ecg.measure import measure
from inference.ecg.waveform import Ecg, Filters
from models.ecg.data import Recordings, read_folds
from models.ecg.preprocessing import LEADS as EIGHT
from models.ecg.preprocessing import RATE

#: Groups of recordings: statements of which one is there, and statements of which none may be.
_EXTRA = ("PVC", "PAC", "BIGU", "TRIGU", "SVARR")
_BLOCKS = ("CLBBB", "CRBBB")
GROUPS = {
    "PVC": (("PVC",), ()),
    "PAC": (("PAC",), ("PVC",)),
    "NORM": (("NORM",), _EXTRA),
    "AFIB": (("AFIB",), _EXTRA),
    "bundle branch block": (_BLOCKS, (*_EXTRA, "AFIB")),
    "PACE": (("PACE",), _EXTRA),
    "SARRH": (("SARRH",), _EXTRA),
}
#: Of each group the first so many recordings; measuring takes a fifth of a second each.
_MOST = 150


def beat_figures(data: Path, folds: Sequence[int], delineator: Delineator) -> dict[str, dict[str, int]]:
    """Return by group how many recordings there are, and in how many a ventricular (``V``) or an early beat (``S``) is found.

    Reports say nothing of each beat, and leave many single extrasystoles out.
    """
    recordings = read_folds(data, folds)
    found: dict[str, dict[str, int]] = {}
    for name, (wanted, unwanted) in GROUPS.items():
        chosen = np.flatnonzero(_any(recordings, wanted) & ~_any(recordings, unwanted))[:_MOST]
        kinds = [_kinds(recordings.microvolts[number], delineator) for number in chosen]
        found[name] = {
            "records": len(kinds),
            "with_ventricular": sum("V" in of_one for of_one in kinds),
            "with_early": sum("S" in of_one for of_one in kinds),
        }
    return {name: row for name, row in found.items() if row["records"]}


def _any(recordings: Recordings, statements: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bool_]]:
    columns = [recordings.statements.index(code) for code in statements if code in recordings.statements]
    return np.asarray((recordings.labels[:, columns] == 1).any(axis=1))


def _kinds(microvolts: np.ndarray[Any, np.dtype[np.int16]], delineator: Delineator) -> set[str]:
    stored = dict(zip(EIGHT, microvolts.astype(np.float64), strict=True))
    leads, _ = with_derived_leads(stored)
    ecg = Ecg(
        sop_instance_uid="",
        leads=LEADS,
        microvolts=np.stack([leads[name] for name in LEADS]).astype(np.float32),
        sampling_rate=RATE,
        filters=Filters(),
    )
    return {beat.kind for beat in measure(ecg, LEADS, delineator).beats}
