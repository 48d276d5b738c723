"""A doctor's verdict on one finding of a pre-read: accepted, struck, or taken back."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.refusals import N_, Refusal
from core import audit
from core.access import Permission, Person
from core.clock import now
from core.tables import Finding, PreRead, Study, Verdict


class NoSuchFinding(Refusal):
    """The finding is not one of this study's."""

    status = 404
    message_id = N_("This study has no such finding any more.")
    remedy_id = N_("Reload the page: a newer pre-read has taken its place.")


def judge(session: Session, person: Person, study: Study, finding_id: int, verdict: Verdict | None) -> Finding:
    """Keep ``verdict`` with its doctor; None takes it back. The pre-read itself stays as the engine said it."""
    person.must(Permission.JUDGE_FINDINGS)
    finding = session.get(Finding, finding_id)
    if finding is None or session.get_one(PreRead, finding.pre_read_id).study_id != study.id:
        raise NoSuchFinding
    finding.verdict = verdict
    finding.verdict_by_id = person.user_id if verdict else None
    finding.verdict_at = now() if verdict else None
    detail = {"finding": finding.id, "code": finding.code, "verdict": verdict.value if verdict else None}
    audit.record(session, person.actor, "finding_judged", f"study:{study.study_instance_uid}", detail)
    return finding
