"""HL7 v2 orders (ORM^O01, OMI^O23, OMG^O19): from a message to orders, and the acknowledgement that its sender gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from core.access import reach
from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import OrderSource, Organisation
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.orders.codes import modality_of, urgency_of
from pacs_bridge.orders.er7 import Delimiters, Message, NotHl7, Segment, escaped, read_message
from pacs_bridge.orders.errors import LacksInformation, NotReadable
from pacs_bridge.orders.placing import OrderWish, cancel, change, must_find, place

log = structlog.get_logger("orders")

MESSAGES = frozenset({("ORM", "O01"), ("OMI", "O23"), ("OMG", "O19")})
PLACE, CANCEL, CHANGE = "NW", "CA", "XO"
#: MSA-1 (table 0008): taken; its content is wrong; it is no message for us.
ACCEPTED, CONTENT_ERROR, REJECTED = "AA", "AE", "AR"
#: What answers bytes in which no header can be read.
_USUAL = Delimiters(field="|", component="^", repetition="~", escape="\\", subcomponent="&")
_SEXES = {"M": "M", "F": "F", "O": "O", "A": "O", "1": "M", "2": "F", "男": "M", "女": "F"}


class NotForUs(SumuError):
    """A message that is no order, or comes from a facility that nobody knows."""


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """The answer to one message."""

    code: str
    text: str
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Request:
    """One ORC with its OBR: what is to be done with one order."""

    control: str
    placer_number: str
    #: None where an order is called off.
    wish: OrderWish | None


def answer(data: bytes, *, settings: Settings, database: Database, device: AdmittedDevice | None = None) -> Acknowledgement:
    """Do what one message asks, all of it or nothing, and return the acknowledgement.

    Parameters
    ----------
    data
        The message without the frame of MLLP.
    device
        The admitted system that sends it, if its certificate says so: it may order for its organisation and those below it.

    Raises
    ------
    sqlalchemy.exc.DBAPIError
        If the database is away: the sender must not get an acknowledgement and sends again.
    """
    try:
        message = read_message(data, usual_character_set=settings.orders.character_set)
    except NotHl7 as error:
        log.warning("hl7_message_unreadable", reason=str(error.args[0]), remedy=error.remedy)
        return Acknowledgement(code=REJECTED, text=str(error), data=_acknowledge(None, REJECTED, str(error)))
    code, text = ACCEPTED, ""
    try:
        with database.writing() as session:
            text = "; ".join(_do(session, message, settings, device))
    except NotForUs as error:
        code, text = REJECTED, str(error)
    except SumuError as error:
        code, text = CONTENT_ERROR, str(error)
    except DataError as error:
        code, text = CONTENT_ERROR, f"A value does not fit: {error.orig}. Shorten it, and send no control characters."
    if code != ACCEPTED:
        log.warning("hl7_order_refused", sender=_sender(message), control_id=message.header.part(10), reason=text)
    return Acknowledgement(code=code, text=text, data=_acknowledge(message, code, text))


def requests_of(message: Message, timezone: str) -> list[Request]:
    """Return what a message asks for.

    Raises
    ------
    NotForUs
        If it is no order, or asks for something else than to place (NW), change (XO) or call off (CA).
    OrderRefused
        If a value is no code or date.
    """
    kind = (message.header.part(9, 1).upper(), message.header.part(9, 2).upper())
    if kind not in MESSAGES:
        raise NotForUs(f"Sumu takes no {'^'.join(kind)}.", remedy="Send orders as ORM^O01, OMI^O23 or OMG^O19.")
    groups = _groups(message.segments)
    if not groups:
        raise LacksInformation("control", "an ORC segment")
    return [_request(message, group, timezone) for group in groups]


def _do(session: Session, message: Message, settings: Settings, device: AdmittedDevice | None) -> list[str]:
    organisation_id = _organisation(session, message, settings)
    if device is not None and organisation_id not in reach(session, device.organisation_id):
        raise NotForUs(
            f"The device '{device.ae_title}' may not order for {session.get_one(Organisation, organisation_id).code}.",
            remedy="Send the code of its own organisation or one below it in MSH-4, or let it stand in another organisation.",
        )
    actor = f"device:{device.ae_title}" if device is not None else f"hl7:{_sender(message)}"[:64]
    done = []
    for request in requests_of(message, settings.county.timezone):
        if request.wish is not None and request.control == PLACE:
            placed = place(
                session, request.wish, organisation_id=organisation_id, source=OrderSource.HL7, actor=actor,
                timezone=settings.county.timezone,
            )  # fmt: skip
            done.append(f"{placed.order.accession_number} {'placed' if placed.new else 'was placed before'}")
            continue
        order = must_find(session, request.placer_number, organisation_id=organisation_id)
        if request.wish is None:
            cancel(session, order, actor=actor)
            done.append(f"{order.accession_number} cancelled")
        else:
            change(session, order, request.wish, actor=actor)
            done.append(f"{order.accession_number} changed")
    return done


def _organisation(session: Session, message: Message, settings: Settings) -> int:
    """Return where the examination is to be: the receiving facility (MSH-6) if it is ours, else the sending one (MSH-4)."""
    facility = message.header.part(4)
    code = settings.orders.facilities.get(facility, facility)
    sender = session.scalar(select(Organisation).where(Organisation.code == code)) if code else None
    if sender is None:
        raise NotForUs(
            f"The sending facility '{facility}' (MSH-4) is unknown.",
            remedy="Send the organisation's code there, or name the facility in the setting orders.facilities.",
        )
    receiving = message.header.part(6)
    target = session.scalar(select(Organisation).where(Organisation.code == settings.orders.facilities.get(receiving, receiving)))
    if target is None:
        return sender.id
    if target.id not in reach(session, sender.id):
        raise NotForUs(
            f"{sender.code} may not order for {target.code} (MSH-6).",
            remedy="Leave MSH-6 empty, or name an organisation below it.",
        )
    return target.id


def _groups(segments: Sequence[Segment]) -> list[dict[str, Segment]]:
    """Return the segments of each order: its ORC, and the first of each kind up to the next one."""
    groups: list[dict[str, Segment]] = []
    for segment in segments:
        if segment.name == "ORC":
            groups.append({})
        if groups:
            groups[-1].setdefault(segment.name, segment)
    return groups


def _request(message: Message, group: dict[str, Segment], timezone: str) -> Request:
    common, nothing = group["ORC"], Segment("", message.delimiters, message.codec)
    detail, imaging = group.get("OBR", nothing), group.get("IPC", nothing)
    control = common.part(1).upper()
    number = common.part(2) or detail.part(2)
    if control not in (PLACE, CANCEL, CHANGE):
        raise NotForUs(f"Sumu does not know the order control '{control}' (ORC-1).", remedy="Send NW, XO or CA.")
    if not number:
        raise LacksInformation("placer_number", "the placer's order number (ORC-2)")
    if control == CANCEL:
        return Request(control=control, placer_number=number, wish=None)
    timing = group.get("TQ1", nothing)
    person = next((segment for segment in message.segments if segment.name == "PID"), nothing)
    name, latin = _names(person)
    wish = OrderWish(
        patient_identifier=_identifier(person),
        patient_name=name,
        patient_name_latin=latin,
        sex=_SEXES.get(person.part(8).upper(), ""),
        birth_date=_date(person.part(7)),
        modality=modality_of(imaging.part(5) or detail.part(24)),
        description=detail.part(4, 2) or detail.part(4, 1) or detail.part(4, 5),
        body_part=detail.part(15, 4) or detail.part(15, 1),
        reason="\n".join(filter(None, (detail.part(13), detail.part(31, 2) or detail.part(31, 1)))),
        requested_by=_person(common, 12) or _person(detail, 16),
        urgency=urgency_of(timing.part(9) or common.part(7, 6) or detail.part(27, 6) or detail.part(5)),
        station=imaging.part(9),
        scheduled_at=_moment(
            timing.part(7) or detail.part(36) or common.part(7, 4) or detail.part(27, 4), timezone, "start time"
        ),
        placer_number=number,
    )
    return Request(control=control, placer_number=number, wish=wish)


def _identifier(person: Segment) -> str:
    """Return the medical record number of PID-3, else its first identifier, else PID-2."""
    known = [parts for parts in person.repetitions(3) if parts[0].strip()]
    records = [parts for parts in known if len(parts) > 4 and parts[4] in ("MR", "PI", "PT")]
    return (records or known or [[person.part(2)]])[0][0].strip()


def _names(person: Segment) -> tuple[str, str]:
    """Return PID-5 in Chinese characters and in Latin letters, each as family^given; either may be empty."""
    chinese, latin = "", ""
    for parts in person.repetitions(5):
        name = "^".join(parts[:2]).strip("^ ")
        representation = parts[7] if len(parts) > 7 else ""
        if name.isascii() or representation == "A":
            latin = latin or name
        else:
            chinese = chinese or name
    return chinese or latin, latin if chinese else ""


def _person(segment: Segment, number: int) -> str:
    """Return a doctor (XCN) as written: family and given name, else the identifier."""
    family, given = segment.part(number, 2), segment.part(number, 3)
    separator = "" if not (family + given).isascii() else " "
    return f"{family}{separator}{given}".strip() or segment.part(number, 1)


def _date(text: str) -> date | None:
    """Return the day of a birth date; one that is only a year or a month is left out."""
    digits = text[:8]
    if len(digits) < 8 or not digits.isdecimal():
        return None
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError as error:
        raise NotReadable("birth_date", text, "Send YYYYMMDD in PID-7.") from error


def _moment(text: str, county_timezone: str, what: str) -> datetime | None:
    """Return a time stamp (TS): YYYYMMDD[HH[MM[SS]]] with or without a zone; without one it is the county's."""
    if not text:
        return None
    zone: timezone | ZoneInfo = ZoneInfo(county_timezone)
    digits = text
    for sign in "+-":
        if sign in text:
            digits, _, offset = text.partition(sign)
            if len(offset) != 4 or not offset.isdecimal() or int(offset) >= 2400:
                raise NotReadable(what, text, "Send YYYYMMDDHHMMSS, with +0800 or without a zone.")
            shift = timedelta(hours=int(offset[:2]), minutes=int(offset[2:]))
            zone = timezone(shift if sign == "+" else -shift)
    digits = digits.split(".")[0]
    try:
        moment = datetime.strptime(digits.ljust(14, "0")[:14], "%Y%m%d%H%M%S").replace(tzinfo=zone)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotReadable(what, text, "Send YYYYMMDDHHMMSS, with +0800 or without a zone.") from error


