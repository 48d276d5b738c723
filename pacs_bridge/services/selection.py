"""Which instances a C-MOVE or C-GET is about (PS3.4 C.4.2.1.4, C.4.3.1.3)."""

from __future__ import annotations

from pydicom import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.tables import Instance, Patient, Study
from pacs_bridge.services.data_sets import text_of
from pacs_bridge.services.holdings import Held
from pacs_bridge.services.matching import check_keys, values_of
from pacs_bridge.services.question import UNIQUE_KEYS
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.sop_classes import IDENTIFIER_MISMATCH
from pacs_bridge.services.study_rows import PRESENT, Scope

_COLUMNS = {
    "PatientID": Patient.identifier,
    "StudyInstanceUID": Study.study_instance_uid,
    "SeriesInstanceUID": Instance.series_instance_uid,
    "SOPInstanceUID": Instance.sop_instance_uid,
}


def level_of(identifier: Dataset, *, patient_root: bool) -> str:
    """Return the level of a request and check that it names something there.

    Raises
    ------
    Refused
        If it does not.
    """
    check_keys(identifier)
    level = text_of(identifier, "QueryRetrieveLevel").upper()
    if level not in list(UNIQUE_KEYS)[0 if patient_root else 1 :]:
        raise Refused(
            IDENTIFIER_MISMATCH, f"Query/Retrieve Level '{level}' is none of this service.", remedy="Set it on the device."
        )
    if not values_of(identifier, UNIQUE_KEYS[level]):
        raise Refused(
            IDENTIFIER_MISMATCH, f"{UNIQUE_KEYS[level]} is missing at the level {level}.",
            remedy="Choose on the device what is to be fetched.",
        )  # fmt: skip
    return level


def select_instances(session: Session, identifier: Dataset, scope: Scope) -> list[Held]:
    """Return the instances within ``scope`` that fulfil every unique key of the identifier, series by series as they came."""
    query = (
        select(
            Instance.id,
            Study.study_instance_uid,
            Instance.sop_class_uid,
            Instance.sop_instance_uid,
            Instance.transfer_syntax_uid,
            Instance.archive_id,
            Instance.series_instance_uid,
            Instance.instance_number,
        )
        .join(Study, Instance.study_id == Study.id)
        .join(Patient, Study.patient_id == Patient.id)
        .where(scope.studies, PRESENT)
        .order_by(Study.id, Instance.id)
    )
    for keyword, column in _COLUMNS.items():
        if values := values_of(identifier, keyword):
            query = query.where(column.in_(values))
    rows = session.execute(query).all()
    arrived = {uid: place for place, uid in enumerate(dict.fromkeys(row.series_instance_uid for row in rows))}
    rows = sorted(rows, key=lambda row: (arrived[row.series_instance_uid], row.instance_number or 0))
    return [
        Held(
            id=row.id,
            study_instance_uid=row.study_instance_uid,
            sop_class_uid=row.sop_class_uid,
            sop_instance_uid=row.sop_instance_uid,
            transfer_syntax_uid=row.transfer_syntax_uid,
            archive_id=row.archive_id,
        )
        for row in rows
    ]
