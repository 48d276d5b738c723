"""Modality performed procedure steps (PS3.4 F.7, F.8): what devices tell of an examination while they make it."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import structlog
from pydicom import Dataset
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.database import Database
from core.lifecycles.order import ORDER, OrderEvent, OrderState
from core.settings import Settings
from core.tables import Device, Order, PerformedStep, Study
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.data_sets import read_request, text_of, write_answer
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.shown_text import character_set_for, show
from pacs_bridge.services.sop_classes import (
    DUPLICATE_INSTANCE,
    INVALID_ATTRIBUTE,
    MISSING_ATTRIBUTE,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    RESOURCE_LIMITATION,
)
from pacs_bridge.services.study_rows import scope_of
from pacs_bridge.upper_layer.association import SUCCESS, Answer, Message
from pacs_bridge.upper_layer.command_set import Tag

log = structlog.get_logger("node")

#: Performed Procedure Step Status (0040,0252).
IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
#: PS3.4 F.7.2.2.2: where in a step's series the instances stand.
_REFERENCES = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
#: A step with 20 000 instances has 3 MiB.
MOST_BYTES = 4 << 20
#: (0000,0903) Error ID, and its value for a step that has ended (PS3.4 F.7.2.2.3).
_ERROR_ID, _MAY_NO_LONGER_BE_UPDATED = 0x00000903, 0xA710


class StepHasEnded(Refused):
    """A step that is completed or discontinued does not change any more."""

    def __init__(self, status: str) -> None:
        super().__init__(
            PROCESSING_FAILURE, f"The step is {status} and may no longer be updated.", remedy="The device begins a new step."
        )


class PerformedSteps:
    """Answers N-CREATE, N-SET and N-GET. Threads may share it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database

    def create(self, message: Message) -> Iterator[Answer]:
        """Begin a step (PS3.4 F.7.2.1)."""
        told = self._told(message)
        uid = message.command.text(Tag.AFFECTED_SOP_INSTANCE) or f"2.25.{uuid.uuid4().int}"
        study = _study_of(told)
        if text_of(told, "PerformedProcedureStepStatus") != IN_PROGRESS:
            raise Refused(
                INVALID_ATTRIBUTE, f"A step begins {IN_PROGRESS} (0040,0252).", remedy="Have the device's MPPS examined."
            )
        if not study:
            raise Refused(
                MISSING_ATTRIBUTE, "No Study Instance UID in the Scheduled Step Attributes.",
                remedy="Have the device's MPPS examined.",
            )  # fmt: skip
        with self._database.writing() as session:
            if session.scalar(select(PerformedStep.id).where(PerformedStep.sop_instance_uid == uid)) is not None:
                raise Refused(DUPLICATE_INSTANCE, f"The step {uid} was begun before.", remedy="Nothing: it is known.")
            step = PerformedStep(
                sop_instance_uid=uid,
                device_id=message.device.id,
                study_instance_uid=study,
                status=IN_PROGRESS,
                started_at=self._moment(told, "PerformedProcedureStepStart") or now(),
                attributes=_kept(told),
            )
            order = _order_of(session, message.device, told)
            if order is not None:
                step.order_id = order.id
                _move(order, OrderEvent.BEGIN)
            session.add(step)
            self._record(session, message, step, "step_begun")
        yield Answer(status=SUCCESS, elements={Tag.AFFECTED_SOP_INSTANCE: uid})

    def set(self, message: Message) -> Iterator[Answer]:
        """Tell more of a step, or end it (PS3.4 F.7.2.2)."""
        told = self._told(message)
        try:
            with self._database.writing() as session:
                step = _step_of(session, message)
                if step.status != IN_PROGRESS:
                    raise StepHasEnded(step.status)
                status = text_of(told, "PerformedProcedureStepStatus") or IN_PROGRESS
                if status not in (IN_PROGRESS, COMPLETED, DISCONTINUED):
                    raise Refused(
                        INVALID_ATTRIBUTE, f"'{status}' is no status of a step.", remedy="Have the device's MPPS examined."
                    )
                step.status, step.attributes = status, {**step.attributes, **_kept(told)}
                if status != IN_PROGRESS:
                    step.ended_at = self._moment(told, "PerformedProcedureStepEnd") or now()
                    session.flush()
                    _end_order(session, step)
                    _expect(session, step.study_instance_uid)
                    self._record(session, message, step, f"step_{status.lower()}")
        except StepHasEnded as ended:
            yield Answer(
                status=ended.status, elements={_ERROR_ID: _MAY_NO_LONGER_BE_UPDATED, Tag.ERROR_COMMENT: str(ended.args[0])[:64]}
            )
            return
        yield Answer(status=SUCCESS)

    def get(self, message: Message) -> Iterator[Answer]:
        """Return a step as it stands, or those attributes of it that were asked for (PS3.4 F.8.2.1)."""
        with self._database.writing() as session:
            step = _step_of(session, message)
            self._record(session, message, step, "step_read")
        known = _restored(step)
        if asked := message.command.attributes:
            for tag in [element.tag for element in known if element.tag not in asked]:
                del known[tag]
        show(known, character_set_for(known, message.device.worklist_character_set))
        yield Answer(status=SUCCESS, data_set=write_answer(known, message.context.transfer_syntax))

    @staticmethod
    def _told(message: Message) -> Dataset:
        if len(message.data_set) > MOST_BYTES:
            raise Refused(
                RESOURCE_LIMITATION, f"A step of more than {MOST_BYTES >> 20} MiB is not kept.",
                remedy="Have the device's MPPS examined.",
            )  # fmt: skip
        return read_request(message)

    def _moment(self, told: Dataset, which: str) -> datetime | None:
        """Return a date and time of a step in UTC; the device's clock shows the county's."""
        day, clock = text_of(told, f"{which}Date"), text_of(told, f"{which}Time").partition(".")[0]
        try:
            return (
                datetime.strptime(day + clock.ljust(6, "0"), "%Y%m%d%H%M%S")
                .replace(tzinfo=ZoneInfo(self._settings.county.timezone))
                .astimezone(UTC)
            )
        except ValueError:
            return None

    @staticmethod
    def _record(session: Session, message: Message, step: PerformedStep, action: str) -> None:
        detail = {"step": step.sop_instance_uid, "association": message.association.id}
        record(session, f"device:{message.device.ae_title}", action, f"study:{step.study_instance_uid}", detail)


