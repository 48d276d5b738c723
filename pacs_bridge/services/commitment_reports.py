"""Reports about storage commitment on an association of our own (PS3.4 J.3.3): tried until the device takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import select

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Commitment, Device
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.commitment import Decision, decide, note_answered, report_of
from pacs_bridge.services.data_sets import write_answer
from pacs_bridge.services.peers import DeviceAway, association_with
from pacs_bridge.services.sop_classes import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from pacs_bridge.upper_layer.association import SUCCESS
from pacs_bridge.upper_layer.command_set import Field, Tag, Value

log = structlog.get_logger("commitment")

#: Waits between two tries double from the first to the last.
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=10)
#: While one worker reports, no other does; if it dies, another may after this.
LEASE = timedelta(minutes=5)
#: Requests that are looked at in one round.
AT_ONCE = 20


class NotTaken(SumuError):
    """A device answered a report with a failure."""

    def __init__(self, ae_title: str, status: int) -> None:
        super().__init__(
            f"The device '{ae_title}' answered the report with 0x{status:04X}.", remedy="It gets it again; look at its log."
        )


@dataclass(frozen=True, kw_only=True)
class _Due:
    commitment_id: int
    device: AdmittedDevice


def report_due(database: Database, settings: Settings) -> int:
    """Report what is decided and not yet taken by its device; return how many devices took theirs.

    The worker repeats this. A request that is still open, or whose device is away, is looked at again later: at first after
    seconds, at last every ten minutes, for ever.
    """
    by_device: dict[int, list[_Due]] = defaultdict(list)
    for due in _lease(database):
        by_device[due.device.id].append(due)
    if not by_device:
        return 0
    # A device that is away keeps its caller for a while, and nobody else's report.
    with ThreadPoolExecutor(len(by_device), thread_name_prefix="reports") as hands:
        return sum(hands.map(lambda of_device: _report_each(database, settings, of_device), by_device.values()))


def _lease(database: Database) -> Sequence[_Due]:
    moment = now()
    with database.writing() as session:
        rows = session.execute(
            select(Commitment, Device)
            .join(Device, Commitment.device_id == Device.id)
            .where(Commitment.answered_at.is_(None), Commitment.next_try_at <= moment, Device.dismissed_at.is_(None))
            .order_by(Commitment.next_try_at)
            .limit(AT_ONCE)
        ).all()
        due = []
        for commitment, device in rows:
            commitment.next_try_at = moment + LEASE
            known = AdmittedDevice(**{name: getattr(device, name) for name in AdmittedDevice.__dataclass_fields__})
            due.append(_Due(commitment_id=commitment.id, device=known))
        return due


def _report_each(database: Database, settings: Settings, of_device: Sequence[_Due]) -> int:
    taken, away = 0, None
    for due in of_device:
        with database.reading() as session:
            commitment = session.get_one(Commitment, due.commitment_id)
            decision = decide(session, commitment, due.device, now())
        if decision.open:
            _look_again(database, due)
            continue
        try:
            if away is not None:
                raise away
            _report(settings, commitment, decision, due.device)
        except SumuError as error:
            away = error if isinstance(error, DeviceAway) else None
            _try_again(database, due, error)
            continue
        with database.writing() as session:
            note_answered(session, session.get_one(Commitment, due.commitment_id), decision, due.device)
        taken += 1
    return taken


def _report(settings: Settings, commitment: Commitment, decision: Decision, device: AdmittedDevice) -> None:
    """Send one report; pass when the device has taken it. Whether it answered to the role is not asked: many leave it out."""
    proposal = (STORAGE_COMMITMENT, (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN))
    with association_with(device, [proposal], settings, scp_of=STORAGE_COMMITMENT) as association:
        if not association.contexts:
            raise DeviceAway(device, "it does not accept Storage Commitment Push Model.")
        context = association.contexts[0]
        elements: dict[int, Value] = {
            Tag.FIELD: Field.N_EVENT_REPORT_RQ,
            Tag.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT,
            Tag.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
            Tag.EVENT_TYPE: decision.event_type,
        }
        report = write_answer(report_of(commitment, decision), context.transfer_syntax)
        status = association.request(context, elements, [report]).number(Tag.STATUS)
    if status != SUCCESS:
        raise NotTaken(device.ae_title, status)


def _look_again(database: Database, due: _Due) -> None:
    with database.writing() as session:
        session.get_one(Commitment, due.commitment_id).next_try_at = now() + FIRST_WAIT


def _try_again(database: Database, due: _Due, error: SumuError) -> None:
    with database.writing() as session:
        commitment = session.get_one(Commitment, due.commitment_id)
        commitment.tries += 1
        commitment.last_error = str(error)
        wait = min(FIRST_WAIT * 2 ** min(commitment.tries - 1, 20), LONGEST_WAIT)
        commitment.next_try_at = now() + wait
    log.warning(
        "report_will_be_tried_again", device=due.device.ae_title, reason=str(error.args[0]), remedy=error.remedy,
        wait_seconds=wait.total_seconds(),
    )  # fmt: skip
