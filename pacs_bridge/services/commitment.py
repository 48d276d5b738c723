"""Storage commitment, push model (PS3.4 J): what a device asks about is written down, and decided from custody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.settings import Settings
from core.tables import Commitment, Instance, Quarantined, Study
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.data_sets import read_request, text_of, write_answer
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.sop_classes import (
    CLASS_INSTANCE_CONFLICT,
    INVALID_ARGUMENT,
    NO_SUCH_ACTION,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    STORAGE_COMMITMENT,
    STORAGE_COMMITMENT_INSTANCE,
)
from pacs_bridge.services.study_rows import in_portions, scope_of
from pacs_bridge.upper_layer.association import SUCCESS, Answer, Message
from pacs_bridge.upper_layer.command_set import Field, Tag

#: Event types (PS3.4 J.3.3.1).
ALL_KEPT, SOME_FAILED = 1, 2
_REQUEST_ACTION = 1
#: What is on its way into the archive is waited for; after that the spool's promise is enough.
LONGEST_WAIT = timedelta(minutes=10)
#: What was acknowledged a moment ago may have no custody row yet.
UNKNOWN_WAIT = timedelta(minutes=2)
#: The worker leaves a request alone while the association that made it may still get its answer.
FIRST_TRY_AFTER = timedelta(seconds=40)
#: A device that has no port of its own gets its answer over the association that asked, if it waits so long.
_ON_THE_SPOT_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a device is told about its instances."""

    #: SOP class and instance UIDs that we keep.
    kept: list[tuple[str, str]] = field(default_factory=list)
    #: Those that we do not, with the Failure Reason (0008,1197; PS3.3 C.14.1.1).
    failed: list[tuple[str, str, int]] = field(default_factory=list)
    #: Nothing can be said yet about so many.
    open: int = 0

    @property
    def event_type(self) -> int:
        """Event Type ID (0000,1002)."""
        return SOME_FAILED if self.failed else ALL_KEPT


def decide(session: Session, commitment: Commitment, device: AdmittedDevice, moment: datetime) -> Decision:
    """Return what custody says about the instances of a request.

    An instance is committed when its row is ``compared``: the archive has it on its disk, and it is what the device sent.
    What is on the way there is waited for, at most ``LONGEST_WAIT`` from the request. After that it is committed too:
    the device's C-STORE was answered only when file and folder entry were synced, that file leaves the spool only after the
    comparison or into the quarantine, where it is kept, and delivery is tried for ever; a device with a full disk in an
    outage of days must not have to choose between examining and keeping.

    What was set aside fails with 0x0110, also where a UID that we hold came again from the device with other bytes: a
    person has to look. What came whole after a broken try counts.
    What another organisation examined is unknown to the device (0x0112).
    """
    waiting = moment < commitment.requested_at + LONGEST_WAIT
    unknown_waiting = moment < commitment.requested_at + UNKNOWN_WAIT
    asked = [(sop_class, uid) for sop_class, uid in commitment.asked]
    rows = _rows(session, [uid for _, uid in asked], device)
    aside = _set_aside(session, [uid for _, uid in asked], device)
    decision, undecided = Decision(), 0
    for sop_class, uid in asked:
        row = rows.get(uid)
        if row is not None and row.sop_class_uid != sop_class:
            decision.failed.append((sop_class, uid, CLASS_INSTANCE_CONFLICT))
        elif uid in aside and (row is None or row.received_at < aside[uid]):
            decision.failed.append((sop_class, uid, PROCESSING_FAILURE))
        elif row is None:
            undecided += unknown_waiting
            decision.failed.append((sop_class, uid, NO_SUCH_INSTANCE))
        elif row.state is CustodyState.QUARANTINED:
            decision.failed.append((sop_class, uid, PROCESSING_FAILURE))
        else:
            undecided += waiting and row.state is not CustodyState.COMPARED
            decision.kept.append((sop_class, uid))
    return Decision(kept=decision.kept, failed=decision.failed, open=undecided)


def report_of(commitment: Commitment, decision: Decision) -> Dataset:
    """Return the event information of an N-EVENT-REPORT (PS3.4 Table J.3-2)."""
    report = Dataset()
    report.TransactionUID = commitment.transaction_uid
    if decision.kept:
        report.ReferencedSOPSequence = Items([_reference(*kept) for kept in decision.kept])
    if decision.failed:
        failed = []
        for sop_class, uid, reason in decision.failed:
            item = _reference(sop_class, uid)
            item.FailureReason = reason
            failed.append(item)
        report.FailedSOPSequence = Items(failed)
    return report


def note_answered(session: Session, commitment: Commitment, decision: Decision, device: AdmittedDevice) -> None:
    """Write down that the device has taken the answer."""
    commitment.answered_at = now()
    commitment.failed = [uid for _, uid, _ in decision.failed]
    commitment.last_error = None
    for portion in in_portions(uid for _, uid in decision.kept):
        for instance in session.scalars(select(Instance).where(Instance.sop_instance_uid.in_(portion))):
            instance.committed_at = instance.committed_at or commitment.answered_at
    record(
        session, f"device:{device.ae_title}", "commitment_reported", f"commitment:{commitment.transaction_uid}",
        {"kept": len(decision.kept), "failed": len(decision.failed)},
    )  # fmt: skip


