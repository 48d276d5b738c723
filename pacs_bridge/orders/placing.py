"""Orders placed, changed and called off: the one way in which the page, HL7 v2 and FHIR reach the table of orders."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime

from pydicom.uid import generate_uid
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import in_county, now
from core.lifecycles.order import ORDER, OrderEvent, OrderState
from core.tables import Device, Order, OrderSource, Organisation, Patient, Urgency
from pacs_bridge.orders.errors import (
    LacksInformation,
    NoSuchOrder,
    NoSuchStation,
    NumberInUse,
    OrderIsOver,
    PatientIsAnother,
)
from pacs_bridge.patient_names import latin_name, normalise_query, search_words, written_name

#: Accession Number (0008,0050) is an SH: 16 characters (PS3.5 6.2).
LONGEST_ACCESSION = 16


@dataclass(frozen=True, kw_only=True)
class OrderWish:
    """What somebody asks for, in our words, before anything is written."""

    patient_identifier: str
    #: As its bearer writes it; a caret between family and given name is taken out where it is Chinese.
    patient_name: str
    #: Latin letters, family name first; empty: pinyin is made.
    patient_name_latin: str = ""
    #: ``M``, ``F``, ``O`` or empty.
    sex: str = ""
    birth_date: date | None = None
    #: Defined term of Modality (0008,0060).
    modality: str
    description: str
    body_part: str = ""
    reason: str = ""
    requested_by: str = ""
    urgency: Urgency = Urgency.ROUTINE
    #: AE title of the device that it is meant for; empty: any of this modality.
    station: str = ""
    #: None: now.
    scheduled_at: datetime | None = None
    #: The number under which the asking system knows it.
    placer_number: str = ""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An order, and whether it is a new one."""

    order: Order
    new: bool


def place(session: Session, wish: OrderWish, *, organisation_id: int, source: OrderSource, actor: str, timezone: str) -> Placed:
    """Write an order to be examined in an organisation; the same placer number with the same content is the same order.

    Parameters
    ----------
    session
        Of ``Database.writing()``.
    timezone
        The county's, for the day in the accession number.

    Raises
    ------
    OrderRefused
        If it lacks something, its patient identifier belongs to somebody else, its device is not there, or its number is on
        another order.
    """
    wish = _complete(wish)
    # One order of an organisation at a time: a number is taken once, and a message that is sent twice finds its order.
    session.scalars(select(Organisation.id).where(Organisation.id == organisation_id).with_for_update()).one()
    known = find(session, wish.placer_number, organisation_id=organisation_id) if wish.placer_number else None
    if known is not None:
        if known.state is OrderState.CANCELLED or not _says(known, wish):
            raise NumberInUse(wish.placer_number, known.accession_number, known.state.value)
        return Placed(order=known, new=False)
    moment = now()
    order = Order(
        organisation_id=organisation_id,
        patient=_patient(session, wish, organisation_id),
        accession_number=_accession_number(session, organisation_id, moment, timezone),
        study_instance_uid=generate_uid(prefix=None),  # 2.25 and a random UUID (PS3.5 B.2)
        device=_station(session, wish, organisation_id),
        scheduled_at=wish.scheduled_at or moment,
        state=ORDER.start,
        source=source,
        created_at=moment,
        placer_number=wish.placer_number,
    )
    _write(order, wish)
    session.add(order)
    session.flush()
    record(session, actor, "order_placed", f"order:{order.accession_number}", _detail(order))
    return Placed(order=order, new=True)


def change(session: Session, order: Order, wish: OrderWish, *, actor: str) -> None:
    """Let an order that no device has begun say what ``wish`` says.

    Raises
    ------
    OrderIsOver
        If it is under way, done or called off.
    OrderRefused
        As for :func:`place`.
    """
    wish = _complete(wish)
    if order.state is not OrderState.SCHEDULED:
        raise OrderIsOver(order.accession_number, order.state.value)
    order.patient = _patient(session, wish, order.organisation_id)
    order.device = _station(session, wish, order.organisation_id)
    order.scheduled_at = wish.scheduled_at or order.scheduled_at
    _write(order, wish)
    session.flush()
    record(session, actor, "order_changed", f"order:{order.accession_number}", _detail(order))


def cancel(session: Session, order: Order, *, actor: str) -> None:
    """Call an order off; calling it off again changes nothing.

    Raises
    ------
    OrderIsOver
        If a device has begun.
    """
    if order.state is OrderState.CANCELLED:
        return
    if not ORDER.allows(order.state, OrderEvent.CANCEL):
        raise OrderIsOver(order.accession_number, order.state.value)
    order.state = ORDER.next(order.state, OrderEvent.CANCEL)
    record(session, actor, "order_cancelled", f"order:{order.accession_number}")


def find(session: Session, placer_number: str, *, organisation_id: int) -> Order | None:
    """Return the organisation's order under the asking system's number; the latest, where it was used again."""
    query = select(Order).where(Order.organisation_id == organisation_id, Order.placer_number == placer_number)
    return session.scalars(query.order_by(Order.id.desc()).limit(1)).first()


