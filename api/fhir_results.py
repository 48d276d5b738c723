"""Results over FHIR R4: reports as DiagnosticReport, numbers and findings of pre-reads and doctors as Observation. Reading only.

Every question is scoped by the caller's organisations and leaves an audit event that names the studies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from api.ecg_measuring import measurements_of
from api.fhir_answers import FhirResponse, FhirRoute
from api.fhir_caller import Caller, caller_of
from api.fhir_ecg import DOCTORS, code_of, measured_observation
from api.fhir_resources import bundle, diagnostic_report, observation
from api.house import House, house_of
from api.preread_words import latest
from api.refusals import N_, Refusal
from api.reports import signed_report
from core import audit
from core.lifecycles.preread import PreReadState
from core.tables import EcgMeasurement, Finding, Measurement, Patient, PreRead, Study

_OID = "urn:oid:"
_MOST = 100

router = APIRouter(prefix="/fhir", route_class=FhirRoute, tags=["FHIR"])


class NoSuchResource(Refusal):
    """The resource does not exist, or belongs to an organisation that the caller does not see; we do not say which."""

    status = 404
    message_id = N_("There is no such resource among those that you may see.")
    remedy_id = N_("Search by study, accession or patient first; the answer names the resources.")


class SearchNeedsKey(Refusal):
    """A search over everything."""

    status = 400
    message_id = N_("This search names neither a study nor an accession number nor a patient.")
    remedy_id = N_("Add study=, accession=, identifier= or patient.identifier= to the address.")


class Search(BaseModel):
    """What may be searched by; all that is given must agree."""

    model_config = ConfigDict(populate_by_name=True)

    study: str = Field("", max_length=128, description="Study Instance UID, with or without `urn:oid:`.")
    accession: str = Field("", max_length=128, description="Accession number.")
    identifier: str = Field("", max_length=256, description="Either of the two, as `system|value` or as the value alone.")
    patient: str = Field("", alias="patient.identifier", max_length=128, description="Patient ID, as `system|value` or alone.")
    count: int = Field(20, alias="_count", ge=1, le=_MOST, description="Studies on one page.")
    page: int = Field(1, ge=1, le=10_000, description="Page, from 1.")

    def narrowed(self, studies: Select[Study]) -> Select[Study]:
        """Return the studies that were asked for.

        Raises
        ------
        SearchNeedsKey
            If nothing was given.
        """
        wishes: list[ColumnElement[bool]] = []
        if self.study:
            wishes.append(Study.study_instance_uid == _value(self.study))
        if self.accession:
            wishes.append(Study.accession_number == _value(self.accession))
        if self.identifier:
            value = _value(self.identifier)
            wishes.append(or_(Study.study_instance_uid == value, Study.accession_number == value))
        if self.patient:
            wishes.append(Study.patient_id.in_(select(Patient.id).where(Patient.identifier == _value(self.patient))))
        if not wishes:
            raise SearchNeedsKey
        return studies.where(*wishes)

    def address(self, base: str, page: int) -> str:
        """Return the address of a page of this search."""
        asked = {key: value for key, value in self.model_dump(by_alias=True, exclude={"page"}).items() if value}
        return f"{base}?{urlencode({**asked, 'page': page})}"


OurHouse = Annotated[House, Depends(house_of)]
Asking = Annotated[Caller, Depends(caller_of)]
Wish = Annotated[Search, Query()]


@router.get("/DiagnosticReport/{report_id}", operation_id="fhir_report", summary="The report of a study")
def read_report(house: OurHouse, caller: Asking, report_id: str) -> FhirResponse:
    """Return a DiagnosticReport: final when signed, amended after an addendum, preliminary while only machines have read."""
    with house.database.reading() as session:
        study = _seen(session, caller, _key(report_id))
        resource = _report(session, house, study)
    _trace(house, caller, "fhir_read", [study], {"resource": f"DiagnosticReport/{report_id}"})
    return FhirResponse(resource)


@router.get(
    "/Observation/{observation_id}",
    operation_id="fhir_observation",
    summary="One number or finding of a pre-read, or one interval that a doctor measured",
)
def read_observation(house: OurHouse, caller: Asking, observation_id: str) -> FhirResponse:
    """Return an Observation: a machine's is preliminary and names the models that say it, a doctor's names the doctor."""
    with house.database.reading() as session:
        find = _of_doctor if observation_id.startswith(DOCTORS) else _of_pre_read
        study, resource = find(session, caller, observation_id)
    _trace(house, caller, "fhir_read", [study], {"resource": f"Observation/{observation_id}"})
    return FhirResponse(resource)


@router.get("/DiagnosticReport", operation_id="fhir_reports", summary="Reports of a study or a patient")
def search_reports(house: OurHouse, caller: Asking, wish: Wish) -> FhirResponse:
    """Return a Bundle, newest study first."""
    with house.database.reading() as session:
        studies, total = _page(session, caller, wish)
        found = [_report(session, house, study) for study in studies]
    _trace(house, caller, "fhir_searched", studies, {"resource": "DiagnosticReport"})
    return _answer(house, "DiagnosticReport", wish, found, total)


@router.get("/Observation", operation_id="fhir_observations", summary="Numbers and findings of a study")
def search_observations(house: OurHouse, caller: Asking, wish: Wish, code: str = "") -> FhirResponse:
    """Return a Bundle of the Observations that hold: the newest pre-reads' and, after them, the doctors'.

    ``code`` keeps those with one code, as ``system|code`` or alone.
    """
    with house.database.reading() as session:
        studies, total = _page(session, caller, wish)
        found = [one for study in studies for one in _observations(session, study)]
    wanted = _value(code)
    found = [one for one in found if not wanted or wanted in _codes(one)]
    _trace(house, caller, "fhir_searched", studies, {"resource": "Observation"})
    return _answer(house, "Observation", wish, found, total, counted=len(found))


def _page(session: Session, caller: Caller, wish: Search) -> tuple[Sequence[Study], int]:
    query = wish.narrowed(caller.studies())
    total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    ordered = query.order_by(Study.first_received_at.desc(), Study.id.desc())
    return session.scalars(ordered.offset((wish.page - 1) * wish.count).limit(wish.count)).all(), total


def _answer(
    house: House, kind: str, wish: Search, found: list[dict[str, Any]], total: int, *, counted: int | None = None
) -> FhirResponse:
    base = f"{house.settings.web_address}/fhir"
    links = {"self": wish.address(f"{base}/{kind}", wish.page)}
    further = wish.page * wish.count < total
    if further:
        links["next"] = wish.address(f"{base}/{kind}", wish.page + 1)
    # Pages are pages of studies: the number of Observations is known only when one page holds them all.
    known = total if counted is None else counted if wish.page == 1 and not further else None
    return FhirResponse(bundle(found, address=base, total=known, links=links))


def _report(session: Session, house: House, study: Study) -> dict[str, Any]:
    return diagnostic_report(
        study,
        signed_report(session, study),
        _read(session, study),
        measured=measurements_of(session, study),
        web_address=house.settings.web_address,
    )


def _observations(session: Session, study: Study) -> Iterable[dict[str, Any]]:
    for pre_read in _read(session, study):
        for row in _rows(pre_read):
            yield observation(row, pre_read)
    signed_at = _signed_at(session, study)
    for measured in measurements_of(session, study).values():
        for code in measured.values:
            yield measured_observation(measured, code, holds=True, signed_at=signed_at)


def _of_pre_read(session: Session, caller: Caller, observation_id: str) -> tuple[Study, dict[str, Any]]:
    row = _row(session, observation_id[:1], _key(observation_id[1:]))
    pre_read = session.get(PreRead, row.pre_read_id) if row else None
    if row is None or pre_read is None or pre_read.state is not PreReadState.READ:
        raise NoSuchResource
    return _seen(session, caller, pre_read.study_id), observation(row, pre_read)


def _of_doctor(session: Session, caller: Caller, observation_id: str) -> tuple[Study, dict[str, Any]]:
    row = session.get(EcgMeasurement, _key(observation_id.removeprefix(DOCTORS).partition("-")[0]))
    code = code_of(row, observation_id) if row else None
    if row is None or code is None:
        raise NoSuchResource
    study = _seen(session, caller, row.study_id)
    holds = measurements_of(session, study).get(row.sop_instance_uid) is row
    return study, measured_observation(row, code, holds=holds, signed_at=_signed_at(session, study))


def _seen(session: Session, caller: Caller, study_id: int) -> Study:
    study = session.scalar(caller.studies().where(Study.id == study_id))
    if study is None:
        raise NoSuchResource
    return study


def _signed_at(session: Session, study: Study) -> datetime | None:
    version = signed_report(session, study)
    return version.signed_at if version else None


def _read(session: Session, study: Study) -> list[PreRead]:
    query = select(PreRead).where(PreRead.study_id == study.id).order_by(PreRead.id)
    return [one for one in latest(session.scalars(query)) if one.state is PreReadState.READ]


def _rows(pre_read: PreRead) -> Iterable[Finding | Measurement]:
    yield from pre_read.measurements
    yield from pre_read.findings


def _row(session: Session, kind: str, key: int) -> Finding | Measurement | None:
    if kind == "m":
        return session.get(Measurement, key)
    return session.get(Finding, key) if kind == "f" else None


def _codes(resource: dict[str, Any]) -> set[str]:
    concepts = [resource["code"], resource.get("valueCodeableConcept", {})]
    return {coding["code"] for concept in concepts for coding in concept.get("coding", [])}


def _value(token: str) -> str:
    """Return the value of a token parameter, without its system and without ``urn:oid:``."""
    return token.rpartition("|")[2].strip().removeprefix(_OID)


def _key(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NoSuchResource
    return int(text)


def _trace(house: House, caller: Caller, action: str, studies: Sequence[Study], detail: dict[str, Any]) -> None:
    """Leave one event a study: whoever asks later who saw a study finds it under the study."""
    if not studies:
        return
    with house.database.writing() as session:
        for study in studies:
            audit.record(session, caller.actor, action, f"study:{study.study_instance_uid}", detail)
