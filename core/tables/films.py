"""Cloud film: links that open one study for a patient, and every visit to them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.lifecycles.film_grant import FILM_GRANT, FilmGrantState
from core.tables.base import Base, Key, Sha256, words
from core.tables.studies import Study


class VisitOutcome(StrEnum):
    """How a visit to a film link ended."""

    OPENED = "opened"
    WRONG_CHECK = "wrong_check"
    REFUSED = "refused"


class FilmGrant(Base):
    """One link to one study. The paper or phone holds the token, the row only its hash."""

    __tablename__ = "film_grants"

    id: Mapped[Key]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    token_hash: Mapped[Sha256] = mapped_column(unique=True)
    #: argon2id of the second check: the birth date as YYYYMMDD, or the code printed on the slip.
    check_hash: Mapped[str] = mapped_column(String(256))
    #: ``birth_date`` or ``code``: which of the two the page asks for.
    check_kind: Mapped[str] = mapped_column(String(16))
    state: Mapped[FilmGrantState] = mapped_column(words(FilmGrantState), default=FILM_GRANT.start)
    wrong_checks: Mapped[int] = mapped_column(default=0)
    created_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    study: Mapped[Study] = relationship()
    visits: Mapped[list[FilmVisit]] = relationship(order_by="FilmVisit.id", back_populates="grant")


class FilmVisit(Base):
    """One try to open a film; an opened one carries the visitor's own token for images."""

    __tablename__ = "film_visits"

    id: Mapped[Key]
    grant_id: Mapped[int] = mapped_column(ForeignKey("film_grants.id"), index=True)
    at: Mapped[datetime]
    address: Mapped[str] = mapped_column(String(64))
    browser: Mapped[str] = mapped_column(String(256), default="")
    outcome: Mapped[VisitOutcome] = mapped_column(words(VisitOutcome))
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    expires_at: Mapped[datetime | None]

    grant: Mapped[FilmGrant] = relationship(back_populates="visits")