class StorageCommitment:
    """Answers N-ACTION. Threads may share it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    def __call__(self, message: Message) -> Iterator[Answer]:
        """Take a request down, say so, and report over the same association if everything is decided already.

        A device that has no port for the report, and keeps its association open, is waited for a moment.
        """
        if message.command.number(Tag.ACTION_TYPE) != _REQUEST_ACTION:
            raise Refused(NO_SUCH_ACTION, "Action Type ID is not 1.", remedy="Have the device's storage commitment examined.")
        asked = read_request(message)
        transaction = text_of(asked, "TransactionUID")
        references = [
            [text_of(item, "ReferencedSOPClassUID"), text_of(item, "ReferencedSOPInstanceUID")]
            for item in asked.get("ReferencedSOPSequence") or []
        ]
        if not transaction or not references or not all(all(reference) for reference in references):
            raise Refused(
                INVALID_ARGUMENT, "Transaction UID or Referenced SOP Sequence is missing.",
                remedy="Have the device's storage commitment examined.",
            )  # fmt: skip
        commitment_id = self._take_down(message.device, transaction, references)
        yield Answer(status=SUCCESS)
        self._report_at_once(message, commitment_id)

    def _take_down(self, device: AdmittedDevice, transaction: str, references: list[list[str]]) -> int:
        """Write the request down; a device that repeats one gets its answer again."""
        moment = now()
        with self._database.writing() as session:
            row = session.scalar(
                select(Commitment).where(Commitment.device_id == device.id, Commitment.transaction_uid == transaction)
            )
            if row is None:
                row = Commitment(device_id=device.id, transaction_uid=transaction, asked=references, failed=[], tries=0)
                session.add(row)
            elif row.asked != references:
                raise Refused(
                    INVALID_ARGUMENT, "The Transaction UID was used for other instances.",
                    remedy="The device asks again under a new one.",
                )  # fmt: skip
            row.requested_at, row.answered_at, row.next_try_at = moment, None, moment + FIRST_TRY_AFTER
            record(
                session, f"device:{device.ae_title}", "commitment_asked", f"commitment:{transaction}",
                {"instances": len(references)},
            )  # fmt: skip
            session.flush()
            return row.id

    def _report_at_once(self, message: Message, commitment_id: int) -> None:
        patience = time.monotonic() + (_ON_THE_SPOT_SECONDS if message.device.port is None else 0)
        try:
            while True:
                with self._database.reading() as session:
                    commitment = session.get_one(Commitment, commitment_id)
                    decision = decide(session, commitment, message.device, now())
                if not decision.open:
                    self._report(message, commitment_id, commitment, decision)
                    return
                if time.monotonic() > patience or message.association.something_came:
                    return
                time.sleep(_LOOK_AGAIN_SECONDS)
        finally:
            self._leave_to_worker(commitment_id)

    def _report(self, message: Message, commitment_id: int, commitment: Commitment, decision: Decision) -> None:
        taken = message.association.request_of_peer(
            message.context,
            {
                Tag.FIELD: Field.N_EVENT_REPORT_RQ,
                Tag.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT,
                Tag.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
                Tag.EVENT_TYPE: decision.event_type,
            },
            [write_answer(report_of(commitment, decision), message.context.transfer_syntax)],
        )
        if taken.number(Tag.STATUS) == SUCCESS:
            with self._database.writing() as session:
                note_answered(session, session.get_one(Commitment, commitment_id), decision, message.device)

    def _leave_to_worker(self, commitment_id: int) -> None:
        """What the device has not taken here is reported by the worker from now on."""
        with self._database.writing() as session:
            commitment = session.get_one(Commitment, commitment_id)
            if commitment.answered_at is None:
                commitment.next_try_at = now()


@dataclass(frozen=True, kw_only=True)
class _Row:
    sop_class_uid: str
    state: CustodyState
    received_at: datetime


def _rows(session: Session, uids: Sequence[str], device: AdmittedDevice) -> dict[str, _Row]:
    scope = scope_of(session, device)
    found: dict[str, _Row] = {}
    for portion in in_portions(uids):
        query = (
            select(Instance.sop_instance_uid, Instance.sop_class_uid, Instance.state, Instance.received_at)
            .join(Study, Instance.study_id == Study.id)
            .where(Instance.sop_instance_uid.in_(portion), scope.studies)
        )
        for uid, sop_class, state, received_at in session.execute(query):
            found[uid] = _Row(sop_class_uid=sop_class, state=state, received_at=received_at)
    return found


def _set_aside(session: Session, uids: Sequence[str], device: AdmittedDevice) -> dict[str, datetime]:
    """Return when something that the device sent under a UID was last set aside."""
    found: dict[str, datetime] = {}
    for portion in in_portions(uids):
        query = (
            select(Quarantined.sop_instance_uid, func.max(Quarantined.at))
            .where(Quarantined.sop_instance_uid.in_(portion), Quarantined.device_id == device.id)
            .group_by(Quarantined.sop_instance_uid)
        )
        found.update({uid: at for uid, at in session.execute(query) if uid is not None})
    return found


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    return item
