"""FHIR R4 ServiceRequest and what an order is: pure functions between the two."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.fhir_codes import tables
from api.refusals import N_, Refusal
from core.lifecycles.order import OrderState
from core.tables import Order, Patient, Urgency
from pacs_bridge.orders.codes import modality_of
from pacs_bridge.orders.errors import LacksInformation, OrderRefused
from pacs_bridge.orders.placing import OrderWish

_IDENTIFIER_TYPE = "http://terminology.hl7.org/CodeSystem/v2-0203"
_GENDERS = {"male": "M", "female": "F", "other": "O"}
_STATUS = {
    OrderState.SCHEDULED: "active",
    OrderState.IN_PROGRESS: "active",
    OrderState.COMPLETED: "completed",
    OrderState.DISCONTINUED: "revoked",
    OrderState.CANCELLED: "revoked",
}


class NotAServiceRequest(Refusal):
    """The body is no ServiceRequest that can be read; ``values["fields"]`` says where."""

    status = 422
    message_id = N_("This is no ServiceRequest that can be read: %(fields)s.")
    remedy_id = N_("Send FHIR R4 JSON; docs/orders.md shows a whole example.")


class NotAnActiveOrder(Refusal):
    """A plan, a draft, or a request that is over."""

    status = 422
    message_id = N_("Only an active order is taken, not '%(status)s' '%(intent)s'.")
    remedy_id = N_("Send status 'active' and intent 'order'.")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Coding(_Part):
    """A code of a system."""

    system: str = Field("", max_length=256)
    code: str = Field("", max_length=64)
    display: str = Field("", max_length=256)


class Concept(_Part):
    """CodeableConcept."""

    coding: list[Coding] = Field([], max_length=20)
    text: str = Field("", max_length=4000)

    @property
    def words(self) -> str:
        """What a person reads."""
        return self.text or next((one.display for one in self.coding if one.display), "") or self.code

    @property
    def code(self) -> str:
        """The first code."""
        return next((one.code for one in self.coding if one.code), "")


class Identifier(_Part):
    """Identifier."""

    type: Concept = Concept()
    value: str = Field("", max_length=64)


class Name(_Part):
    """HumanName."""

    text: str = Field("", max_length=256)
    family: str = Field("", max_length=128)
    given: list[str] = Field([], max_length=8)

    @property
    def written(self) -> str:
        """The whole name, family name first."""
        return self.text or "^".join(filter(None, (self.family, " ".join(self.given))))


class Reference(_Part):
    """Reference: to a contained resource, or by identifier."""

    reference: str = Field("", max_length=256)
    type: str = Field("", max_length=64)
    identifier: Identifier = Identifier()
    display: str = Field("", max_length=256)


class Contained(_Part):
    """A contained Patient; others are passed over."""

    resourceType: str = Field(max_length=64)  # noqa: N815
    id: str = Field("", max_length=64)
    identifier: list[Identifier] = Field([], max_length=20)
    name: list[Name] = Field([], max_length=20)
    gender: str = Field("", max_length=16)
    birthDate: str = Field("", max_length=10)  # noqa: N815


class ServiceRequest(_Part):
    """What Sumu reads of a ServiceRequest."""

    resourceType: str = Field(pattern="^ServiceRequest$")  # noqa: N815
    status: str = Field(max_length=32)
    intent: str = Field(max_length=32)
    identifier: list[Identifier] = Field([], max_length=20)
    contained: list[Contained] = Field([], max_length=20)
    category: list[Concept] = Field([], max_length=20)
    priority: str = Field("routine", max_length=16)
    code: Concept = Concept()
    orderDetail: list[Concept] = Field([], max_length=20)  # noqa: N815
    subject: Reference
    occurrenceDateTime: str = Field("", max_length=40)  # noqa: N815
    requester: Reference = Reference()
    performer: list[Reference] = Field([], max_length=20)
    reasonCode: list[Concept] = Field([], max_length=20)  # noqa: N815
    bodySite: list[Concept] = Field([], max_length=20)  # noqa: N815

    def performing(self, kind: str) -> str:
        """Return the identifier of the performer of a type: an organisation's code, a device's AE title."""
        return next((one.identifier.value for one in self.performer if one.type == kind), "")


def read_request(body: bytes) -> ServiceRequest:
    """Return the request in a body.

    Raises
    ------
    NotAServiceRequest, NotAnActiveOrder
        If it is none, or none that is to be done.
    """
    if b"\\u0000" in body:  # PostgreSQL keeps none
        raise NotAServiceRequest(fields="NUL")
    try:
        request = ServiceRequest.model_validate_json(body)
    except ValidationError as error:
        places = [".".join(map(str, problem["loc"])) or "JSON" for problem in error.errors()]
        raise NotAServiceRequest(fields=", ".join(places[:5])) from error
    if request.status != "active" or not request.intent.endswith("order"):
        raise NotAnActiveOrder(status=request.status, intent=request.intent)
    return request


def wish_of(request: ServiceRequest, known: Patient | None, *, timezone: str) -> OrderWish:
    """Return what a request asks for; ``known`` is our patient of the subject's identifier, for a subject that is not contained.

    Raises
    ------
    OrderRefused
        If it lacks something or a code is unknown.
    """
    patient = contained_patient(request)
    if patient is not None:
        names = [name.written for name in patient.name if name.written]
        name = next((one for one in names if not one.isascii()), names[0] if names else "")
        latin = next((one for one in names if one.isascii()), "") if not name.isascii() else ""
        who = {
            "patient_identifier": patient_identifier(request),
            "patient_name": name,
            "patient_name_latin": latin,
            "sex": _GENDERS.get(patient.gender, ""),
            "birth_date": _birth_date(patient.birthDate),
        }
    elif known is not None:
        who = {"patient_identifier": known.identifier, "patient_name": known.name, "patient_name_latin": known.name_latin}
    else:
        raise LacksInformation("patient_identifier", "a contained Patient, or the identifier of one who is known here")
    return OrderWish(
        **who,  # type: ignore[arg-type]
        modality=_modality(request),
        description=request.code.words,
        body_part=next((site.code or site.text for site in request.bodySite), ""),
        reason="\n".join(filter(None, (reason.words for reason in request.reasonCode))),
        requested_by=request.requester.display,
        urgency=Urgency.ROUTINE if request.priority == "routine" else Urgency.URGENT,
        station=request.performing("Device"),
        scheduled_at=_moment(request.occurrenceDateTime, timezone),
        placer_number=_placer_number(request),
    )


def contained_patient(request: ServiceRequest) -> Contained | None:
    """Return the Patient that the subject refers to inside the request."""
    for one in request.contained:
        if one.resourceType == "Patient" and request.subject.reference in (f"#{one.id}", "#") and one.id:
            return one
    return None


def patient_identifier(request: ServiceRequest) -> str:
    """Return the patient's identifier: of the contained Patient, else of the reference."""
    patient = contained_patient(request)
    if patient is None:
        return request.subject.identifier.value
    records = [one for one in patient.identifier if one.type.code == "MR"] or patient.identifier
    return next((one.value for one in records if one.value), "")


