"""Every object of one pre-read: its report first, then masks, drawings and the selection of key images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

import structlog
from pydicom import Dataset

from core.tables import Finding, PreRead
from inference.objects.identity import model_of, object_uid, repeatable
from inference.objects.key_images import key_images_of
from inference.objects.presentation_state import presentation_state_of
from inference.objects.segmentation import segmentation_of
from inference.structured_report import observer_of, pre_read_report
from inference.vocabulary.terms import vocabulary

log = structlog.get_logger("pre_read")


def images_spoken_of(pre_read: PreRead) -> set[str]:
    """Return the SOP Instance UIDs of the images that a number, a finding or an outline of the pre-read is of."""
    numbers = {row.sop_instance_uid for row in pre_read.measurements}
    findings = {(row.region or {}).get("sop_instance_uid") for row in pre_read.findings}
    outlined = {chest["sop_instance_uid"] for chest in _outlined(pre_read)}
    return {uid for uid in numbers | findings | outlined if uid}


def objects_of(pre_read: PreRead, evidence: Sequence[Dataset], *, made_at: datetime) -> list[Dataset]:
    """Return the objects of a finished pre-read, the structured report first; the same UIDs each time.

    Parameters
    ----------
    evidence
        Headers of the instances that the pre-read speaks of (:func:`images_spoken_of`), without pixels; patient and study are
        taken from the first.
    made_at
        In the county's time: its offset from UTC is written beside it.
    """
    study = str(evidence[0].StudyInstanceUID)
    report = pre_read_report(
        pre_read,
        evidence,
        sop_instance_uid=object_uid(pre_read, study, "report"),
        series_instance_uid=object_uid(pre_read, study, "reports"),
        made_at=made_at,
    )
    images = {str(header.SOPInstanceUID): repeatable(header) for header in evidence if _is_drawn_on(header)}
    return [
        report,
        *_segmentations(pre_read, images, made_at),
        *_presentation_states(pre_read, images, made_at),
        *_key_images(pre_read, images, made_at),
    ]


def _made(make: Callable[[], Dataset]) -> list[Dataset]:
    """Return what ``make`` makes, or nothing where a device's header is beyond it: the report goes out all the same."""
    try:
        return [make()]
    except Exception as problem:
        log.warning("object_not_made", maker=getattr(make, "func", make).__name__, error=f"{type(problem).__name__}: {problem}")
        return []


def _segmentations(pre_read: PreRead, images: Mapping[str, Dataset], made_at: datetime) -> list[Dataset]:
    chests = [one for one in _outlined(pre_read) if one["sop_instance_uid"] in images]
    made = (
        _made(partial(segmentation_of, pre_read, chest, images[chest["sop_instance_uid"]], number=number, made_at=made_at))
        for number, chest in enumerate(chests, 1)
    )
    return list(chain.from_iterable(made))


def _presentation_states(pre_read: PreRead, images: Mapping[str, Dataset], made_at: datetime) -> list[Dataset]:
    chests = {one["sop_instance_uid"]: one for one in _outlined(pre_read)}
    boxed: dict[str, list[Finding]] = {}
    for finding in pre_read.findings:
        if finding.region and finding.region.get("box"):
            boxed.setdefault(finding.region["sop_instance_uid"], []).append(finding)
    drawn = [uid for uid in images if uid in chests or uid in boxed]
    made = (
        _made(
            partial(
                presentation_state_of,
                pre_read,
                chests.get(uid),
                boxed.get(uid, ()),
                images[uid],
                number=number,
                made_at=made_at,
            )
        )
        for number, uid in enumerate(drawn, 1)
    )
    return list(chain.from_iterable(made))


def _key_images(pre_read: PreRead, images: Mapping[str, Dataset], made_at: datetime) -> list[Dataset]:
    terms = vocabulary().findings
    spoken = [finding for finding in pre_read.findings if finding.region and not terms[finding.code].normal]
    seen = dict.fromkeys(finding.region["sop_instance_uid"] for finding in spoken if finding.region)
    headers = [images[uid] for uid in seen if uid in images]
    if not headers:
        return []
    observer = observer_of(model_of(pre_read, spoken[0].code))
    return _made(partial(key_images_of, pre_read, spoken, headers, observer, made_at=made_at))


def _outlined(pre_read: PreRead) -> list[dict[str, Any]]:
    return [one for one in (pre_read.evidence or {}).get("cardiothoracic", ()) if one.get("outlines")]


def _is_drawn_on(header: Dataset) -> bool:
    """Return whether an instance is one grey image: what masks and presentation states are defined over."""
    return "Rows" in header and int(header.get("SamplesPerPixel", 1)) == 1 and int(header.get("NumberOfFrames", 1) or 1) == 1
