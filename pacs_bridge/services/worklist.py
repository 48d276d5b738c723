"""Modality worklist (PS3.4 K): the orders that wait for a device, in text that it can show."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset
from pydicom.sequence import Sequence
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import joinedload

from core.clock import in_county
from core.database import Database
from core.lifecycles.order import OrderState
from core.settings import Settings
from core.tables import Order, Patient, Urgency
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.patient_names import latin_name
from pacs_bridge.services.data_sets import read_request, write_answer
from pacs_bridge.services.matching import check_keys, day_range, in_range, matches, time_range, values_of
from pacs_bridge.services.projection import project
from pacs_bridge.services.query import MOST_ANSWERS
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.shown_text import character_set_for, person_name, show
from pacs_bridge.services.sop_classes import OUT_OF_RESOURCES
from pacs_bridge.services.study_rows import patient_criteria, within_days
from pacs_bridge.services.worklist_readings import Shown, WorklistReadings
from pacs_bridge.upper_layer.association import CANCELLED, PENDING, SUCCESS, Answer, Message

#: Scheduled Procedure Step Status (0040,0020) of what is still to be done (PS3.3 C.4.10).
STATUSES = {OrderState.SCHEDULED: "SCHEDULED", OrderState.IN_PROGRESS: "STARTED"}
#: Requested Procedure Priority (0040,1003).
PRIORITIES = {Urgency.CRITICAL: "STAT", Urgency.URGENT: "HIGH", Urgency.ROUTINE: "ROUTINE"}
#: PS3.6: Detached Study Management, by which a Referenced Study Sequence names a study.
_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
#: Orders that are read at once.
_PAGE = 200
#: Matched by the database for good.
_SETTLED = frozenset(("PatientName",))
_MOMENT = frozenset(("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime"))


class Worklist:
    """Answers C-FIND of the modality worklist. Threads may share it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._readings = WorklistReadings(database)

    def __call__(self, message: Message) -> Iterator[Answer]:
        """Answer with every order that waits for the device and matches, by time; its trace is left before the first goes out."""
        asked = read_request(message)
        check_keys(asked)
        character_set = character_set_for(asked, message.device.worklist_character_set)
        span = _span(asked)
        settled = _SETTLED if span is None else _SETTLED | _MOMENT
        found: list[Shown] = []
        for order in self._orders(message.device, asked):
            known = self._describe(order, message.device, character_set)
            if message.cancelled():
                yield Answer(status=CANCELLED)
                return
            if not _in_span(span, known) or not matches(asked, known, settled=settled):
                continue
            answer = project(asked, known)
            show(answer, character_set)
            encoded = write_answer(answer, message.context.transfer_syntax)
            found.append(Shown(order_id=order.id, accession_number=order.accession_number, data_set=encoded))
            if len(found) > MOST_ANSWERS:
                break
        self._readings.note(message.device, message.association.id, asked, found[:MOST_ANSWERS])
        for one in found[:MOST_ANSWERS]:
            if message.cancelled():
                yield Answer(status=CANCELLED)
                return
            yield Answer(status=PENDING, data_set=one.data_set)
        if len(found) > MOST_ANSWERS:
            raise Refused(OUT_OF_RESOURCES, f"More than {MOST_ANSWERS} orders; narrow the search.", remedy="Ask by date.")
        yield Answer(status=SUCCESS)

    def close(self) -> None:
        """Write down how often devices read what they had seen."""
        self._readings.close()

    def _orders(self, device: AdmittedDevice, asked: Dataset) -> Iterator[Order]:
        step = _step(asked)
        criteria = [_meant_for(device, values_of(step, "ScheduledStationAETitle")), Order.state.in_(STATUSES)]
        criteria += patient_criteria(asked)
        if days := values_of(step, "ScheduledProcedureStepStartDate"):
            criteria += within_days(Order.scheduled_at, days[0])
        seen = 0
        with self._database.reading() as session:
            ids = list(
                session.scalars(select(Order.id).join(Order.patient).where(*criteria).order_by(Order.scheduled_at, Order.id))
            )
        while seen < len(ids):
            with self._database.reading() as session:
                rows = session.scalars(
                    select(Order)
                    .where(Order.id.in_(ids[seen : seen + _PAGE]))
                    .options(joinedload(Order.patient), joinedload(Order.device), joinedload(Order.organisation))
                    .order_by(Order.scheduled_at, Order.id)
                )
                orders = list(rows)
            yield from orders
            seen += _PAGE

    def _describe(self, order: Order, device: AdmittedDevice, character_set: str) -> Dataset:
        """Return everything that Table K.6-1 names and an order can tell; the rest is known to be empty."""
        local = in_county(order.scheduled_at, self._settings.county.timezone)
        step = _nothing(
            "ScheduledPerformingPhysicianName", "ScheduledProcedureStepLocation", "PreMedication", "RequestedContrastAgent",
            "CommentsOnTheScheduledProcedureStep", "ScheduledProtocolCodeSequence",
        )  # fmt: skip
        step.ScheduledStationAETitle = order.device.ae_title if order.device else device.ae_title
        step.ScheduledStationName = order.device.name[:16] if order.device else ""
        step.ScheduledProcedureStepStartDate = local.strftime("%Y%m%d")
        step.ScheduledProcedureStepStartTime = local.strftime("%H%M%S")
        step.Modality = order.modality
        step.ScheduledProcedureStepDescription = order.description
        step.ScheduledProcedureStepID = str(order.id)
        step.ScheduledProcedureStepStatus = STATUSES[order.state]
        step.BodyPartExamined = order.body_part
        known = _nothing(
            "RequestedProcedureCodeSequence", "PatientTransportArrangements", "AdmissionID", "CurrentPatientLocation",
            "ReferencedPatientSequence", "PatientWeight", "PatientSize", "PatientState", "PregnancyStatus", "MedicalAlerts",
            "Allergies", "SpecialNeeds", "ConfidentialityConstraintOnPatientDataDescription", "RequestedProcedureComments",
            "RequestedProcedureLocation", "ReferringPhysicianName", "IssuerOfPatientID", "OtherPatientIDs", "PatientComments",
            "AdditionalPatientHistory", "EthnicGroup", "NamesOfIntendedRecipientsOfResults", "ImagingServiceRequestComments",
        )  # fmt: skip
        known.ScheduledProcedureStepSequence = Sequence([step])
        known.RequestedProcedureID = order.accession_number
        known.RequestedProcedureDescription = order.description
        known.RequestedProcedurePriority = PRIORITIES[order.urgency]
        known.ReasonForTheRequestedProcedure = order.reason
        known.StudyInstanceUID = order.study_instance_uid
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = _STUDY_MANAGEMENT, order.study_instance_uid
        known.ReferencedStudySequence = Sequence([reference])
        known.AccessionNumber = order.accession_number
        known.PlacerOrderNumberImagingServiceRequest = order.placer_number
        known.RequestingPhysician = person_name(order.requested_by, latin_name(order.requested_by), character_set)
        known.InstitutionName = order.organisation.name_zh
        _add_patient(known, order.patient, character_set)
        return known


