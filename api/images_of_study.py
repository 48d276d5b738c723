"""What a study holds to look at, and with what: an ECG on paper, a slide under a microscope, the rest in the viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.refusals import N_, Refusal
from core.tables import Door, Instance, Study
from inference.ecg.waveform import ECG_SOP_CLASSES, Ecg, read_ecg
from pacs_bridge.archive import Archive

#: VL Whole Slide Microscopy Image Storage (PS3.3 A.32.8).
SLIDE_SOP_CLASS = "1.2.840.10008.5.1.4.1.1.77.1.6"


class NotInArchiveYet(Refusal):
    """The instance is acknowledged and on its way from the spool."""

    status = 404
    message_id = N_("This image is still on its way into the archive.")
    remedy_id = N_("Wait a few seconds and open the study again.")


class Light(StrEnum):
    """How something is looked at."""

    VIEWER = "viewer"
    ECG = "ecg"
    SLIDE = "slide"


@dataclass(frozen=True, kw_only=True)
class View:
    """One thing that the reading page can show on its left."""

    light: Light
    address: str
    #: Modality of the series, for the tab's name.
    modality: str
    #: 1, 2, … among views of the same kind; 0 when it is the only one.
    number: int


def views_of(session: Session, study: Study) -> list[View]:
    """Return every view of a study, ECGs and slides first; our own result objects show with the images."""
    query = select(Instance).where(Instance.study_id == study.id).order_by(Instance.instance_number, Instance.id)
    instances = session.scalars(query).all()
    ecgs = [one for one in instances if one.sop_class_uid in ECG_SOP_CLASSES]
    slides = list(dict.fromkeys(one.series_instance_uid for one in instances if one.sop_class_uid == SLIDE_SOP_CLASS))
    others = [
        one
        for one in instances
        if one.sop_class_uid not in ECG_SOP_CLASSES and one.sop_class_uid != SLIDE_SOP_CLASS and one.door is not Door.OURS
    ]
    uid = study.study_instance_uid
    views = _numbered(Light.ECG, "ECG", [f"/studies/{uid}/ecg/{one.sop_instance_uid}.svg" for one in ecgs])
    views += _numbered(Light.SLIDE, "SM", [f"/slides/{uid}/{series}" for series in slides])
    if others or not views:
        address = "/viewer/viewer?" + urlencode({"StudyInstanceUIDs": uid})
        views.append(View(light=Light.VIEWER, address=address, modality=study.modality, number=0))
    return views


def ecgs_of(session: Session, study: Study) -> Sequence[Instance]:
    """Return the ECG recordings of a study, in the device's order."""
    query = select(Instance).where(Instance.study_id == study.id, Instance.sop_class_uid.in_(ECG_SOP_CLASSES))
    return session.scalars(query.order_by(Instance.instance_number, Instance.id)).all()


def fetch_ecg(archive: Archive, instance: Instance) -> Ecg:
    """Read one recording out of the archive.

    Raises
    ------
    NotInArchiveYet
        While it lies in the spool.
    """
    if instance.archive_id is None:
        raise NotInArchiveYet
    with TemporaryDirectory(prefix="sumu-ecg-") as folder:
        return read_ecg(archive.fetch(instance.archive_id, Path(folder) / "ecg.dcm"))


def _numbered(light: Light, modality: str, addresses: list[str]) -> list[View]:
    alone = len(addresses) == 1
    return [
        View(light=light, address=address, modality=modality, number=0 if alone else number)
        for number, address in enumerate(addresses, 1)
    ]
