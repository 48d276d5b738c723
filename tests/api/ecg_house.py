"""Studies of one heart at two times, as device and pre-read leave them, with every interval known."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydicom.uid import generate_uid

from core.clock import now
from core.lifecycles.preread import PreReadState
from core.tables import Measurement, PreRead
from inference.ecg.leads import LEADS
from tests.api.film_house import BIRTH_DATE, FilmHouse, study_of
from tests.inference.ecg.hearts import ecg_dataset, heart, regular

#: Seconds of the heart that the tests draw.
PR, QRS, QT, RR = 0.16, 0.09, 0.38, 0.8


def receive_ecg(
    house: FilmHouse,
    patient: str,
    *,
    rr: float = RR,
    pr: float = PR,
    qrs: float = QRS,
    qt: float = QT,
    hours_ago: float = 0.0,
    kinds: bool = False,
    pre_read: bool = True,
    seconds: float = 10.0,
    noted: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """Put a recording of a regular heart and its pre-read into the house; return the UIDs of study and instance.

    ``noted`` is what the engine notes beside the beats.
    """
    recording = ecg_dataset(heart(regular(rr, seconds=seconds), seconds=seconds, pr=pr, qrs=qrs, qt=qt))
    recording.PatientName, recording.PatientID, recording.PatientBirthDate = "Bai^Yun=白^云", patient, BIRTH_DATE
    recording.SpecificCharacterSet = "ISO_IR 192"
    recording.SeriesInstanceUID = generate_uid()
    uid, sop = house.receive([recording]), str(recording.SOPInstanceUID)
    with house.database.writing() as session:
        study = study_of(session, uid)
        study.performed_at = now() - timedelta(hours=hours_ago)
        if not pre_read:
            return uid, sop
        session.add(
            PreRead(
                study_id=study.id,
                revision=study.revision,
                engine="ecg",
                state=PreReadState.READ,
                queued_at=now(),
                finished_at=now(),
                models=[{"name": "test model", "version": "1.0", "weights_sha256": "ab" * 32, "preprocessing": "none"}],
                evidence={
                    "sop_instance_uid": sop,
                    "beats": beats_of_heart(rr, pr, qrs, qt, kinds=kinds, seconds=seconds),
                    **(noted or {}),
                },
                measurements=[
                    Measurement(code=code, value=value, sop_instance_uid=sop)
                    for code, value in {
                        "ecg_heart_rate": 60 / rr,
                        "ecg_rr": rr * 1000,
                        "ecg_pr": pr * 1000,
                        "ecg_qrs": qrs * 1000,
                        "ecg_qt": qt * 1000,
                        "ecg_qtc_bazett": qt * 1000 / rr**0.5,
                        "ecg_qtc_fridericia": qt * 1000 / rr ** (1 / 3),
                    }.items()
                ],
            )
        )
    return uid, sop


#: What the engine notes of a doubtful recording (``inference.ecg.engine``).
DOUBTFUL: dict[str, Any] = {
    "leads": {**dict.fromkeys(LEADS, "good"), "V2": "noisy", "aVL": "mains"},
    "quality": {"usable": True, "unacceptable": 0.032, "exchange": "RA/LA", "exchange_probability": 0.913},
    "rhythm_lead": "II",
    "rhythm": {"atrial_rate": 74.9, "rr_shortest_ms": 798.0, "rr_sd_ms": 0.9},
    "heights": {name: {"r": 0.5 + number / 10, "s": 0.25, "j": -0.004, "st60": -0.12} for number, name in enumerate(LEADS)},
    "absent": {"ecg_axis_p": "ecg_axis_unclear"},
    "network_silent": None,
    "device": {
        "values": {"ecg_heart_rate": 76, "ecg_pr": 158, "ecg_qt": 384, "ecg_qtc": 431},
        "statements": ["窦性心律", "正常心电图"],
        "source": "Maker R12",
    },
}


def beats_of_heart(
    rr: float, pr: float, qrs: float, qt: float, *, kinds: bool = False, seconds: float = 10.0
) -> list[dict[str, Any]]:
    """Return the evidence of a pre-read that sees every wave of ``heart()`` where it is."""
    return [
        {
            "p_on": round(onset - pr, 3),
            "p_off": round(onset - pr + 0.1, 3),
            "qrs_on": round(onset, 3),
            "r": round(onset + 0.48 * qrs, 3),
            "qrs_off": round(onset + qrs, 3),
            "t_on": round(onset + qt - 0.2, 3),
            "t_off": round(onset + qt, 3),
            **({"kind": {3: "V", 6: "S"}.get(number, "N")} if kinds else {}),
        }
        for number, onset in enumerate(regular(rr, seconds=seconds))
    ]
