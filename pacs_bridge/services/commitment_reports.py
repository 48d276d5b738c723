"""Reports about storage commitment on an association of our own (PS3.4 J.3.3), in one round with the other reports."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from core.clock import now
from core.database import Database
from core.settings import Settings
from core.tables import Commitment
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.availability import AvailabilityNotices
from pacs_bridge.services.commitment import decide, note_answered, report_of
from pacs_bridge.services.reports import Report, send_due
from pacs_bridge.services.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from pacs_bridge.upper_layer.command_set import Field, Tag


class CommitmentReports:
    """What custody has decided, and devices have not taken yet."""

    table = Commitment

    def owed(self) -> Sequence[ColumnElement[bool]]:
        """Every question is answered."""
        return ()

    def report(self, session: Session, row_id: int, device: AdmittedDevice, settings: Settings) -> Report | None:
        """Return the report about a question; None while something of it is undecided."""
        commitment = session.get_one(Commitment, row_id)
        decision = decide(session, commitment, device, now())
        if decision.open:
            return None
        return Report(
            sop_class=STORAGE_COMMITMENT,
            service="Storage Commitment Push Model",
            node_is_scp=True,
            elements={
                Tag.FIELD: Field.N_EVENT_REPORT_RQ,
                Tag.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT,
                Tag.AFFECTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
                Tag.EVENT_TYPE: decision.event_type,
            },
            data_set=report_of(commitment, decision),
            note_taken=lambda later: note_answered(later, later.get_one(Commitment, row_id), decision, device),
        )


def report_due(database: Database, settings: Settings) -> int:
    """Tell devices what is decided about their questions and which studies they can fetch; return how many took theirs.

    The worker repeats this.
    """
    return send_due(database, settings, (CommitmentReports(), AvailabilityNotices()))
