"""Who writes a report: one doctor holds a study at a time, visibly, and not for ever."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from api.refusals import N_, Refusal
from core import audit
from core.access import Permission, Person
from core.clock import now
from core.tables import Study, User


class ClaimedByAnother(Refusal):
    """Another doctor is reading this study."""

    status = 409
    message_id = N_("%(name)s is reading this study.")
    remedy_id = N_("Ask them, or take it over when their claim has ended.")


class NotClaimed(Refusal):
    """Somebody writes without having claimed the study."""

    status = 409
    message_id = N_("You have not claimed this study.")
    remedy_id = N_("Press “Write report” first; if another doctor took it over, your words are in their draft.")


def free_at(study: Study, claim_minutes: float) -> datetime | None:
    """Return when the present claim ends by itself; None when nobody holds the study."""
    if study.claimed_by_id is None or study.claimed_at is None:
        return None
    return study.claimed_at + timedelta(minutes=claim_minutes)


def holder_of(study: Study, claim_minutes: float) -> User | None:
    """Return the doctor whose claim still holds."""
    ends = free_at(study, claim_minutes)
    return study.claimed_by if ends is not None and ends > now() else None


def claim(session: Session, person: Person, study: Study, claim_minutes: float) -> None:
    """Give ``study`` to ``person``; one's own claim is renewed, an ended one is taken over.

    Raises
    ------
    ClaimedByAnother
        While another doctor's claim holds.
    """
    person.must(Permission.WRITE_REPORT)
    holder = holder_of(study, claim_minutes)
    if holder is not None and holder.id != person.user_id:
        raise ClaimedByAnother(name=holder.display_name)
    before = study.claimed_by
    if before is None or before.id != person.user_id:
        detail = {"taken_over_from": before.username} if before else {}
        audit.record(session, person.actor, "study_claimed", f"study:{study.study_instance_uid}", detail)
    study.claimed_by, study.claimed_at = session.get_one(User, person.user_id), now()
    session.flush()


def hold(person: Person, study: Study) -> None:
    """Pass and renew the claim if ``person`` holds it; a claim that ran out still counts until somebody takes it over.

    Raises
    ------
    NotClaimed
        If they do not.
    """
    if study.claimed_by_id != person.user_id:
        raise NotClaimed
    study.claimed_at = now()


def release(session: Session, person: Person, study: Study) -> None:
    """Give the study back unread; the draft stays for the next doctor."""
    hold(person, study)
    audit.record(session, person.actor, "study_released", f"study:{study.study_instance_uid}")
    free(study)


def free(study: Study) -> None:
    """End the claim on ``study``."""
    study.claimed_by = study.claimed_at = None