def service_request(order: Order) -> dict[str, Any]:
    """Return an order as a ServiceRequest; it validates against R4."""
    patient = order.patient
    names = [{"use": "official", "text": patient.name}]
    if patient.name_latin and patient.name_latin != patient.name.lower():
        names.append({"use": "usual", "text": patient.name_latin})
    who: dict[str, Any] = {
        "resourceType": "Patient",
        "id": "patient",
        "identifier": [{"type": _type("MR"), "value": patient.identifier}],
        "name": names,
    }
    if patient.sex in _GENDERS.values():
        who["gender"] = next(word for word, letter in _GENDERS.items() if letter == patient.sex)
    if patient.birth_date:
        who["birthDate"] = patient.birth_date.isoformat()
    identifiers: list[dict[str, Any]] = [{"type": _type("ACSN"), "value": order.accession_number}]
    if order.placer_number:
        identifiers.append({"type": _type("PLAC"), "value": order.placer_number})
    identifiers.append({"system": "urn:dicom:uid", "value": f"urn:oid:{order.study_instance_uid}"})
    performers: list[dict[str, Any]] = [
        {"type": "Organization", "identifier": {"value": order.organisation.code}, "display": order.organisation.name_zh}
    ]
    if order.device:
        performers.append({"type": "Device", "identifier": {"value": order.device.ae_title}, "display": order.device.name})
    request: dict[str, Any] = {
        "resourceType": "ServiceRequest",
        "id": str(order.id),
        "contained": [who],
        "identifier": identifiers,
        "status": _STATUS[order.state],
        "intent": "order",
        "priority": "routine" if order.urgency is Urgency.ROUTINE else "urgent",
        "code": {"text": order.description},
        "orderDetail": [{"coding": [{"system": tables()["system"]["DCM"], "code": order.modality}]}],
        "subject": {"reference": "#patient"},
        "occurrenceDateTime": _instant(order.scheduled_at),
        "authoredOn": _instant(order.created_at),
        "performer": performers,
    }
    if order.requested_by:
        request["requester"] = {"display": order.requested_by}
    if order.reason:
        request["reasonCode"] = [{"text": order.reason}]
    if order.body_part:
        request["bodySite"] = [{"text": order.body_part}]
    return request


def expression_of(error: OrderRefused) -> str:
    """Return which element an order was refused for, as FHIRPath; empty where it is no single one."""
    return {
        "patient_identifier": "ServiceRequest.subject",
        "patient_name": "ServiceRequest.contained.name",
        "birth_date": "ServiceRequest.contained.birthDate",
        "modality": "ServiceRequest.orderDetail",
        "description": "ServiceRequest.code",
        "start time": "ServiceRequest.occurrence",
    }.get(getattr(error, "field", ""), "")


def _type(code: str) -> dict[str, Any]:
    return {"coding": [{"system": _IDENTIFIER_TYPE, "code": code}]}


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _placer_number(request: ServiceRequest) -> str:
    ours = [one for one in request.identifier if one.type.code not in ("ACSN", "FILL") and one.value]
    return next((one.value for one in ours if one.type.code == "PLAC"), ours[0].value if ours else "")


def _modality(request: ServiceRequest) -> str:
    """Return the modality: a DICOM code in orderDetail, category or code."""
    for concept in (*request.orderDetail, *request.category, request.code):
        for one in concept.coding:
            if one.system == tables()["system"]["DCM"] and one.code:
                return modality_of(one.code)
    raise LacksInformation("modality", f"a modality: orderDetail with a coding of {tables()['system']['DCM']}, as CT")


def _birth_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 else None
    except ValueError as error:
        raise NotAServiceRequest(fields="contained.birthDate") from error


def _moment(text: str, timezone: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(timezone))).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotAServiceRequest(fields="occurrenceDateTime") from error