def must_find(session: Session, placer_number: str, *, organisation_id: int) -> Order:
    """Return the order, or raise :class:`NoSuchOrder`."""
    order = find(session, placer_number, organisation_id=organisation_id)
    if order is None:
        raise NoSuchOrder(placer_number)
    return order


def _complete(wish: OrderWish) -> OrderWish:
    """Return the wish as the columns take it, or say what it lacks."""
    name = written_name(wish.patient_name)[:256]
    wish = replace(
        wish,
        patient_identifier=_line(wish.patient_identifier, 64),
        patient_name=name,
        patient_name_latin=(latin_name(wish.patient_name_latin) if wish.patient_name_latin.strip() else latin_name(name))[:256],
        sex=wish.sex.strip().upper()[:1],
        modality=_line(wish.modality, 16).upper(),
        description=_line(wish.description, 256),
        body_part=_line(wish.body_part, 64),
        reason="".join(letter for letter in wish.reason if letter.isprintable() or letter == "\n").strip(),
        requested_by=_line(wish.requested_by, 64),
        station=wish.station.strip(),
        placer_number=_line(wish.placer_number, 64),
    )
    for field, what in (
        ("patient_identifier", "a patient ID"),
        ("patient_name", "a patient name"),
        ("modality", "a modality"),
        ("description", "what is to be examined"),
    ):
        if not getattr(wish, field):
            raise LacksInformation(field, what)
    return wish


def _line(text: str, length: int) -> str:
    """Return text without control characters and backslashes, which part values in DICOM (PS3.5 6.2)."""
    return "".join(letter if letter.isprintable() and letter != "\\" else " " for letter in text).strip()[:length]


def _write(order: Order, wish: OrderWish) -> None:
    order.modality, order.body_part, order.description = wish.modality, wish.body_part, wish.description
    order.reason, order.requested_by, order.urgency = wish.reason, wish.requested_by, wish.urgency


def _says(order: Order, wish: OrderWish) -> bool:
    """Return whether an order says what is wished: then a message was only sent again."""
    return (
        order.patient.identifier == wish.patient_identifier
        and (order.modality, order.body_part, order.description) == (wish.modality, wish.body_part, wish.description)
        and (order.reason, order.requested_by, order.urgency) == (wish.reason, wish.requested_by, wish.urgency)
        and (order.device.ae_title if order.device else "") == wish.station
        and (wish.scheduled_at is None or wish.scheduled_at == order.scheduled_at)
    )


def _accession_number(session: Session, organisation_id: int, moment: datetime, timezone: str) -> str:
    """Return the next number of the organisation's day: ``261125-4-017``; unique in the county, short enough to type."""
    prefix = f"{in_county(moment, timezone):%y%m%d}-{organisation_id}-"
    taken = session.scalars(
        select(Order.accession_number).where(
            Order.organisation_id == organisation_id, Order.accession_number.startswith(prefix, autoescape=True)
        )
    )
    number = 1 + max((int(one.removeprefix(prefix)) for one in taken), default=0)
    accession_number = f"{prefix}{number:03}"
    assert len(accession_number) <= LONGEST_ACCESSION, "a county with so many organisations needs longer numbers"
    return accession_number


def _patient(session: Session, wish: OrderWish, organisation_id: int) -> Patient:
    """Return the organisation's patient of this identifier, made if they are new, completed where we knew less."""
    patient = session.scalar(
        select(Patient).where(Patient.organisation_id == organisation_id, Patient.identifier == wish.patient_identifier)
    )
    if patient is None:
        patient = Patient(organisation_id=organisation_id, identifier=wish.patient_identifier, name="", name_latin="")
        session.add(patient)
    elif not _same_person(patient, wish):
        raise PatientIsAnother(wish.patient_identifier, patient.name)
    if not patient.name or (patient.name.isascii() and not wish.patient_name.isascii()):
        patient.name, patient.name_latin = wish.patient_name, wish.patient_name_latin
    patient.sex = patient.sex or wish.sex
    patient.birth_date = patient.birth_date or wish.birth_date
    patient.search_words = search_words(patient.name, patient.name_latin)
    return patient


def _same_person(patient: Patient, wish: OrderWish) -> bool:
    """Return whether an order's patient may be the one of this identifier: by name, in either writing, and birth date."""
    if patient.birth_date and wish.birth_date and patient.birth_date != wish.birth_date:
        return False
    if not patient.name or normalise_query(patient.name) == normalise_query(wish.patient_name):
        return True
    # A device that writes no Chinese sent the name in Latin letters before.
    latin = "".join(normalise_query(wish.patient_name_latin).split())
    return (patient.name.isascii() or wish.patient_name.isascii()) and latin == "".join(
        normalise_query(patient.name_latin).split()
    )


def _station(session: Session, wish: OrderWish, organisation_id: int) -> Device | None:
    if not wish.station:
        return None
    device = session.scalar(
        select(Device).where(
            Device.ae_title == wish.station, Device.organisation_id == organisation_id, Device.dismissed_at.is_(None)
        )
    )
    if device is None:
        raise NoSuchStation(wish.station)
    return device


def _detail(order: Order) -> dict[str, str]:
    return {
        "patient": order.patient.identifier,
        "modality": order.modality,
        "urgency": order.urgency.value,
        "source": order.source.value,
        "placer_number": order.placer_number,
    }
