"""The orders of a day, with what became of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import Session, joinedload

from core.access import Person
from core.lifecycles.order import OrderState
from core.tables import Device, Order, Study

#: More orders than these stand on no page.
MOST = 500
OPEN = (OrderState.SCHEDULED, OrderState.IN_PROGRESS)


@dataclass(frozen=True, kw_only=True)
class OrderRow:
    """One order, and the study that was made for it."""

    order: Order
    study: Study | None


def orders_of_day(session: Session, person: Person, day: date, *, today: date, timezone: str) -> list[OrderRow]:
    """Return the orders of a day of the county by time; with today's, those of earlier days that still wait."""
    begin, end = _moment(day, timezone), _moment(day + timedelta(days=1), timezone)
    wanted = and_(Order.scheduled_at >= begin, Order.scheduled_at < end)
    if day == today:
        wanted = or_(wanted, and_(Order.scheduled_at < begin, Order.state.in_(OPEN)))
    query = visible_orders(person).where(wanted).order_by(Order.scheduled_at, Order.id).limit(MOST)
    loads = (joinedload(Order.patient), joinedload(Order.organisation), joinedload(Order.device))
    orders = session.scalars(query.options(*loads)).all()
    studies = _studies(session, orders)
    return [OrderRow(order=order, study=studies.get(order.id)) for order in orders]


def visible_orders(person: Person) -> Select[Order]:
    """Return the query of all orders that a person may see."""
    return select(Order).where(Order.organisation_id.in_(person.organisations))


def stations_of(session: Session, person: Person) -> Sequence[Device]:
    """Return the devices that an order may be meant for."""
    query = select(Device).where(
        Device.organisation_id.in_(person.organisations), Device.dismissed_at.is_(None), Device.may_ask_worklist.is_(True)
    )
    return session.scalars(query.options(joinedload(Device.organisation)).order_by(Device.organisation_id, Device.name)).all()


def local_moment(text: str, timezone: str) -> datetime | None:
    """Return the moment that a browser's field (``2026-11-25T10:30``) says in the county; None for an empty one."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC) if text else None


def _moment(day: date, timezone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(timezone))


def _studies(session: Session, orders: Sequence[Order]) -> dict[int, Study]:
    """Return the studies by order: of the order's own UID, else of its accession number in its organisation."""
    by_uid = {order.study_instance_uid: order.id for order in orders}
    by_number = {(order.organisation_id, order.accession_number): order.id for order in orders}
    found = select(Study).where(
        or_(
            Study.study_instance_uid.in_(by_uid),
            Study.accession_number.in_({number for _, number in by_number}),
        )
    )
    studies: dict[int, Study] = {}
    for study in session.scalars(found):
        order = by_uid.get(study.study_instance_uid) or by_number.get((study.organisation_id, study.accession_number))
        if order is not None:
            studies[order] = study
    return studies
