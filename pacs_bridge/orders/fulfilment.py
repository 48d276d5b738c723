"""Images that come for an order: it is done, and its study is read as soon as the order asked for."""

from __future__ import annotations

from collections.abc import Set

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.audit import record
from core.lifecycles.order import ORDER, OrderEvent, OrderState
from core.tables import Device, Order, Study

log = structlog.get_logger("orders")


class RequestedStudies:
    """The orders that some arrivals may be for, read once."""

    def __init__(self, session: Session, *, studies: Set[str], accession_numbers: Set[str], organisations: Set[int]) -> None:
        self._session = session
        by_uid = select(Order).where(Order.study_instance_uid.in_(studies))
        self._by_uid = {order.study_instance_uid: order for order in session.scalars(by_uid)}
        self._by_number: dict[tuple[int, str], Order] = {}
        if accession_numbers:
            by_number = select(Order).where(
                Order.organisation_id.in_(organisations), Order.accession_number.in_(accession_numbers)
            )
            self._by_number = {(one.organisation_id, one.accession_number): one for one in session.scalars(by_number)}

    def fulfil(self, study: Study, *, device_id: int | None) -> Order | None:
        """Complete the order that a new study was made for, raise the study's urgency to the order's, and return the order.

        The order is the one whose Study Instance UID the device took from its worklist, else the organisation's one of the
        same accession number, if the patient identifier does not contradict. An order that its device itself reports on
        (MPPS) stays with what the device reports. ``device_id`` is the device that sent the images; None: people brought them.
        """
        order = self._by_uid.get(study.study_instance_uid) or self._of_number(study)
        if order is None:
            return None
        if order.urgency.rank < study.requested_urgency.rank:
            study.requested_urgency = order.urgency
            study.rank_as(order.urgency)
        if order.state is OrderState.SCHEDULED:
            order.state = ORDER.next(order.state, OrderEvent.COMPLETE)
            device = self._session.get(Device, device_id) if device_id is not None else None
            actor = f"device:{device.ae_title}" if device else "process:registrar"
            detail = {"study": study.study_instance_uid}
            record(self._session, actor, "order_completed", f"order:{order.accession_number}", detail)
        return order

    def _of_number(self, study: Study) -> Order | None:
        order = self._by_number.get((study.organisation_id, study.accession_number))
        if order is not None and order.patient is not study.patient and not study.patient.identifier.startswith("study:"):
            log.warning(
                "order_of_another_patient", accession_number=order.accession_number, study=study.study_instance_uid,
                remedy="Compare the accession number on the image with the request: one of them was mistyped.",
            )  # fmt: skip
            return None
        return order
