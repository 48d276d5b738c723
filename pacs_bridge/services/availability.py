"""Instance availability (PS3.4 R): devices that are marked so are told when a study can be fetched, once for each revision."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.sequence import Sequence as Items
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from core.access import reach
from core.audit import record
from core.clock import now
from core.lifecycles.custody import CustodyState
from core.lifecycles.study import StudyState
from core.settings import Settings
from core.tables import Device, Instance, PerformedStep, Study
from core.tables.organisations import AvailabilityNotice
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.reports import Report
from pacs_bridge.services.sop_classes import DUPLICATE_INSTANCE, INSTANCE_AVAILABILITY, PERFORMED_STEP
from pacs_bridge.services.study_rows import PRESENT
from pacs_bridge.upper_layer.command_set import Field, Tag

#: Warnings of N-CREATE (PS3.7 10.1.5.1.6), and the answer to a notification that it has from a try whose answer was lost.
_TAKEN_AS = frozenset((0x0107, 0x0116, DUPLICATE_INSTANCE))


def note_settled(session: Session, study: Study) -> None:
    """Write down which devices are to be told of a study, in the transaction that settles it.

    They are those that are marked so and whose organisation, or one below it, examined the study. A notice that a device
    has not taken when a late image comes is replaced: it hears of the study as it is then.
    """
    marked = select(Device).where(Device.told_of_availability.is_(True), Device.dismissed_at.is_(None))
    for device in session.scalars(marked).all():
        if study.organisation_id not in reach(session, device.organisation_id):
            continue
        of_both = select(AvailabilityNotice).where(
            AvailabilityNotice.device_id == device.id, AvailabilityNotice.study_id == study.id
        )
        notice = session.scalar(of_both)
        if notice is None:
            notice = AvailabilityNotice(device_id=device.id, study_id=study.id)
            session.add(notice)
        notice.revision, notice.sop_instance_uid = study.revision, f"2.25.{uuid.uuid4().int}"
        notice.answered_at, notice.tries, notice.last_error, notice.next_try_at = None, 0, None, now()


class AvailabilityNotices:
    """Notices that devices have not taken yet."""

    table = AvailabilityNotice

    def owed(self) -> Sequence[ColumnElement[bool]]:
        """A device whose mark was taken away hears nothing any more."""
        return (Device.told_of_availability.is_(True),)

    def report(self, session: Session, row_id: int, device: AdmittedDevice, settings: Settings) -> Report | None:
        """Return the notification of a study; None while it is not settled or the archive lacks something of it."""
        notice = session.get_one(AvailabilityNotice, row_id)
        study = session.get_one(Study, notice.study_id)
        query = select(Instance).where(Instance.study_id == study.id, PRESENT).order_by(Instance.id)
        instances = session.scalars(query).all()
        whole = all(instance.state is CustodyState.COMPARED for instance in instances)
        if study.state is not StudyState.SETTLED or not instances or not whole:
            return None
        revision = notice.revision

        def note_taken(later: Session) -> None:
            kept = later.get_one(AvailabilityNotice, row_id)
            if kept.revision == revision:  # else it has settled anew meanwhile, and the device is to hear of that too
                kept.answered_at, kept.last_error = now(), None
            record(
                later, f"device:{device.ae_title}", "availability_told", f"study:{study.study_instance_uid}",
                {"revision": revision, "instances": len(instances)},
            )  # fmt: skip

        return Report(
            sop_class=INSTANCE_AVAILABILITY,
            service="Instance Availability Notification",
            elements={
                Tag.FIELD: Field.N_CREATE_RQ,
                Tag.AFFECTED_SOP_CLASS: INSTANCE_AVAILABILITY,
                Tag.AFFECTED_SOP_INSTANCE: notice.sop_instance_uid,
            },
            data_set=notification(study, instances, _steps(session, study, device), settings.node.ae_title),
            note_taken=note_taken,
            taken_as=_TAKEN_AS,
        )


def notification(study: Study, instances: Sequence[Instance], steps: Sequence[str], retrieve_ae_title: str) -> Dataset:
    """Return the attribute list of the N-CREATE (PS3.4 Table R.3.2-1).

    Parameters
    ----------
    steps
        SOP Instance UIDs of the performed procedure steps that are known; none: the sequence is empty.
    """
    told = Dataset()
    told.ReferencedPerformedProcedureStepSequence = Items([_step(uid) for uid in steps])
    told.StudyInstanceUID = study.study_instance_uid
    by_series: dict[str, list[Dataset]] = defaultdict(list)
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = instance.sop_class_uid, instance.sop_instance_uid
        item.InstanceAvailability, item.RetrieveAETitle = "ONLINE", retrieve_ae_title
        by_series[instance.series_instance_uid].append(item)
    told.ReferencedSeriesSequence = Items()
    for uid, items in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = uid, Items(items)
        told.ReferencedSeriesSequence.append(series)
    return told


def _steps(session: Session, study: Study, device: AdmittedDevice) -> Sequence[str]:
    """Return the steps that devices of the told one's organisations reported of a study."""
    return session.scalars(
        select(PerformedStep.sop_instance_uid)
        .join(Device, PerformedStep.device_id == Device.id)
        .where(
            PerformedStep.study_instance_uid == study.study_instance_uid,
            Device.organisation_id.in_(reach(session, device.organisation_id)),
        )
        .order_by(PerformedStep.id)
    ).all()


def _step(uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = PERFORMED_STEP, uid
    item.PerformedWorkitemCodeSequence = Items()
    return item
