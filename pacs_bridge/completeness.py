"""When a study has settled: decided from evidence, kept as a state, open to be reopened by a late instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.lifecycles.custody import CustodyState
from core.lifecycles.study import STUDY, StudyEvent, StudyState
from core.settings import CompletenessSettings
from core.tables import Association, Door, Instance, Study
from pacs_bridge.services.availability import note_settled

#: Instances from further in the future were dated by a clock that has been set back since.
CLOCK_JUMP = timedelta(minutes=10)
#: Custody states of an instance that the archive does not hold for certain yet.
_ON_THE_WAY = (CustodyState.RECEIVED, CustodyState.DELIVERED)
#: Arriving studies with nothing on the way: the first one that is rules a study out, however many it has.
_QUIET = select(Study).where(
    Study.state == StudyState.ARRIVING,
    Study.instance_count > 0,
    ~exists().where(Instance.study_id == Study.id, Instance.door != Door.OURS, Instance.state.in_(_ON_THE_WAY)),
)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What we know about a study that is arriving."""

    modality: str
    #: Instances that the archive does not hold for certain yet.
    undelivered: int
    #: Associations that brought some of it and are still open.
    open_associations: int
    #: Some of it came by a door that has no association to wait for. An import is none: like an association that has
    #: ended, it writes all rows of a study at once.
    came_by_other_doors: bool
    last_received_at: datetime
    #: Instances that have come.
    received: int
    #: Instances that the device itself said it made (MPPS, storage commitment); None where it did not say.
    expected: int | None = None
    #: Instance numbers that are missing inside the series: 1, 2, 4 lacks one.
    gaps: int = 0


def may_settle(evidence: Evidence, settings: CompletenessSettings, moment: datetime) -> bool:
    """Return whether a study is complete as far as anybody can tell.

    Never while an association that brought some of it is open, or while the archive lacks an instance. After that, what the
    device itself counted decides: all there, at once; some missing, a long wait. Where it did not count, quiet time by
    modality, none at all for machines that send an examination in one association, and longer where instance numbers have gaps.
    """
    if evidence.undelivered or evidence.open_associations:
        return False
    quiet = settings.quiet_seconds_by_modality.get(evidence.modality, settings.quiet_seconds)
    if evidence.came_by_other_doors:
        quiet = max(quiet, settings.quiet_seconds)
    if evidence.expected is not None:
        quiet = 0 if evidence.received >= evidence.expected else max(quiet, settings.missing_seconds)
    elif evidence.gaps:
        quiet = max(quiet, settings.gap_seconds)
    silence = moment - evidence.last_received_at
    # A clock that ran ahead when the instance came would otherwise hold the study until it is right again.
    return silence >= timedelta(seconds=quiet) or silence < -CLOCK_JUMP


def settle_due(session: Session, settings: CompletenessSettings) -> list[Study]:
    """Settle every arriving study whose evidence allows it, and return them."""
    settled = []
    for study in session.scalars(_QUIET):
        if may_settle(evidence_of(session, study), settings, now()):
            study.state = STUDY.next(study.state, StudyEvent.SETTLE)
            study.settled_at = now()
            study.revision += 1
            record(
                session,
                "process:worker",
                "study_settled",
                f"study:{study.study_instance_uid}",
                {"revision": study.revision, "instances": study.instance_count},
            )
            note_settled(session, study)
            settled.append(study)
    return settled


def evidence_of(session: Session, study: Study) -> Evidence:
    """Collect what the rows say about a study."""
    of_study = (Instance.study_id == study.id, Instance.door != Door.OURS)
    undelivered = select(func.count()).where(*of_study, Instance.state.in_(_ON_THE_WAY))
    bringing = select(Instance.association_id).where(*of_study).distinct()
    open_associations = (
        select(func.count()).select_from(Association).where(Association.id.in_(bringing), Association.ended_at.is_(None))
    )
    other_doors = select(func.count()).where(*of_study, Instance.door == Door.ARCHIVE)
    return Evidence(
        modality=study.modality,
        undelivered=session.scalar(undelivered) or 0,
        open_associations=session.scalar(open_associations) or 0,
        came_by_other_doors=bool(session.scalar(other_doors)),
        last_received_at=study.last_received_at,
        received=study.instance_count,
        expected=study.expected_instances,
        gaps=_gaps(session, study),
    )


def _gaps(session: Session, study: Study) -> int:
    """Return how many instance numbers (0020,0013) the series lack between their first and their last."""
    numbers = (
        select(
            func.max(Instance.instance_number)
            - func.min(Instance.instance_number)
            + 1
            - func.count(Instance.instance_number.distinct())
        )
        .where(Instance.study_id == study.id, Instance.door != Door.OURS, Instance.instance_number.is_not(None))
        .group_by(Instance.series_instance_uid)
    )
    return sum(max(0, lacking or 0) for lacking in session.scalars(numbers))
