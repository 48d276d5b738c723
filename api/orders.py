"""Orders entered by people: the page of a day's examinations, and the form for the next one."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import select

from api.house import House, house_of
from api.order_list import local_moment, orders_of_day, stations_of, visible_orders
from api.order_words import order_refusal
from api.pages import language_of, render
from api.refusals import N_, Refusal
from api.signing_in import require
from core.access import Permission, Person
from core.clock import in_county, now
from core.tables import Order, OrderSource, Organisation, Urgency
from pacs_bridge.orders.codes import body_parts, modalities
from pacs_bridge.orders.errors import OrderIsOver, OrderRefused
from pacs_bridge.orders.placing import OrderWish, cancel, place
from pacs_bridge.patient_names import latin_name

router = APIRouter(prefix="/orders", include_in_schema=False)

OurHouse = Annotated[House, Depends(house_of)]
Placer = Annotated[Person, Depends(require(Permission.PLACE_ORDER))]


class NoSuchOrderHere(Refusal):
    """The order does not exist, or belongs to an organisation that the person does not see."""

    status = 404
    message_id = N_("There is no such order among those that you may see.")
    remedy_id = N_("Look for it on the page of its day.")


class NotYourOrganisation(Refusal):
    """An order for an organisation that the person does not belong to."""

    status = 403
    message_id = N_("You may not place orders for this organisation.")
    remedy_id = N_("Choose your own organisation or one below it.")


class NoTime(Refusal):
    """The field of a time holds none."""

    status = 422
    message_id = N_("'%(value)s' is no time.")
    remedy_id = N_("Choose day and time, or leave the field empty: then it is now.")


class OrderForm(BaseModel):
    """What the form says."""

    model_config = ConfigDict(extra="ignore")

    organisation_id: int
    patient_identifier: str = Field("", max_length=64)
    patient_name: str = Field("", max_length=128)
    patient_name_latin: str = Field("", max_length=128)
    sex: str = Field("", max_length=1)
    birth_date: date | None = None
    modality: str = Field("", max_length=16)
    station: str = Field("", max_length=16)
    description: str = Field("", max_length=256)
    body_part: str = Field("", max_length=64)
    reason: str = Field("", max_length=4000)
    requested_by: str = Field("", max_length=64)
    urgency: Urgency = Urgency.ROUTINE
    scheduled: str = Field("", max_length=32)

    @field_validator("birth_date", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    def wish(self, timezone: str) -> OrderWish:
        """Return what is asked for.

        Raises
        ------
        NoTime
            If the time is none.
        """
        try:
            scheduled_at = local_moment(self.scheduled.strip(), timezone)
        except ValueError as error:
            raise NoTime(value=self.scheduled) from error
        said = self.model_dump(exclude={"organisation_id", "scheduled"})
        return OrderWish(**said, scheduled_at=scheduled_at)


@router.get("")
def orders(
    request: Request,
    house: OurHouse,
    person: Placer,
    day: date | None = None,
    placed: Annotated[str, Query(max_length=16)] = "",
) -> Response:
    """Show a day's orders and the form."""
    return _page(request, house, person, day=day, placed=placed)


@router.get("/pinyin")
def pinyin(request: Request, person: Placer, patient_name: Annotated[str, Query(max_length=128)] = "") -> Response:
    """Return the field of the name in Latin letters, filled with pinyin."""
    return render(request, "parts/order_pinyin.html", latin=latin_name(patient_name))


@router.post("")
def place_order(request: Request, house: OurHouse, person: Placer, form: Annotated[OrderForm, Form()]) -> Response:
    """Place an order, where its device stands; one that cannot be placed comes back with its fields and the reason."""
    if form.organisation_id not in person.organisations:
        raise NotYourOrganisation
    wish = form.wish(house.settings.county.timezone)
    try:
        with house.database.writing() as session:
            where = {device.ae_title: device.organisation_id for device in stations_of(session, person)}
            organisation_id = where.get(form.station, form.organisation_id)
            order = place(
                session, wish, organisation_id=organisation_id, source=OrderSource.PAGE, actor=person.actor,
                timezone=house.settings.county.timezone,
            ).order  # fmt: skip
    except OrderRefused as error:
        return _page(request, house, person, form=form, error=error)
    day = in_county(order.scheduled_at, house.settings.county.timezone).date()
    return RedirectResponse("/orders?" + urlencode({"day": day.isoformat(), "placed": order.accession_number}), status_code=303)


@router.post("/{order_id}/cancel")
def cancel_order(
    request: Request, house: OurHouse, person: Placer, order_id: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> Response:
    """Call an order off before it has begun."""
    try:
        with house.database.writing() as session:
            order = session.scalar(visible_orders(person).where(Order.id == order_id))
            if order is None:
                raise NoSuchOrderHere
            cancel(session, order, actor=person.actor)
            day = in_county(order.scheduled_at, house.settings.county.timezone).date()
    except OrderIsOver as error:
        return _page(request, house, person, error=error)
    today = in_county(now(), house.settings.county.timezone).date()
    return RedirectResponse("/orders" if day <= today else f"/orders?day={day}", status_code=303)


def _page(
    request: Request,
    house: House,
    person: Person,
    *,
    day: date | None = None,
    placed: str = "",
    form: OrderForm | None = None,
    error: OrderRefused | None = None,
) -> Response:
    timezone = house.settings.county.timezone
    local: datetime = in_county(now(), timezone)
    shown = day or local.date()
    with house.database.reading() as session:
        places = session.scalars(
            select(Organisation).where(Organisation.id.in_(person.organisations)).order_by(Organisation.level, Organisation.id)
        ).all()
        rows = orders_of_day(session, person, shown, today=local.date(), timezone=timezone)
        stations = stations_of(session, person)
    return render(
        request,
        "orders.html",
        status_code=409 if error else 200,
        rows=rows,
        day=shown,
        today=local.date(),
        before=shown - timedelta(days=1),
        after=shown + timedelta(days=1),
        placed=placed,
        places=places,
        stations=stations,
        modalities=modalities(),
        body_parts=body_parts(),
        form=form or OrderForm(organisation_id=person.organisation_id, requested_by=person.display_name),
        told=order_refusal(error, language_of(request)) if error else None,
        Urgency=Urgency,
    )
