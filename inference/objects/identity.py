"""What all objects of one pre-read share: whose they are, who made them, which UIDs they bear.

The UIDs follow from the pre-read, so that a step that is taken twice makes the same objects and not two of each.
"""

from __future__ import annotations

import uuid
from copy import deepcopy
from datetime import datetime
from typing import Any

from highdicom import UID
from pydicom import Dataset
from pydicom.valuerep import DA, TM

from core.tables import PreRead

MANUFACTURER = "Sumu"

#: Type 2 elements of patient and study (PS3.3 C.7.1.1, C.7.2.1).
_REPEATED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)


def repeatable(header: Dataset) -> Dataset:
    """Return a header in UTF-8 with every element of patient and study that an object repeats, empty where it was left out."""
    whole = deepcopy(header)
    for element in whole:  # each is read in the device's own character set
        if element.VR == "PN" and element.VM == 1:
            element.value = str(element.value)
    # Chinese statements stand in every object, whatever the device writes in.
    whole.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _REPEATED:
        if keyword not in whole:
            setattr(whole, keyword, "")
    return whole


def object_uid(pre_read: PreRead, study_instance_uid: str, part: str) -> str:
    """Return the UID of a part of a pre-read: the same each time, and another one for every other pre-read of any county."""
    queued = pre_read.queued_at.isoformat() if pre_read.queued_at else ""
    name = f"sumu/pre-read/{study_instance_uid}/{pre_read.engine}/{pre_read.revision}/{pre_read.id}/{queued}/{part}"
    return str(UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, name))))


def model_uid(model: dict[str, Any]) -> str:
    """Return the UID of a model: of its name, version and weights."""
    name = f"sumu/{model['name']}/{model['version']}/{model.get('weights_sha256')}"
    return str(UID.from_uuid(str(uuid.uuid5(uuid.NAMESPACE_OID, name))))


def model_named(pre_read: PreRead, name: str) -> dict[str, Any] | None:
    """Return the identity of one of the pre-read's models, or None when it took no part."""
    return next((model for model in pre_read.models if model["name"] == name), None)


def model_of(pre_read: PreRead, code: str) -> dict[str, Any]:
    """Return who said ``code``: the model whose name begins as the code does, else the first named."""
    family = code.split("_")[0]
    first: dict[str, Any] = pre_read.models[0]
    return next((model for model in pre_read.models if str(model["name"]).split("_")[0] == family), first)


def describe_maker(model: dict[str, Any]) -> dict[str, Any]:
    """Return the equipment (PS3.3 C.7.5.2) that a model is, as highdicom's arguments: its weights are its serial number."""
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": str(model["name"])[:64],
        "software_versions": str(model["version"])[:64],
        "device_serial_number": str(model.get("weights_sha256") or "none")[:64],
    }


def date_object(document: Dataset, made_at: datetime) -> None:
    """Write when the object was made, with the offset of ``made_at`` from UTC (PS3.3 C.12.1).

    The offset holds for all dates of an object, also for the device's that it repeats: give the county's time.
    """
    date, time = DA(made_at.date()), TM(made_at.time().replace(microsecond=0))
    for event in ("Content", "InstanceCreation", "PresentationCreation"):
        if f"{event}Date" in document:
            setattr(document, f"{event}Date", date)
            setattr(document, f"{event}Time", time)
    document.TimezoneOffsetFromUTC = f"{made_at:%z}"
