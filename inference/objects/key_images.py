"""Which images a person should look at first (Key Object Selection, PS3.3 A.35.4, PS3.16 TID 2010): those with findings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from highdicom.ko import KeyObjectSelection, KeyObjectSelectionDocument
from highdicom.sr import CodedConcept, ObserverContext
from pydicom import Dataset

from core.tables import Finding, PreRead
from inference.objects.identity import MANUFACTURER, date_object, object_uid
from inference.vocabulary.terms import vocabulary

SERIES_NUMBER = 9003

#: PS3.16 CID 7010.
_OF_INTEREST = CodedConcept("113000", "DCM", "Of Interest")


def key_images_of(
    pre_read: PreRead,
    findings: Sequence[Finding],
    headers: Sequence[Dataset],
    observer: ObserverContext,
    *,
    made_at: datetime,
) -> Dataset:
    """Return the selection of the images that ``findings`` speak of.

    Parameters
    ----------
    findings
        What the pre-read found that is not normal.
    headers
        The images that they were seen on, without pixels, made repeatable.
    observer
        The device that says so.
    """
    study = str(headers[0].StudyInstanceUID)
    terms = [vocabulary().findings[code] for code in dict.fromkeys(finding.code for finding in findings)]
    content = KeyObjectSelection(
        document_title=_OF_INTEREST,
        referenced_objects=list(headers),
        observer_device_context=observer,
        description="; ".join(f"{term.zh} {term.en}" for term in terms),
    )
    document = KeyObjectSelectionDocument(
        evidence=list(headers),
        content=content,
        series_instance_uid=object_uid(pre_read, study, "key images"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=object_uid(pre_read, study, "key images of the findings"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        series_description="Pre-read: key images",
    )
    date_object(document, made_at)
    return document
