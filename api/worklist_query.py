"""What the worklist shows and in which order: filters of a person made into one query and its counts."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import ColumnElement, Select, and_, false, func, or_, select, true
from sqlalchemy.orm import Session, joinedload

from core.access import Person, visible_studies
from core.lifecycles.study import StudyState
from core.tables import Patient, Report, ReportVersion, Study, Urgency
from pacs_bridge.patient_names import normalise_query

PAGE_SIZE = 40
#: Counting stops here: a tab that says 1000 tells as much as one that says 214 306, and costs nothing.
COUNT_LIMIT = 1000


class Shelf(StrEnum):
    """The tabs of the worklist."""

    TO_READ = "to_read"
    MINE = "mine"
    SIGNED = "signed"
    ARRIVING = "arriving"
    ALL = "all"


class WorklistFilter(BaseModel):
    """What to show."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: Shelf = Field(Shelf.TO_READ, description="Which shelf of the worklist.")
    urgency: Urgency | None = Field(None, description="Only studies of this urgency.")
    modality: str | None = Field(None, max_length=16, description="Only studies of this modality: `CT`, `DX`.")
    organisation: int | None = Field(None, description="Only studies of this organisation.")
    since: date | None = Field(None, description="First day of arrival, county time.")
    until: date | None = Field(None, description="Last day of arrival, county time.")
    search: str | None = Field(
        None,
        max_length=64,
        description="Part of a name (Chinese, pinyin, initials), a patient identifier or an accession number.",
    )
    page: int = Field(1, ge=1, le=10_000, description="Page, from 1.")

    @field_validator("*", mode="before")
    @classmethod
    def _empty_field_is_no_wish(cls, value: Any, info: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            return {"state": Shelf.TO_READ, "page": 1}.get(info.field_name)
        return value.strip() if isinstance(value, str) else value

    def asked(self, **changes: Any) -> dict[str, str]:
        """Return the address parameters that say this filter, with ``changes``; defaults are left out."""
        values = {**self.model_dump(mode="json"), **changes}
        return {name: str(value) for name, value in values.items() if value is not None and value != type(self)._usual(name)}

    @classmethod
    def _usual(cls, name: str) -> Any:
        return cls.model_fields[name].default


def studies_of(person: Person, wish: WorklistFilter, timezone: str) -> Select[Study]:
    """Return the query of one shelf in its order.

    Work comes most urgent first, then oldest first; what is only looked up (signed, all) comes in the
    reverse order of arrival, which the key keeps.
    """
    query = _filtered(person, wish, timezone).where(_shelf(wish.state, person))
    if wish.state in (Shelf.SIGNED, Shelf.ALL):
        query = query.order_by(Study.id.desc())
    else:
        query = query.order_by(Study.urgency_rank, Study.first_received_at, Study.id)
    return query.options(joinedload(Study.patient), joinedload(Study.organisation), joinedload(Study.claimed_by))


def counts_of(session: Session, person: Person, wish: WorklistFilter, timezone: str) -> dict[Shelf, int]:
    """Return how many studies each shelf holds under the other filters, at most ``COUNT_LIMIT``."""
    base = _filtered(person, wish, timezone).with_only_columns(Study.id)
    counts = {}
    for shelf in Shelf:
        found = base.where(_shelf(shelf, person)).limit(COUNT_LIMIT).subquery()
        counts[shelf] = session.scalar(select(func.count()).select_from(found)) or 0
    return counts


def modalities_of(session: Session, person: Person) -> list[str]:
    """Return the modalities that the person's studies have, for the filter's choices."""
    query = visible_studies(person).with_only_columns(Study.modality).distinct()
    return sorted(modality for modality in session.scalars(query) if modality)


def _filtered(person: Person, wish: WorklistFilter, timezone: str) -> Select[Study]:
    query = visible_studies(person)
    if wish.urgency:
        query = query.where(Study.urgency == wish.urgency)
    if wish.modality:
        query = query.where(Study.modality == wish.modality)
    if wish.organisation:
        query = query.where(Study.organisation_id == wish.organisation)
    if wish.since:
        query = query.where(Study.first_received_at >= _midnight(wish.since, timezone))
    if wish.until:
        query = query.where(Study.first_received_at < _midnight(wish.until + timedelta(days=1), timezone))
    if wish.search:
        query = query.where(_matches(wish.search))
    return query


def _shelf(shelf: Shelf, person: Person) -> ColumnElement[bool]:
    """Return the condition of a shelf; each is answered from an index, whatever the county has kept over the years."""
    match shelf:
        case Shelf.TO_READ:
            return and_(Study.state == StudyState.SETTLED, Study.reported_at.is_(None))
        case Shelf.MINE:
            held = select(Study.id).where(Study.claimed_by_id == person.user_id)
            open_and_theirs = (ReportVersion.author_id == person.user_id, ReportVersion.signed_at.is_(None))
            written = select(Report.study_id).join(Report.versions).where(*open_and_theirs)
            return Study.id.in_(held.union(written))
        case Shelf.SIGNED:
            return Study.reported_at.is_not(None)
        case Shelf.ARRIVING:
            return Study.state == StudyState.ARRIVING
        case Shelf.ALL:
            return true()


def _matches(search: str) -> ColumnElement[bool]:
    """Match a name in characters, pinyin or initials, an identifier, an accession number.

    Everything that may be typed for a name stands in its search words; a name that was kept before there were any is
    found by its own letters.
    """
    typed = normalise_query(search).split()
    letters = "".join(typed)
    name = func.replace(Patient.name, " ", "").contains(search.replace(" ", ""), autoescape=True)
    latin = func.replace(func.replace(func.lower(Patient.name_latin), "^", ""), " ", "").contains(letters, autoescape=True)
    by_words = and_(*(Patient.search_words.contains(word, autoescape=True) for word in typed)) if typed else false()
    by_letters = and_(Patient.search_words == "", or_(name, latin)) if letters else false()
    patients = select(Patient.id).where(or_(by_words, by_letters, Patient.identifier.startswith(search, autoescape=True)))
    return or_(Study.patient_id.in_(patients), Study.accession_number.startswith(search, autoescape=True))


def _midnight(day: date, timezone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(timezone))
