"""What became of everything that was sent, read from the rows, and whether that is what a county may expect."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cli.demo.senders import Sent
from core.database import Database
from core.lifecycles.custody import CustodyState
from core.lifecycles.preread import END_STATES, PreReadState
from core.lifecycles.study import StudyState
from core.tables import Door, Instance, PreRead, Study


@dataclass(frozen=True, kw_only=True)
class StudyOutcome:
    """One study at its end."""

    study_instance_uid: str
    device: str
    modality: str
    instances_sent: int
    instances_stored: int
    #: Every stored instance was read back from the archive and had the hash of what was received.
    hash_compared: bool
    state: str
    pre_read: str
    reason: str | None
    model: str | None
    priority: str
    #: The pre-read's structured report is in the archive, compared; None where there is none to store.
    report_object_stored: bool | None
    seconds_from_last_acknowledgement_to_pre_read: float | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen by itself."""
        return (
            self.state == StudyState.SETTLED
            and self.pre_read in {state.value for state in END_STATES}
            and self.report_object_stored is not False
        )

    @property
    def as_expected(self) -> bool:
        """Whether it is settled, whole, compared, and read or clearly marked as not for any model."""
        return (
            self.ended
            and self.instances_sent == self.instances_stored
            and self.hash_compared
            and self.pre_read in {PreReadState.READ, PreReadState.NO_MODEL, PreReadState.DECLINED}
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def wait_for_end(
    database: Database, sent: Sequence[Sent], *, seconds: float, watch: Callable[[Sequence[StudyOutcome]], None] = lambda _: None
) -> list[StudyOutcome]:
    """Wait until every study has its end state or the time is over, and return what is there."""
    deadline = time.monotonic() + seconds
    while True:
        outcomes = outcomes_of(database, sent)
        watch(outcomes)
        if all(outcome.ended for outcome in outcomes) or time.monotonic() > deadline:
            return outcomes
        time.sleep(0.3)


def outcomes_of(database: Database, sent: Sequence[Sent]) -> list[StudyOutcome]:
    """Return the present outcome of every study that was sent, in the order of sending."""
    studies = dict.fromkeys(instance.study_instance_uid for instance in sent)
    with database.reading() as session:
        return [_outcome(session, [instance for instance in sent if instance.study_instance_uid == uid]) for uid in studies]


def _outcome(session: Session, sent: Sequence[Sent]) -> StudyOutcome:
    first = sent[0]
    study = session.scalar(select(Study).where(Study.study_instance_uid == first.study_instance_uid))
    if study is None:
        return _unknown(sent)
    stored = list(session.scalars(select(Instance).where(Instance.study_id == study.id, Instance.door == Door.C_STORE)))
    pre_read = session.scalar(
        select(PreRead).where(PreRead.study_id == study.id, PreRead.revision == study.revision).order_by(PreRead.id)
    )
    last = max(instance.received_at for instance in stored)
    finished = pre_read.finished_at if pre_read else None
    return StudyOutcome(
        study_instance_uid=first.study_instance_uid,
        device=first.ae_title,
        modality=first.modality,
        instances_sent=len({instance.sop_instance_uid for instance in sent}),
        instances_stored=len(stored),
        hash_compared=all(instance.state is CustodyState.COMPARED for instance in stored),
        state=study.state.value,
        pre_read=pre_read.state.value if pre_read else "not begun",
        reason=pre_read.reason or pre_read.error if pre_read else None,
        model=", ".join(f"{model['name']} {model['version']}" for model in pre_read.models) or None if pre_read else None,
        priority=study.urgency.value,
        report_object_stored=_report_object(session, pre_read),
        seconds_from_last_acknowledgement_to_pre_read=round((finished - last).total_seconds(), 2) if finished else None,
    )


def _report_object(session: Session, pre_read: PreRead | None) -> bool | None:
    if pre_read is None or pre_read.state is not PreReadState.READ:
        return None
    query = select(Instance.state).where(Instance.sop_instance_uid == (pre_read.sr_sop_instance_uid or ""))
    return session.scalar(query) is CustodyState.COMPARED


def _unknown(sent: Sequence[Sent]) -> StudyOutcome:
    return StudyOutcome(
        study_instance_uid=sent[0].study_instance_uid,
        device=sent[0].ae_title,
        modality=sent[0].modality,
        instances_sent=len(sent),
        instances_stored=0,
        hash_compared=False,
        state="not arrived",
        pre_read="not begun",
        reason=None,
        model=None,
        priority="",
        report_object_stored=None,
        seconds_from_last_acknowledgement_to_pre_read=None,
    )
