"""The one way in which a page or an API reaches a study: by its UID, through the person's reach."""

from __future__ import annotations

from sqlalchemy.orm import Session

from api.refusals import NoSuchStudy
from core.access import Person, visible_studies
from core.tables import Study


def visible_study(session: Session, person: Person, study_instance_uid: str, *, for_change: bool = False) -> Study:
    """Return the study with this UID; ``for_change`` locks its row, so that two doctors' claims queue up.

    Raises
    ------
    NoSuchStudy
        Also when it exists in an organisation that the person does not see.
    """
    query = visible_studies(person).where(Study.study_instance_uid == study_instance_uid)
    study = session.scalar(query.with_for_update() if for_change else query)
    if study is None:
        raise NoSuchStudy
    return study
