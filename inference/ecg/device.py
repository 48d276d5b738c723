"""What the machine itself printed, as the evidence shows it beside our own: by the codes of the vocabulary, unchanged."""

from __future__ import annotations

from typing import Any

from inference.ecg.waveform import Ecg

#: Our code of each number that a machine prints (``PrintedMeasurements``). ``ecg_qtc`` is a QTc whose formula nobody names.
DEVICE_CODES = {
    "heart_rate": "ecg_heart_rate",
    "rr_ms": "ecg_rr",
    "pr_ms": "ecg_pr",
    "qrs_ms": "ecg_qrs",
    "qt_ms": "ecg_qt",
    "qtc_ms": "ecg_qtc",
    "qtc_bazett_ms": "ecg_qtc_bazett",
    "qtc_fridericia_ms": "ecg_qtc_fridericia",
    "p_axis": "ecg_axis_p",
    "qrs_axis": "ecg_axis_qrs",
    "t_axis": "ecg_axis_t",
}


def device_evidence(ecg: Ecg) -> dict[str, Any] | None:
    """Return ``values`` by code, ``statements`` and ``source``, maker and model; None where the object carries neither number
    nor statement of a machine."""
    values = {code: value for name, code in DEVICE_CODES.items() if (value := getattr(ecg.printed, name)) is not None}
    if not values and not ecg.printed.statements:
        return None
    return {"values": values, "statements": list(ecg.printed.statements), "source": ecg.device}
