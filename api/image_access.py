"""Who looks at images, and which: a signed-in person sees the studies of their reach, a film's visitor the one of its link.

The DICOMweb proxy, the viewer, the slides and the film ask here, so that there is one answer and one trace of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from api.film_grants import actor_of, visit_of
from api.house import House, house_of
from api.refusals import N_, NoSuchStudy, Refusal, SignInNeeded
from api.signing_in import COOKIE, current_person
from core import audit
from core.access import Permission, Person, visible_studies
from core.database import Database
from core.passwords import token_hash
from core.tables import AuditEvent, Study

FILM_COOKIE = "sumu_film"
#: For so long a person's yes is not asked for again: a study has thousands of frames.
TRUST_SECONDS = 30.0
_MOST_KEPT = 10_000


class NobodyLooks(SignInNeeded):
    """Images were asked for by neither a signed-in person nor the visitor of a film."""

    message_id = N_("Images open only after a sign-in or from a film link.")
    remedy_id = N_("Sign in, or open your film link again.")


class VisitOver(Refusal):
    """A film's visitor came back after the visit, or the link was taken back meanwhile."""

    status = 401
    message_id = N_("Your film has closed.")
    remedy_id = N_("Open your film link once more, by the QR code or the message that you have, and answer the question again.")


@dataclass(frozen=True, kw_only=True)
class FilmVisitor:
    """A patient, or whom they showed their film, after the second check."""

    grant_id: int
    visit_id: int
    study_instance_uid: str
    #: Their name in the audit chain.
    actor: str


@dataclass(frozen=True, kw_only=True)
class Onlooker:
    """Who asks for images: a person, a film's visitor, or a person who has opened a film in the same browser."""

    person: Person | None
    film: FilmVisitor | None
    #: Hash of the sign-in's token: decisions are remembered no longer than a sign-in lasts.
    sign_in: str = ""


def onlooker(request: Request, house: Annotated[House, Depends(house_of)]) -> Onlooker:
    """Return who asks for images: a FastAPI dependency for requests that change nothing.

    Raises
    ------
    NobodyLooks, VisitOver
        If neither a sign-in nor an open film visit came with the request.
    """
    film_token = request.cookies.get(FILM_COOKIE, "")
    film = film_visitor(house.database, film_token) if film_token else None
    try:
        person = current_person(request, house, "") if COOKIE in request.cookies else None
    except SignInNeeded:
        person = None
    if person is not None and not person.may(Permission.SEE_IMAGES):
        if film is None:
            person.must(Permission.SEE_IMAGES)
        person = None
    if person is None and film is None:
        raise VisitOver if film_token else NobodyLooks
    return Onlooker(person=person, film=film, sign_in=token_hash(request.cookies.get(COOKIE, "")) if person else "")


def film_visitor(database: Database, visit_token: str) -> FilmVisitor | None:
    """Return whose film visit a cookie names. Asked of the database every time: a revoked link closes at once."""
    with database.reading() as session:
        visit = visit_of(session, visit_token)
        if visit is None:
            return None
        return FilmVisitor(
            grant_id=visit.grant_id,
            visit_id=visit.id,
            study_instance_uid=visit.grant.study.study_instance_uid,
            actor=actor_of(visit.grant),
        )


class Looks:
    """Decides who may see a study and leaves ``images_opened`` once a study and sign-in or visit, not once a frame."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._allowed: dict[tuple[str, str], float] = {}
        self._recorded: set[tuple[str, str]] = set()

    def must_see(self, who: Onlooker, study_instance_uid: str) -> Person | FilmVisitor:
        """Return in whose name the study is looked at.

        Raises
        ------
        NoSuchStudy
            If they may not see it; it does not tell whether the study exists.
        """
        if who.person is not None and self._person_may_see(who.person, who.sign_in, study_instance_uid):
            return who.person
        if who.film is not None and who.film.study_instance_uid == study_instance_uid:
            self._leave_trace((f"visit:{who.film.visit_id}", study_instance_uid), who.film.actor)
            return who.film
        raise NoSuchStudy

    def _person_may_see(self, person: Person, sign_in: str, study_instance_uid: str) -> bool:
        key = (sign_in, study_instance_uid)
        if self._allowed.get(key, 0) > time.monotonic():
            return True
        with self._database.reading() as session:
            query = visible_studies(person).where(Study.study_instance_uid == study_instance_uid)
            if session.scalar(query.with_only_columns(Study.id)) is None:
                return False
        self._leave_trace(key, person.actor)
        with self._lock:
            if len(self._allowed) >= _MOST_KEPT:
                self._allowed.clear()
            self._allowed[key] = time.monotonic() + TRUST_SECONDS
        return True

    def _leave_trace(self, key: tuple[str, str], actor: str) -> None:
        with self._lock:
            if key in self._recorded:
                return
        subject, detail = f"study:{key[1]}", {"by": key[0][:16]}
        with self._database.writing() as session:
            # Another web process may have left it already.
            if not _recorded(session, actor, subject, detail["by"]):
                audit.record(session, actor, "images_opened", subject, detail)
        with self._lock:
            if len(self._recorded) >= _MOST_KEPT:
                self._recorded.clear()
            self._recorded.add(key)


def looks_of(request: Request, house: Annotated[House, Depends(house_of)]) -> Looks:
    """Return the application's one :class:`Looks`: a FastAPI dependency."""
    state = request.app.state
    if not hasattr(state, "looks"):
        state.looks = Looks(house.database)
    looks: Looks = state.looks
    return looks


def _recorded(session: Session, actor: str, subject: str, by: str) -> bool:
    details = session.scalars(
        select(AuditEvent.detail).where(
            AuditEvent.actor == actor, AuditEvent.subject == subject, AuditEvent.action == "images_opened"
        )
    )
    return any(detail.get("by") == by for detail in details)