def _add_patient(known: Dataset, patient: Patient, character_set: str) -> None:
    known.PatientName = person_name(patient.name, patient.name_latin, character_set)
    known.PatientID = patient.identifier
    known.PatientSex = patient.sex
    known.PatientBirthDate = patient.birth_date.strftime("%Y%m%d") if patient.birth_date else ""


def _nothing(*keywords: str) -> Dataset:
    """Return a data set of elements without values: they are known, and there is nothing to tell."""
    known = Dataset()
    for keyword in keywords:
        setattr(known, keyword, None)
    return known


def _step(asked: Dataset) -> Dataset:
    sequence = asked.get("ScheduledProcedureStepSequence")
    return sequence[0] if sequence else Dataset()


def _meant_for(device: AdmittedDevice, stations: list[str]) -> ColumnElement[bool]:
    """Return which orders a device may see: its own, and those that its organisation meant for no machine in particular.

    A device that asks for another AE title (a workstation that shows the lists of several machines) sees that machine's
    orders, if it stands in the same organisation; the key itself is matched later.
    """
    at_home = Order.organisation_id == device.organisation_id
    if stations and stations != [device.ae_title]:
        return at_home
    return or_(Order.device_id == device.id, and_(at_home, Order.device_id.is_(None)))


def _span(asked: Dataset) -> tuple[str, str] | None:
    """Return the first and last moment where date and time are both asked for as ranges.

    Then they are one span, from the first day's first moment to the last day's last (remark in Table K.6-1); otherwise each
    matches by itself.
    """
    wanted = _step(asked)
    days, times = (values_of(wanted, f"ScheduledProcedureStepStart{part}") for part in ("Date", "Time"))
    if not (days and times and "-" in days[0] and "-" in times[0]):
        return None
    (first_day, last_day), (first_time, last_time) = day_range(days[0]), time_range(times[0])
    return first_day + first_time, last_day + (last_time or "235959999999") if last_day else ""


def _in_span(span: tuple[str, str] | None, known: Dataset) -> bool:
    step = known.ScheduledProcedureStepSequence[0]
    moment = step.ScheduledProcedureStepStartDate + time_range(step.ScheduledProcedureStepStartTime)[0]
    return span is None or in_range(moment, span)
