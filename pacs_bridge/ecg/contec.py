"""Contec ECG90A ``.ECG`` files, which no maintained parser reads.

The maker publishes nothing. The layout is known from files with and without connected electrodes: a header of 43 bytes,
rows of eight 16-bit words at 800 Hz (II, III, V1 to V6; zero line at 2048), and a footer that begins with a row of zeros.
A step is 5 µV.
"""

from __future__ import annotations

import struct
from datetime import datetime

import numpy as np

from pacs_bridge.ecg.formats import CONTEC, UnreadableEcg
from pacs_bridge.ecg.recording import MISSING, EcgDevice, EcgLead, EcgPatient, EcgRecording

#: Case number, two bytes, time, two bytes, name, sex, age, weight.
_HEADER = struct.Struct("<8s2x20s2x8sBBB")
_STORED = ("II", "III", "V1", "V2", "V3", "V4", "V5", "V6")
_RATE = 800.0
_MICROVOLTS_PER_STEP = 5.0
_ZERO_LINE = 2048
#: Written for a lead whose electrode is off.
_ELECTRODE_OFF = 0x6800
_SEXES = {0: "F", 1: "M"}


def read_contec(raw: bytes, file_name: str) -> EcgRecording:
    """Read a file of an ECG90A.

    Raises
    ------
    UnreadableEcg
        If it holds no row of samples, or no lead was connected.
    """
    case, time, name, sex, age, _ = _HEADER.unpack_from(raw)
    whole = (len(raw) - _HEADER.size) // (2 * len(_STORED))
    rows = np.frombuffer(raw, "<u2", count=whole * len(_STORED), offset=_HEADER.size).reshape(whole, len(_STORED))
    ends = np.flatnonzero(~rows.any(axis=1))
    notes: list[str] = []
    if len(ends):
        rows = rows[: ends[0]]
    else:
        notes.append("The file has no footer; its end may be missing.")
    if not len(rows):
        raise UnreadableEcg(file_name, CONTEC.name, "it holds no samples", remedy="Copy it from the machine again.")
    off = rows == _ELECTRODE_OFF
    steps = np.where(off, MISSING, rows.astype(np.int32) - _ZERO_LINE).astype(np.int32)
    leads = tuple(
        EcgLead(name=lead, samples=np.ascontiguousarray(steps[:, index]), microvolts_per_step=_MICROVOLTS_PER_STEP)
        for index, lead in enumerate(_STORED)
        if not off[:, index].all()
    )
    if not leads:
        raise UnreadableEcg(file_name, CONTEC.name, "no electrode was connected", remedy="Record the ECG again.")
    if absent := [lead for index, lead in enumerate(_STORED) if off[:, index].all()]:
        notes.append(f"No electrode on {', '.join(absent)}.")
    return EcgRecording(
        format=CONTEC.name,
        leads=leads,
        sampling_rate=_RATE,
        taken_at=_time(_text(time)),
        # The machine asks for no number of the patient; its case number counts recordings on that machine.
        patient=EcgPatient(family_name=_text(name), sex=_SEXES.get(sex, ""), age_years=age or None),
        device=EcgDevice(manufacturer="Contec", model="ECG90A"),
        notes=(*notes, f"Case {_text(case)} on the machine."),
    )


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("gb18030", "replace").strip()


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007 - the machine's wall clock
    except ValueError:
        return None