def expected_instances(session: Session, study_instance_uid: str) -> int | None:
    """Return how many instances devices said they made for a study in all its steps; None where they said nothing yet."""
    referenced: set[str] = set()
    ended = 0
    for step in session.scalars(select(PerformedStep).where(PerformedStep.study_instance_uid == study_instance_uid)):
        ended += step.status == COMPLETED
        for series in _restored(step).get("PerformedSeriesSequence") or []:
            for keyword in _REFERENCES:
                referenced.update(text_of(item, "ReferencedSOPInstanceUID") for item in series.get(keyword) or [])
    return len(referenced - {""}) if ended else None


def _expect(session: Session, study_instance_uid: str) -> None:
    study = session.scalar(select(Study).where(Study.study_instance_uid == study_instance_uid))
    expected = expected_instances(session, study_instance_uid)
    if study is not None and expected is not None:
        study.expected_instances = expected


def _study_of(told: Dataset) -> str:
    """Return the study of a step: all its scheduled steps name the same one (PS3.3 C.4.13)."""
    for item in told.get("ScheduledStepAttributesSequence") or []:
        if uid := text_of(item, "StudyInstanceUID"):
            return uid
    return ""


def _step_of(session: Session, message: Message) -> PerformedStep:
    uid = message.command.text(Tag.REQUESTED_SOP_INSTANCE)
    scope = scope_of(session, message.device)
    step = session.scalar(
        select(PerformedStep)
        .join(Device, PerformedStep.device_id == Device.id)
        .where(PerformedStep.sop_instance_uid == uid, Device.organisation_id.in_(scope.organisations))
    )
    if step is None:
        raise Refused(NO_SUCH_INSTANCE, f"The step {uid} was never begun here.", remedy="The device begins it (N-CREATE) first.")
    return step


def _order_of(session: Session, device: AdmittedDevice, told: Dataset) -> Order | None:
    """Return the order whose study a step names, else the organisation's one of the same accession number."""
    at_home = Order.organisation_id == device.organisation_id
    order = session.scalar(
        select(Order).where(Order.study_instance_uid == _study_of(told), or_(at_home, Order.device_id == device.id))
    )
    accession = next((text_of(item, "AccessionNumber") for item in told.get("ScheduledStepAttributesSequence") or []), "")
    if order is None and accession:
        order = session.scalar(select(Order).where(at_home, Order.accession_number == accession))
    return order


def _end_order(session: Session, step: PerformedStep) -> None:
    """Move the order on once none of its steps is under way: done if one was completed, broken off if none was."""
    order = session.get(Order, step.order_id) if step.order_id is not None else None
    if order is None:
        return
    statuses = set(session.scalars(select(PerformedStep.status).where(PerformedStep.order_id == order.id)))
    if IN_PROGRESS not in statuses:
        _move(order, OrderEvent.COMPLETE if COMPLETED in statuses else OrderEvent.DISCONTINUE)


def _move(order: Order, event: OrderEvent) -> None:
    if ORDER.allows(order.state, event):
        order.state = ORDER.next(order.state, event)
    elif order.state is OrderState.CANCELLED:
        log.warning(
            "cancelled_order_performed", accession_number=order.accession_number, remedy="Ask the department: it was taken back."
        )


def _kept(told: Dataset) -> dict[str, object]:
    """Return a data set as DICOM JSON (PS3.18 F); its text is Unicode from here on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept: dict[str, object] = told.to_json_dict(suppress_invalid_tags=True)
    kept.pop("00080005", None)
    return kept


def _restored(step: PerformedStep) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Dataset.from_json(step.attributes)
