"""One page of the worklist: studies, what engines say of them, and how far their reports are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from api.claims import holder_of
from api.preread_words import PreReadWords, in_words, latest
from api.worklist_query import COUNT_LIMIT, PAGE_SIZE, Shelf, WorklistFilter, counts_of, studies_of
from core.access import Person
from core.lifecycles.report import ReportState
from core.settings import Settings
from core.tables import PreRead, Report, ReportVersion, Study, User


@dataclass(frozen=True, kw_only=True)
class Row:
    """One study as the worklist shows it."""

    study: Study
    pre_reads: Sequence[PreReadWords]
    report_state: ReportState | None
    #: The newest version of the report, signed or open.
    version: ReportVersion | None
    #: Whose claim holds now.
    holder: User | None


@dataclass(frozen=True, kw_only=True)
class WorklistPage:
    """What one look at the worklist shows."""

    wish: WorklistFilter
    rows: Sequence[Row]
    counts: Mapping[Shelf, int]
    has_next: bool

    @property
    def pages(self) -> int | None:
        """How many pages the shelf has; None when it is longer than we count."""
        count = self.counts[self.wish.state]
        return None if count >= COUNT_LIMIT else max(1, -(-count // PAGE_SIZE))


def worklist_page(session: Session, person: Person, wish: WorklistFilter, settings: Settings, language: str) -> WorklistPage:
    """Return the asked page of what ``person`` may see."""
    timezone = settings.county.timezone
    found = session.scalars(studies_of(person, wish, timezone).offset((wish.page - 1) * PAGE_SIZE).limit(PAGE_SIZE + 1)).all()
    studies = found[:PAGE_SIZE]
    keys = [study.id for study in studies]
    pre_reads, reports = _pre_reads(session, keys), _reports(session, keys)
    rows = [
        Row(
            study=study,
            pre_reads=[in_words(pre_read, language) for pre_read in latest(pre_reads[study.id])],
            report_state=reports[study.id].state if study.id in reports else None,
            version=reports[study.id].versions[-1] if study.id in reports and reports[study.id].versions else None,
            holder=holder_of(study, settings.web.claim_minutes),
        )
        for study in studies
    ]
    counts = counts_of(session, person, wish, timezone)
    return WorklistPage(wish=wish, rows=rows, counts=counts, has_next=len(found) > PAGE_SIZE)


def _pre_reads(session: Session, studies: list[int]) -> dict[int, list[PreRead]]:
    query = select(PreRead).where(PreRead.study_id.in_(studies)).order_by(PreRead.id)
    by_study = defaultdict(list)
    for pre_read in session.scalars(query.options(selectinload(PreRead.findings), selectinload(PreRead.measurements))):
        by_study[pre_read.study_id].append(pre_read)
    return by_study


def _reports(session: Session, studies: list[int]) -> dict[int, Report]:
    versions = selectinload(Report.versions)
    query = select(Report).where(Report.study_id.in_(studies))
    query = query.options(versions.joinedload(ReportVersion.author), versions.joinedload(ReportVersion.signed_by))
    return {report.study_id: report for report in session.scalars(query)}
