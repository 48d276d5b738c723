"""Everything that the reading page shows of one study, gathered once and without HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from api.claims import free_at, holder_of
from api.draft_sentences import draft_of
from api.ecg_measuring import measurements_of
from api.images_of_study import View, views_of
from api.preread_words import PreReadWords, in_words, latest
from api.quarantine_notice import set_aside_of
from api.reading_pictures import cautions_of, drawn_images
from api.reports import ReportText, open_version, report_of, signed_report, text_of
from core.access import Permission, Person, visible_studies
from core.lifecycles.report import ReportState
from core.settings import Settings
from core.tables import Device, Instance, PreRead, Quarantined, Report, ReportVersion, Study, User

#: Earlier and other studies of the same patient that the page links to.
_OTHERS = 6


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One study on one doctor's desk."""

    study: Study
    views: Sequence[View]
    devices: Sequence[Device]
    others: Sequence[Study]
    pre_reads: Sequence[PreReadWords]
    #: Why numbers are to be read with care, by the pre-read's key.
    cautions: Mapping[int, Sequence[str]]
    #: How many images the pre-reads draw something over.
    drawn: int
    #: What came of the study and is not shown.
    set_aside: Sequence[Quarantined]
    report: Report | None
    signed: ReportVersion | None
    draft: ReportVersion | None
    #: What an empty editor starts from.
    suggestion: ReportText
    #: Whose claim holds, and until when.
    holder: User | None
    free_at: datetime | None
    may_judge: bool
    #: The reader holds the study, or held it last and nobody took it over.
    is_mine: bool
    may_claim: bool
    may_amend: bool

    @property
    def writes(self) -> bool:
        """Whether the editor is open to the reader."""
        return self.is_mine and (self.report is None or self.report.state is not ReportState.FINAL)

    @property
    def text(self) -> ReportText:
        """Words of the editor: the draft's, or else the suggestion."""
        if self.draft is None:
            return self.suggestion
        return text_of(self.draft)


def desk_of(session: Session, person: Person, study: Study, settings: Settings, language: str) -> Desk:
    """Gather what ``person`` sees of ``study``."""
    pre_reads = pre_reads_of(session, study)
    report = report_of(session, study)
    draft, signed = open_version(report), signed_report(session, study)
    for version in (draft, signed):
        _ = version and (version.author, version.signed_by)  # shown after the session has ended
    holder = holder_of(study, settings.web.claim_minutes)
    writer = person.may(Permission.WRITE_REPORT)
    free = holder is None or holder.id == person.user_id
    final = report is not None and report.state is ReportState.FINAL
    is_mine = writer and study.claimed_by_id == person.user_id
    _ = (study.patient, study.organisation, study.claimed_by)
    return Desk(
        study=study,
        views=views_of(session, study),
        devices=_devices(session, study),
        others=_others(session, person, study),
        pre_reads=[in_words(one, language) for one in latest(pre_reads)],
        cautions={one.id: cautions_of(one, language) for one in latest(pre_reads) if one.engine == "radiograph"},
        drawn=drawn_images(pre_reads, person),
        set_aside=set_aside_of(session, study),
        report=report,
        signed=signed,
        draft=draft,
        suggestion=draft_of(pre_reads, settings.county.language, measurements_of(session, study)),
        holder=holder,
        free_at=free_at(study, settings.web.claim_minutes),
        may_judge=person.may(Permission.JUDGE_FINDINGS),
        is_mine=is_mine,
        may_claim=writer and free and not final and not is_mine,
        may_amend=writer and free and final,
    )


def pre_reads_of(session: Session, study: Study) -> Sequence[PreRead]:
    """Return every pre-read of a study with its findings and numbers, oldest first."""
    query = select(PreRead).where(PreRead.study_id == study.id).order_by(PreRead.id)
    return session.scalars(query.options(selectinload(PreRead.findings), selectinload(PreRead.measurements))).all()


def _devices(session: Session, study: Study) -> Sequence[Device]:
    sent = select(Instance.device_id).where(Instance.study_id == study.id, Instance.device_id.is_not(None)).distinct()
    return session.scalars(select(Device).where(Device.id.in_(sent)).order_by(Device.ae_title)).all()


def _others(session: Session, person: Person, study: Study) -> Sequence[Study]:
    query = visible_studies(person).where(Study.patient_id == study.patient_id, Study.id != study.id)
    return session.scalars(
        query.options(joinedload(Study.organisation)).order_by(Study.first_received_at.desc()).limit(_OTHERS)
    ).all()
