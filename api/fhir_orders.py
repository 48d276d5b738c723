"""Orders over FHIR R4: a hospital system places a ServiceRequest and reads what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.fhir_answers import FhirResponse, FhirRoute
from api.fhir_caller import MayNotQuery, TokenNeeded
from api.fhir_codes import both
from api.forms import sent_form_token
from api.house import House, house_of
from api.order_fhir import (
    ServiceRequest,
    contained_patient,
    expression_of,
    patient_identifier,
    read_request,
    service_request,
    wish_of,
)
from api.order_words import order_refusal
from api.refusals import N_, Refusal
from api.signing_in import COOKIE, current_person
from core import audit
from core.access import Permission, reach
from core.passwords import token_hash
from core.tables import Device, Order, OrderSource, Organisation, Patient
from pacs_bridge.orders.errors import NumberInUse, OrderRefused
from pacs_bridge.orders.placing import place

router = APIRouter(prefix="/fhir", route_class=FhirRoute, tags=["FHIR"])

OurHouse = Annotated[House, Depends(house_of)]

_BEARER = "bearer "
_MOST_BYTES = 256 * 1024


class TooLong(Refusal):
    """A request larger than any order."""

    status = 413
    message_id = N_("The request is longer than %(kib)s KiB.")
    remedy_id = N_("Send the order alone, without documents.")


class NoSuchFacility(Refusal):
    """The organisation that is to examine is unknown, or not below the asking one."""

    status = 422
    message_id = N_("There is no organisation '%(code)s' that you may order from.")
    remedy_id = N_("Leave the performer of type Organization out, or give the code of an organisation below yours.")


class NoSuchRequest(Refusal):
    """The order does not exist, or is somebody else's; we do not say which."""

    status = 404
    message_id = N_("There is no such order among those that you may see.")
    remedy_id = N_("Look for it on the page of its day.")


@dataclass(frozen=True, kw_only=True)
class Placer:
    """Who places and reads orders, and for which organisations."""

    actor: str
    organisation_id: int
    organisations: frozenset[int]


def placer_of(request: Request, house: OurHouse, form_token: Annotated[str, Depends(sent_form_token)]) -> Placer:
    """Return who asks: a device's token with the permission to query, or a signed-in person who may place orders.

    Raises
    ------
    TokenNeeded, MayNotQuery, NotAllowed
        If nobody is known, or they may not.
    """
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith(_BEARER):
        return _device(house, authorization[len(_BEARER) :].strip())
    if COOKIE not in request.cookies:
        raise TokenNeeded
    person = current_person(request, house, form_token)
    person.must(Permission.PLACE_ORDER)
    return Placer(actor=person.actor, organisation_id=person.organisation_id, organisations=person.organisations)


async def sent_body(request: Request) -> bytes:
    """Return the body, which is no longer than an order: a FastAPI dependency."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise TooLong(kib=_MOST_BYTES >> 10)
    return body


OurPlacer = Annotated[Placer, Depends(placer_of)]


@router.post(
    "/ServiceRequest",
    operation_id="place_service_request",
    summary="Place an order",
    status_code=201,
    response_class=FhirResponse,
    openapi_extra={"requestBody": {"content": {"application/fhir+json": {"schema": ServiceRequest.model_json_schema()}}}},
)
def place_service_request(house: OurHouse, placer: OurPlacer, body: Annotated[bytes, Depends(sent_body)]) -> Response:
    """Place an order: 201 with its address; 200 where the same identifier with the same content was placed before."""
    request = read_request(body)
    try:
        with house.database.writing() as session:
            organisation_id = _organisation(session, placer, request.performing("Organization"))
            wish = wish_of(request, _known(session, request, organisation_id), timezone=house.settings.county.timezone)
            placed = place(
                session, wish, organisation_id=organisation_id, source=OrderSource.FHIR, actor=placer.actor,
                timezone=house.settings.county.timezone,
            )  # fmt: skip
            content, order_id = service_request(placed.order), placed.order.id
    except OrderRefused as error:
        return _refused(error)
    location = f"{house.settings.web_address}/fhir/ServiceRequest/{order_id}"
    return FhirResponse(content, 201 if placed.new else 200, headers={"Location": location})


@router.get("/ServiceRequest/{order_id}", operation_id="read_service_request", summary="One order", response_class=FhirResponse)
def read_service_request(house: OurHouse, placer: OurPlacer, order_id: str) -> Response:
    """Return an order with its state: active, completed or revoked."""
    with house.database.writing() as session:
        query = select(Order).where(Order.organisation_id.in_(placer.organisations))
        number = int(order_id) if order_id.isascii() and order_id.isdigit() and len(order_id) < 16 else 0
        order = session.scalar(query.where(Order.id == number))
        if order is None:
            raise NoSuchRequest
        audit.record(session, placer.actor, "order_read", f"order:{order.accession_number}", {"door": "fhir"})
        return FhirResponse(service_request(order))


def _device(house: House, token: str) -> Placer:
    with house.database.reading() as session:
        device = session.scalar(select(Device).where(Device.token_hash == token_hash(token), Device.dismissed_at.is_(None)))
        if device is None:
            raise TokenNeeded
        if not device.may_query:
            raise MayNotQuery
        return Placer(
            actor=f"device:{device.ae_title}",
            organisation_id=device.organisation_id,
            organisations=frozenset(reach(session, device.organisation_id)),
        )


def _organisation(session: Session, placer: Placer, code: str) -> int:
    if not code:
        return placer.organisation_id
    found = session.scalar(select(Organisation.id).where(Organisation.code == code))
    if found is None or found not in placer.organisations:
        raise NoSuchFacility(code=code)
    return found


def _known(session: Session, request: ServiceRequest, organisation_id: int) -> Patient | None:
    """Return our patient of the subject's identifier, where the request contains none."""
    identifier = patient_identifier(request)
    if contained_patient(request) is not None or not identifier:
        return None
    return session.scalar(select(Patient).where(Patient.organisation_id == organisation_id, Patient.identifier == identifier))


def _refused(error: OrderRefused) -> Response:
    zh, en = (" ".join(order_refusal(error, language)) for language in ("zh", "en"))
    conflict = isinstance(error, NumberInUse)
    issue: dict[str, Any] = {
        "severity": "error", "code": "conflict" if conflict else "invalid", "details": both(zh, en), "diagnostics": str(error),
    }  # fmt: skip
    if expression_of(error):
        issue["expression"] = [expression_of(error)]
    return FhirResponse({"resourceType": "OperationOutcome", "issue": [issue]}, 409 if conflict else 422)
