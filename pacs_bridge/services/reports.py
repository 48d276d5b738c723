"""What the node owes to devices: told on associations of our own, and tried with growing waits until they take it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol, cast

import structlog
from pydicom import Dataset
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Commitment, Device
from core.tables.organisations import AvailabilityNotice
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.data_sets import write_answer
from pacs_bridge.services.peers import DeviceAway, association_with
from pacs_bridge.services.sop_classes import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from pacs_bridge.upper_layer.association import SUCCESS
from pacs_bridge.upper_layer.command_set import Tag, Value

log = structlog.get_logger("reports")

#: Waits between two tries double from the first to the last.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
#: While one worker reports, no other does; if it dies, another may after this.
LEASE = timedelta(minutes=5)
#: Rows of one kind that are looked at in one round.
AT_ONCE = 20


#: Rows of a device with when it took them, tries, the next one, and the last error.
Owed = Commitment | AvailabilityNotice


class NotTaken(SumuError):
    """A device answered a report with a failure."""

    def __init__(self, ae_title: str, status: int) -> None:
        super().__init__(
            f"The device '{ae_title}' answered the report with 0x{status:04X}.", remedy="It gets it again; look at its log."
        )


class NotSpoken(SumuError):
    """A device accepts the association, and not the SOP class of the report."""

    def __init__(self, device: AdmittedDevice, service: str) -> None:
        super().__init__(
            f"The device '{device.ae_title}' at {device.address}:{device.port} does not accept {service}.",
            remedy=f"Switch {service} on in the device, for calls from the node's AE title.",
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    """One message to one device."""

    sop_class: str
    #: Name of the SOP class, for the log.
    service: str
    #: The command set, but for what every request has.
    elements: Mapping[int, Value]
    data_set: Dataset
    #: Write down that the device has it.
    note_taken: Callable[[Session], None]
    #: The node has the role of SCP although it calls (PS3.7 D.3.3.4).
    node_is_scp: bool = False
    #: Statuses beside success by which the device says that it has it.
    taken_as: frozenset[int] = frozenset()


class Kind(Protocol):
    """One kind of report: its rows, and what they say."""

    @property
    def table(self) -> type[Owed]:
        """Return the table of the rows."""

    def owed(self) -> Sequence[ColumnElement[bool]]:
        """Return further conditions on the rows and their devices."""

    def report(self, session: Session, row_id: int, device: AdmittedDevice, settings: Settings) -> Report | None:
        """Return what a row says to its device; None while that is open."""


@dataclass(frozen=True, kw_only=True)
class _Due:
    kind: Kind
    row_id: int
    device: AdmittedDevice


def send_due(database: Database, settings: Settings, kinds: Sequence[Kind]) -> int:
    """Send what is due and not yet taken by its device; return how many reports were taken.

    What is still open, or whose device is away, is looked at again later: at first after seconds, at last every ten
    minutes, for ever.
    """
    by_device: dict[int, list[_Due]] = defaultdict(list)
    for kind in kinds:
        for due in _lease(database, kind):
            by_device[due.device.id].append(due)
    if not by_device:
        return 0
    # A device that is away keeps its caller for a while, and nobody else's report.
    with ThreadPoolExecutor(len(by_device), thread_name_prefix="reports") as hands:
        return sum(hands.map(lambda of_device: _send_each(database, settings, of_device), by_device.values()))


def _lease(database: Database, kind: Kind) -> Sequence[_Due]:
    moment, table = now(), kind.table
    waiting = (
        select(table, Device)
        .join(Device, table.device_id == Device.id)
        .where(table.answered_at.is_(None), table.next_try_at <= moment, Device.dismissed_at.is_(None), *kind.owed())
        .order_by(table.next_try_at)
        .limit(AT_ONCE)
    )
    with database.reading() as session:  # most rounds find nothing, and need not wait for those who write
        if session.execute(waiting.limit(1)).first() is None:
            return []
    with database.writing() as session:
        due = []
        for row, device in session.execute(waiting).all():
            owed = cast(Owed, row)
            owed.next_try_at = moment + LEASE
            known = AdmittedDevice(**{name: getattr(device, name) for name in AdmittedDevice.__dataclass_fields__})
            due.append(_Due(kind=kind, row_id=owed.id, device=known))
        return due


def _send_each(database: Database, settings: Settings, of_device: Sequence[_Due]) -> int:
    taken, away = 0, None
    for due in of_device:
        with database.reading() as session:
            report = due.kind.report(session, due.row_id, due.device, settings)
        if report is None:
            _look_again(database, due)
            continue
        try:
            if away is not None:
                raise away
            _send(settings, report, due.device)
        except SumuError as error:
            away = error if isinstance(error, DeviceAway) else None
            _try_again(database, due, error)
            continue
        with database.writing() as session:
            report.note_taken(session)
        taken += 1
    return taken


def _send(settings: Settings, report: Report, device: AdmittedDevice) -> None:
    """Send one report; pass when the device has taken it. Whether it answered to the role is not asked: many leave it out."""
    proposal = (report.sop_class, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))
    scp_of = report.sop_class if report.node_is_scp else None
    with association_with(device, [proposal], settings, scp_of=scp_of) as association:
        if not association.contexts:
            raise NotSpoken(device, report.service)
        context = association.contexts[0]
        encoded = write_answer(report.data_set, context.transfer_syntax)
        status = association.request(context, report.elements, [encoded]).number(Tag.STATUS)
    if status != SUCCESS and status not in report.taken_as:
        raise NotTaken(device.ae_title, status)


def _look_again(database: Database, due: _Due) -> None:
    with database.writing() as session:
        _row(session, due).next_try_at = now() + FIRST_WAIT


def _try_again(database: Database, due: _Due, error: SumuError) -> None:
    with database.writing() as session:
        row = _row(session, due)
        row.tries += 1
        row.last_error = str(error)
        wait = min(FIRST_WAIT * 2 ** min(row.tries - 1, 20), LONGEST_WAIT)
        row.next_try_at = now() + wait
    log.warning(
        "report_will_be_tried_again", device=due.device.ae_title, reason=str(error.args[0]), remedy=error.remedy,
        wait_seconds=wait.total_seconds(),
    )  # fmt: skip


def _row(session: Session, due: _Due) -> Owed:
    return cast(Owed, session.get_one(due.kind.table, due.row_id))
