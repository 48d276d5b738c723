"""Film grants: who gave a link to a study, what opens it, and every visit to it.

A grant's token is printed in a QR code and kept here only as a hash, so a copy of the database opens no film. What the
patient types besides (the second check) is kept as argon2id. States change through ``core.lifecycles.film_grant`` alone;
functions that take a session want one of ``Database.writing()``.
"""

from __future__ import annotations

import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from core import audit
from core.access import Permission, Person
from core.clock import now
from core.database import Database
from core.lifecycles.film_grant import FILM_GRANT, FilmGrantEvent, FilmGrantState
from core.passwords import hash_password, new_token, password_matches, token_hash
from core.settings import Settings
from core.tables import FilmGrant, FilmVisit, Study, VisitOutcome


class CheckKind(StrEnum):
    """What the patient types after the link is open."""

    BIRTH_DATE = "birth_date"
    CODE = "code"


class Answer(StrEnum):
    """What became of a try to open a film."""

    OPENED = "opened"
    WRONG = "wrong"
    LOCKED = "locked"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class FilmLink:
    """A fresh grant: the only moment at which its token and its code are known."""

    grant_id: int
    token: str
    url: str
    check_kind: CheckKind
    #: Six digits to print on the slip; None when the birth date is asked for.
    code: str | None
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The answer to a try; ``visit_token`` is set when it is ``OPENED``."""

    answer: Answer
    visit_token: str | None = None


#: Verified when no grant has the token, so that both answers take the same time.
_NO_CHECK = hash_password(new_token())


def grant_film(session: Session, person: Person, study: Study, *, settings: Settings) -> FilmLink:
    """Give a link to ``study``, which the caller took from ``core.access.visible_studies``.

    Raises
    ------
    NotAllowed
        If the person's roles do not include it.
    """
    person.must(Permission.GRANT_FILM)
    birth_date = study.patient.birth_date
    kind, code = (CheckKind.BIRTH_DATE, None) if birth_date else (CheckKind.CODE, f"{secrets.randbelow(1_000_000):06d}")
    check = f"{birth_date:%Y%m%d}" if birth_date else str(code)
    token, moment = new_token(), now()
    grant = FilmGrant(
        study_id=study.id,
        token_hash=token_hash(token),
        check_hash=hash_password(check),
        check_kind=kind,
        state=FILM_GRANT.start,
        created_by_id=person.user_id,
        created_at=moment,
        expires_at=moment + timedelta(days=settings.film.days),
    )
    session.add(grant)
    session.flush()
    audit.record(session, person.actor, "film_granted", _subject(study), {"grant": grant.id, "check": kind.value})
    return FilmLink(
        grant_id=grant.id,
        token=token,
        url=f"{settings.web_address}/f/{token}",
        check_kind=kind,
        code=code,
        expires_at=grant.expires_at,
    )


def revoke(session: Session, person: Person, grant: FilmGrant) -> None:
    """Take a link back; open visits end with it, at their next image."""
    _change(session, person, grant, FilmGrantEvent.REVOKE, "film_revoked")


def extend(session: Session, person: Person, grant: FilmGrant, *, settings: Settings) -> None:
    """Let a link open for another full term, counted from now; an expired one opens again."""
    expire_when_due(session, grant)
    grant.expires_at = now() + timedelta(days=settings.film.days)
    _change(session, person, grant, FilmGrantEvent.EXTEND, "film_extended", until=grant.expires_at.isoformat())


def unlock(session: Session, person: Person, grant: FilmGrant) -> None:
    """Give a locked link its tries back, after a person has looked who it was."""
    expire_when_due(session, grant)
    grant.wrong_checks = 0
    _change(session, person, grant, FilmGrantEvent.UNLOCK, "film_unlocked")


def open_film(database: Database, token: str, check: str, *, address: str, browser: str, settings: Settings) -> Opening:
    """Try to open a film; a right check gives a visit token, a wrong one is counted until the link locks.

    The answer is a value and not an exception, because the count of a wrong check must be committed. A token that no grant
    has is answered like a wrong check and takes as long. The check is verified before the writing begins: argon2 is slow on
    purpose, and nobody else should wait for it.
    """
    with database.reading() as session:
        known = grant_of(session, token)
        kept_hash = known.check_hash if known else _NO_CHECK
    right = password_matches(kept_hash, normal_check(check))
    with database.writing() as session:
        grant = grant_of(session, token)
        if grant is None:
            return Opening(answer=Answer.WRONG)
        return _answer(session, grant, right, address=address, browser=browser, settings=settings)


def _answer(session: Session, grant: FilmGrant, right: bool, *, address: str, browser: str, settings: Settings) -> Opening:
    expire_when_due(session, grant)
    visit = FilmVisit(grant_id=grant.id, at=now(), address=address[:64], browser=browser[:256], outcome=VisitOutcome.REFUSED)
    session.add(visit)
    if grant.state is not FilmGrantState.ACTIVE:
        return _refuse(session, grant, visit, Answer(grant.state.value))
    if not right:
        visit.outcome = VisitOutcome.WRONG_CHECK
        grant.wrong_checks += 1
        if grant.wrong_checks >= settings.film.tries:
            grant.state = FILM_GRANT.next(grant.state, FilmGrantEvent.LOCK)
            return _refuse(session, grant, visit, Answer.LOCKED)
        return _refuse(session, grant, visit, Answer.WRONG)
    visit_token = new_token()
    visit.outcome, visit.token_hash = VisitOutcome.OPENED, token_hash(visit_token)
    visit.expires_at = min(visit.at + timedelta(minutes=settings.film.visit_minutes), grant.expires_at)
    grant.wrong_checks = 0
    session.flush()
    detail = {"grant": grant.id, "visit": visit.id, "address": visit.address, "browser": visit.browser}
    audit.record(session, actor_of(grant), "film_opened", _subject(grant.study), detail)
    return Opening(answer=Answer.OPENED, visit_token=visit_token)


def grant_of(session: Session, token: str) -> FilmGrant | None:
    """Return the grant that a link leads to."""
    return session.scalar(select(FilmGrant).where(FilmGrant.token_hash == token_hash(token)))


def visit_of(session: Session, visit_token: str) -> FilmVisit | None:
    """Return the open visit that a cookie names; None once it or its grant has ended."""
    visit = session.scalar(select(FilmVisit).where(FilmVisit.token_hash == token_hash(visit_token)))
    if visit is None or visit.expires_at is None or visit.expires_at <= now():
        return None
    return visit if present_state(visit.grant) is FilmGrantState.ACTIVE else None


def present_state(grant: FilmGrant) -> FilmGrantState:
    """Return the state of a grant now: one whose time is over is expired before anybody has written it down."""
    due = grant.expires_at <= now() and FILM_GRANT.allows(grant.state, FilmGrantEvent.EXPIRE)
    return FILM_GRANT.next(grant.state, FilmGrantEvent.EXPIRE) if due else grant.state


def expire_when_due(session: Session, grant: FilmGrant) -> None:
    """Write down that the time of a grant is over, if it is."""
    if present_state(grant) is not grant.state:
        grant.state = FILM_GRANT.next(grant.state, FilmGrantEvent.EXPIRE)
        audit.record(session, "process:web", "film_expired", _subject(grant.study), {"grant": grant.id})


def normal_check(check: str) -> str:
    """Return what a patient typed as the digits that were hashed: ``1958年3月2日``, ``１９５８-３-２`` are ``19580302``."""
    text = unicodedata.normalize("NFKC", check)
    groups = "".join(letter if letter.isdecimal() else " " for letter in text).split()
    if len(groups) == 3 and len(groups[0]) == 4:
        return groups[0] + groups[1].zfill(2) + groups[2].zfill(2)
    return "".join(groups)


def actor_of(grant: FilmGrant) -> str:
    """Return the name of a grant's visitors in the audit chain."""
    return f"film:{grant.id}"


def _change(session: Session, person: Person, grant: FilmGrant, event: FilmGrantEvent, action: str, **detail: str) -> None:
    person.must(Permission.GRANT_FILM)
    grant.state = FILM_GRANT.next(grant.state, event)
    audit.record(session, person.actor, action, _subject(grant.study), {"grant": grant.id, **detail})


def _refuse(session: Session, grant: FilmGrant, visit: FilmVisit, answer: Answer) -> Opening:
    session.flush()
    detail = {"grant": grant.id, "visit": visit.id, "reason": answer.value, "address": visit.address}
    audit.record(session, actor_of(grant), "film_refused", _subject(grant.study), detail)
    return Opening(answer=answer)


def _subject(study: Study) -> str:
    return f"study:{study.study_instance_uid}"
