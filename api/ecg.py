"""One ECG recording: drawn by the server, handed to the page as numbers, laid beside an earlier one, measured by a doctor."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from api.county_words import county_time
from api.ecg_comparison import changes, earlier_ecgs
from api.ecg_evidence import EcgEvidence, evidence_of
from api.ecg_measuring import keep_measurement, measurements_of
from api.ecg_panel import panel_of
from api.ecg_words import ecg_words, number_words
from api.house import House, house_of
from api.images_of_study import ecgs_of, fetch_ecg
from api.pages import language_of
from api.refusals import NoSuchPage
from api.signing_in import require
from api.studies import visible_study
from api.web.ecg_paper import ecg_paper_svg, paper_plan
from api.web.ecg_signal import signal_of
from core import audit
from core.access import Permission, Person
from core.tables import Instance, Study

router = APIRouter(prefix="/studies/{study_instance_uid}/ecg/{sop_instance_uid}", include_in_schema=False)

OurHouse = Annotated[House, Depends(house_of)]
Looker = Annotated[Person, Depends(require(Permission.SEE_IMAGES))]
Judge = Annotated[Person, Depends(require(Permission.JUDGE_FINDINGS))]

_NOT_KEPT = {"Cache-Control": "no-store"}
#: Numbers that stand beside the averaged beat.
_SHOWN = (
    "ecg_heart_rate",
    "ecg_pr",
    "ecg_qrs",
    "ecg_qt",
    "ecg_qtc_bazett",
    "ecg_qtc_fridericia",
    "ecg_axis_p",
    "ecg_axis_qrs",
    "ecg_axis_t",
)


class Lines(BaseModel):
    """Where a doctor put the lines, in ms from R; null for a wave that is not there."""

    p_on: float | None = None
    p_off: float | None = None
    qrs_on: float | None = None
    qrs_off: float | None = None
    t_on: float | None = None
    t_off: float | None = None


class Measured(BaseModel):
    """What the page sends when a doctor saves, or takes back, a measurement."""

    lines: Lines | None = Field(description="Null takes the measurement back.")


@router.get(".svg")
def ecg_paper(
    request: Request,
    house: OurHouse,
    person: Looker,
    study_instance_uid: str,
    sop_instance_uid: str,
    layout: str = "3x4+1",
    speed: Annotated[float, Query(ge=5, le=100)] = 25,
    gain: Annotated[float, Query(ge=1, le=40)] = 10,
) -> Response:
    """Draw one recording on ECG paper."""
    with house.database.reading() as session:
        study, instance = _recording(session, person, study_instance_uid, sop_instance_uid)
        evidence = evidence_of(session, study, sop_instance_uid)
    svg = ecg_paper_svg(
        fetch_ecg(house.archive, instance),
        layout=layout,
        speed_mm_s=speed,
        gain_mm_mv=gain,
        language=language_of(request),
        beats=evidence.beats if evidence else None,
    )
    return Response(svg, media_type="image/svg+xml", headers=_NOT_KEPT)


@router.get(".json")
def ecg_for_the_page(
    request: Request,
    house: OurHouse,
    person: Looker,
    study_instance_uid: str,
    sop_instance_uid: str,
    start: Annotated[float, Query(ge=0)] = 0.0,
) -> Response:
    """Return samples, paper, beats, numbers and words: all that the page needs to draw and measure by itself."""
    language = language_of(request)
    with house.database.reading() as session:
        study, instance = _recording(session, person, study_instance_uid, sop_instance_uid)
        told = _about(session, house, language, study, sop_instance_uid)
        earlier = [
            {"study": one.study.study_instance_uid, "at": _time(house, language, one.at)}
            for one in earlier_ecgs(session, person, study)
        ]
    answer = {
        "signal": signal_of(fetch_ecg(house.archive, instance), language, start),
        **told,
        "paper": paper_plan(),
        "words": ecg_words(language),
        "names": {code: number_words(code, language) for code in _SHOWN},
        "changed_from": changes(),
        "earlier": earlier,
        "may_measure": person.may(Permission.JUDGE_FINDINGS),
    }
    return JSONResponse(answer, headers=_NOT_KEPT)


@router.get("/beside/{earlier_uid}")
def earlier_ecg(
    request: Request, house: OurHouse, person: Looker, study_instance_uid: str, sop_instance_uid: str, earlier_uid: str
) -> Response:
    """Return an earlier recording of the same patient to lay over this one; looking at it leaves its trace."""
    language = language_of(request)
    with house.database.writing() as session:
        study, _ = _recording(session, person, study_instance_uid, sop_instance_uid)
        found = [one for one in earlier_ecgs(session, person, study) if one.study.study_instance_uid == earlier_uid]
        if not found:
            raise NoSuchPage
        told = _about(session, house, language, found[0].study, found[0].instance.sop_instance_uid)
        audit.record(session, person.actor, "ecg_compared", f"study:{earlier_uid}", {"beside": study_instance_uid})
    signal = signal_of(fetch_ecg(house.archive, found[0].instance), language)
    return JSONResponse({"signal": signal, **told, "at": _time(house, language, found[0].at)}, headers=_NOT_KEPT)


@router.post("/measurement")
def measure(
    request: Request, house: OurHouse, person: Judge, study_instance_uid: str, sop_instance_uid: str, measured: Measured
) -> Response:
    """Keep a doctor's lines, or take them back; the intervals are computed here and returned with who and when."""
    with house.database.writing() as session:
        study, _ = _recording(session, person, study_instance_uid, sop_instance_uid)
        evidence = evidence_of(session, study, sop_instance_uid)
        lines = measured.lines.model_dump() if measured.lines else None
        keep_measurement(session, person, study, sop_instance_uid, lines, evidence.rr_ms if evidence else None)
        return JSONResponse({"doctor": _doctor(session, house, language_of(request), study, sop_instance_uid)}, headers=_NOT_KEPT)


def _recording(session: Session, person: Person, study_uid: str, sop_instance_uid: str) -> tuple[Study, Instance]:
    study = visible_study(session, person, study_uid)
    found = [one for one in ecgs_of(session, study) if one.sop_instance_uid == sop_instance_uid]
    if not found:
        raise NoSuchPage
    return study, found[0]


def _about(session: Session, house: House, language: str, study: Study, sop_instance_uid: str) -> dict[str, Any]:
    evidence = evidence_of(session, study, sop_instance_uid) or EcgEvidence(values={})
    return {
        "beats": list(evidence.beats),
        "rr_ms": evidence.rr_ms,
        "lines": evidence.lines,
        "values": {code: value for code, value in evidence.values.items() if code in _SHOWN},
        "doctor": _doctor(session, house, language, study, sop_instance_uid),
        "evidence": panel_of(evidence, language),
    }


def _doctor(session: Session, house: House, language: str, study: Study, sop_instance_uid: str) -> dict[str, Any] | None:
    kept = measurements_of(session, study).get(sop_instance_uid)
    if kept is None:
        return None
    return {
        "lines": kept.lines,
        "values": kept.values,
        "by": kept.measured_by.display_name,
        "at": _time(house, language, kept.measured_at),
    }


def _time(house: House, language: str, moment: datetime) -> str:
    return county_time(moment, language=language, timezone=house.settings.county.timezone)
