"""A signed ECG report as a DICOM document in the study: made before the signature is written, put into custody with it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pydicom
from highdicom import UID
from pydicom import Dataset
from pydicom.uid import EnhancedSRStorage
from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from api.ecg_measuring import MEASURED, holding_values, measurements_of
from api.house import House
from api.images_of_study import ecgs_of
from api.preread_words import latest
from core.access import Person
from core.lifecycles.preread import PreReadState
from core.tables import Door, EcgMeasurement, Instance, Organisation, PreRead, ReportVersion, Study, User, Verdict
from inference.ecg_signed_object import Doctor, SignedEcg, signed_ecg_report
from inference.publication import put_in_custody
from inference.vocabulary.terms import vocabulary
from pacs_bridge.archive import Archive, NotInArchive
from pacs_bridge.spool import Spool


def signed_ecg_document(
    session: Session, house: House, person: Person, study: Study, version: ReportVersion, signed_at: datetime
) -> Dataset | None:
    """Return the document of ``version`` as ``person`` signs it; None for a study without a recording at hand."""
    rows = session.scalars(select(PreRead).where(PreRead.study_id == study.id, PreRead.engine == "ecg")).all()
    read = next((one for one in latest(rows) if one.state is PreReadState.READ), None)
    headers = _headers(session, house.archive, study, read)
    if not headers:
        return None
    recording = str(headers[0].SOPInstanceUID)
    measured = measurements_of(session, study).get(recording)
    before = session.scalars(_signed_documents(study).order_by(Instance.instance_number.desc()).limit(1)).first()
    return signed_ecg_report(
        _said(session, house, person, version, read, recording, measured),
        headers,
        sop_instance_uid=str(UID()),
        series_instance_uid=before.series_instance_uid if before else str(UID()),
        made_at=signed_at.astimezone(ZoneInfo(house.settings.county.timezone)),
        replaces=_reference(study, before) if before else None,
    )


def keep_signed_ecg(session: Session, house: House, study: Study, document: Dataset) -> None:
    """Put a document into custody in the transaction that signs its report; it goes the way of every instance."""
    pre_read = session.scalars(select(PreRead).where(PreRead.study_id == study.id).order_by(PreRead.id.desc()).limit(1)).first()
    if pre_read is not None:
        put_in_custody(session, house.settings, Spool(house.settings.spool), pre_read, document)


def _said(
    session: Session,
    house: House,
    person: Person,
    version: ReportVersion,
    read: PreRead | None,
    recording: str,
    measured: EcgMeasurement | None,
) -> SignedEcg:
    known = vocabulary()
    rows = (
        [row for row in read.measurements if row.sop_instance_uid == recording and row.code in known.measurements] if read else []
    )
    return SignedEcg(
        number=version.number,
        language=house.settings.county.language,
        findings=version.findings,
        impression=version.impression,
        signer=_doctor(session, session.get_one(User, person.user_id)),
        numbers=holding_values({row.code: row.value for row in rows}, measured),
        by_hand=MEASURED if measured else (),
        measured_by=_doctor(session, measured.measured_by) if measured else None,
        machine=read.models[0] if read and read.models else None,
        accepted=[
            one.code for one in (read.findings if read else []) if one.verdict is Verdict.ACCEPTED and one.code in known.findings
        ],
    )


def _doctor(session: Session, user: User) -> Doctor:
    return Doctor(name=user.display_name, organisation=session.get_one(Organisation, user.organisation_id).name_zh)


def _headers(session: Session, archive: Archive, study: Study, read: PreRead | None) -> list[Dataset]:
    """Return the recordings without private elements, as far as the archive holds them; first the one whose numbers hold."""
    spoken_of = read.measurements[0].sop_instance_uid if read and read.measurements else None
    headers: list[Dataset] = []
    with TemporaryDirectory(prefix="sumu-signed-") as folder:
        for instance in sorted(ecgs_of(session, study), key=lambda one: one.sop_instance_uid != spoken_of):
            if instance.archive_id is None:
                continue
            try:
                file = archive.fetch(instance.archive_id, Path(folder) / f"{instance.id}.dcm")
            except NotInArchive:
                continue
            header = pydicom.dcmread(file)
            header.remove_private_tags()
            headers.append(header)
    return headers


def _signed_documents(study: Study) -> Select[Instance]:
    """Return the query of the documents of signed versions: our own ECG Reports that are not a pre-read's."""
    of_pre_reads = select(PreRead.sr_sop_instance_uid).where(
        PreRead.study_id == study.id, PreRead.sr_sop_instance_uid.is_not(None)
    )
    return select(Instance).where(
        Instance.study_id == study.id,
        Instance.door == Door.OURS,
        Instance.sop_class_uid == EnhancedSRStorage,
        Instance.sop_instance_uid.not_in(of_pre_reads),
    )


def _reference(study: Study, document: Instance) -> Dataset:
    """Return what a later version says of the one before (Predecessor Documents Sequence, PS3.3 C.17.2)."""
    reference = Dataset()
    reference.StudyInstanceUID = study.study_instance_uid
    reference.SeriesInstanceUID = document.series_instance_uid
    reference.SOPClassUID, reference.SOPInstanceUID = document.sop_class_uid, document.sop_instance_uid
    return reference
