"""A chest in the house with everything that its pre-read says and makes, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from core.clock import now
from core.lifecycles.preread import PreReadState
from core.lifecycles.study import StudyState
from core.tables import Finding, Measurement, PreRead
from inference.engine import InstanceFile
from inference.objects.of_pre_read import objects_of
from inference.radiograph.cardiothoracic import told
from tests.api.film_house import FilmHouse, mark_ours, study_of
from tests.inference.test_cardiothoracic import chest, outlined

#: Of the stored image, as ``chest`` writes it.
ROWS, COLUMNS = 600, 500
#: Of the finding that has a place, in pixels of the stored image.
BOX = [300.0, 180.0, 80.0, 70.0]
GRID = [[0.0, 0.2], [0.4, 1.0]]
MODELS = [
    {"name": "chest_radiograph", "version": "0.1.0", "weights_sha256": "ab" * 32, "preprocessing": "224 px"},
    {"name": "heart_lung", "version": "0.1.0", "weights_sha256": "cd" * 32, "preprocessing": "256 px"},
]


def receive_chest(house: FilmHouse, folder: Path, *, localises: bool = True, **tags: Any) -> tuple[str, dict[str, Any]]:
    """Put a chest into the house with its pre-read; return the study's UID and the evidence of heart and lungs."""
    more = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Bai^Yun=白^云",
        "PatientID": "P1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyDate": "20261125",
        "StudyTime": "160000",
        "SeriesNumber": "1",
        "InstanceNumber": "1",
        "WindowCenter": "1900",
        "WindowWidth": "2200",
        "ImagerPixelSpacing": [0.7, 0.7],
    }
    file: InstanceFile = chest(folder, **{**more, **tags})
    uid = house.receive([dcmread(file.path)])
    said = told(file, outlined(ROWS, COLUMNS)) | {"cautions": ["chest_base_cut_off"]}
    image = file.sop_instance_uid
    with house.database.writing() as session:
        study = study_of(session, uid)
        study.state, study.revision = StudyState.SETTLED, 1
        pre_read = PreRead(
            study_id=study.id,
            revision=1,
            engine="radiograph",
            state=PreReadState.READ,
            queued_at=now(),
            finished_at=now(),
            models=MODELS,
            evidence={
                "images": [{"sop_instance_uid": image, "cautions": ["chest_age_unknown"]}],
                "cardiothoracic": [said],
                "localises": localises,
                "heatmaps": {
                    "chest_nodule": {
                        "sop_instance_uid": image,
                        "grid": [[0.0, 0.2], [0.4, 1.0]],
                        "area": [0.0, 0.0, 500.0, 600.0],
                    }
                },
            },
            findings=[
                Finding(code="chest_nodule", probability=0.62, region={"sop_instance_uid": image, "frame": 1, "box": BOX}),
                Finding(code="chest_effusion", probability=0.31, region={"sop_instance_uid": image, "frame": 1, "box": None}),
            ],
            measurements=[
                Measurement(code="cardiothoracic_ratio", value=said["ratio"], sop_instance_uid=image),
                Measurement(code="right_lung_share", value=100 * said["right_lung_share"], sop_instance_uid=image),
            ],
        )
        session.add(pre_read)
    return uid, said


def archive_objects(house: FilmHouse, uid: str, folder: Path) -> list[Dataset]:
    """Put the objects of the study's pre-read into the archive, as delivery does, and return them."""
    header = dcmread(next(folder.glob("*.dcm")), stop_before_pixels=True)
    with house.database.reading() as session:
        pre_read = session.query(PreRead).filter_by(study_id=study_of(session, uid).id).one()
        documents = objects_of(pre_read, [header], made_at=now())
    for document in documents:
        house.receive([document])
        mark_ours(house.database, str(document.SOPInstanceUID))
    return documents