def _sender(message: Message) -> str:
    sender = f"{message.header.part(3)}@{message.header.part(4)}"
    return "".join(letter for letter in sender if letter.isprintable())


def _acknowledge(message: Message | None, code: str, text: str) -> bytes:
    """Return an ACK in the delimiters and the character set of its message."""
    moment = f"{now():%Y%m%d%H%M%S}+0000"
    header = message.header if message else None
    marks, codec = (message.delimiters, message.codec) if message else (_USUAL, "utf-8")
    bar, hat = marks.field, marks.component
    fields = [""] * 19
    fields[2] = f"{marks.component}{marks.repetition}{marks.escape}{marks.subcomponent}"
    if header is not None:
        fields[3], fields[4], fields[5], fields[6] = (header.field(number) for number in (5, 6, 3, 4))
    fields[7] = moment
    fields[9] = hat.join(("ACK", header.part(9, 2), "ACK")) if header else "ACK"
    fields[10] = f"S{now():%y%m%d%H%M%S%f}"
    fields[11] = (header.field(11) if header else "") or "P"
    fields[12] = (header.field(12) if header else "") or "2.5"
    fields[18] = message.character_set if message else "UNICODE UTF-8"
    control = header.field(10) if header else ""
    lines = [
        "MSH" + bar + bar.join(fields[2:]),
        bar.join(("MSA", code, control, escaped(text, marks))),
    ]
    return ("\r".join(lines) + "\r").encode(codec, "replace")
