"""The lungs and the heart as masks over their radiograph (Segmentation, PS3.3 A.51), so that any viewer can lay them over it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentationTypeValues, SegmentDescription
from highdicom.seg.enum import SegmentAlgorithmTypeValues
from highdicom.sr import CodedConcept
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset
from pydicom.sr.codedict import codes

from core.tables import PreRead
from inference.objects.identity import date_object, describe_maker, model_named, object_uid
from inference.radiograph.cardiothoracic import MODEL

SERIES_NUMBER = 9001

_ORGAN = CodedConcept("123037004", "SCT", "Anatomical Structure")
#: In the order of the segments: the outline's name, its SNOMED CT concept, its colour on a screen.
_STRUCTURES = (
    ("right_lung", CodedConcept("3341006", "SCT", "Right lung"), (70, 150, 220)),
    ("left_lung", CodedConcept("44029006", "SCT", "Left lung"), (80, 190, 150)),
    ("heart", CodedConcept("80891009", "SCT", "Heart"), (220, 90, 80)),
)


def segmentation_of(pre_read: PreRead, image: dict[str, Any], header: Dataset, *, number: int, made_at: datetime) -> Dataset:
    """Return the masks of one image: binary, of the size of the stored image, one segment a structure.

    Parameters
    ----------
    image
        Its entry in ``evidence["cardiothoracic"]``, with outlines.
    header
        The image without pixels, made repeatable.
    number
        Counts the images of the pre-read from 1.
    """
    model = model_named(pre_read, MODEL) or pre_read.models[-1]
    shown = [one for one in _STRUCTURES if one[0] in image["outlines"]]
    # One after the other in memory: highdicom then takes a third of the time.
    masks = np.moveaxis(np.array([_mask(image["outlines"][name], header) for name, _, _ in shown]), 0, -1)
    study = str(header.StudyInstanceUID)
    document = Segmentation(
        source_images=[header],
        pixel_array=masks[None],
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(place, one, pre_read, study, number, model) for place, one in enumerate(shown, 1)],
        series_instance_uid=object_uid(pre_read, study, "segmentations"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=object_uid(pre_read, study, f"segmentation {number}"),
        instance_number=number,
        content_label="LUNGS_AND_HEART",
        content_description="Lungs and heart as outlined by a machine",
        series_description="Pre-read: lungs and heart",
        omit_empty_frames=False,
        **describe_maker(model),
    )
    _add_pixel_measures(document, image.get("spacing"))
    # A projection has no position in the patient: its orientation stands in words (PS3.3 C.7.6.1.1.1).
    document.PatientOrientation = header.get("PatientOrientation") or ""
    date_object(document, made_at)
    return document


def _add_pixel_measures(document: Dataset, spacing: dict[str, Any] | None) -> None:
    """Write the source's spacing into the shared groups (PS3.3 C.7.6.16.2.1); OHIF opens no segmentation that has none."""
    measures, shared = Dataset(), Dataset()
    if spacing:
        measures.PixelSpacing = [spacing["row_mm"], spacing["column_mm"]]
    shared.PixelMeasuresSequence = [measures]
    document.SharedFunctionalGroupsSequence = [shared]


def _mask(outline: list[list[int]], header: Dataset) -> NDArray[np.bool_]:
    """Return the pixels that a polygon covers; its corners are edges of pixels, those of the drawing are centres."""
    mask = Image.new("1", (int(header.Columns), int(header.Rows)))
    ImageDraw.Draw(mask).polygon([(x - 0.5, y - 0.5) for x, y in outline], fill=1)
    return np.asarray(mask)


def _segment(
    place: int,
    structure: tuple[str, CodedConcept, tuple[int, int, int]],
    pre_read: PreRead,
    study: str,
    number: int,
    model: dict[str, Any],
) -> SegmentDescription:
    name, concept, colour = structure
    return SegmentDescription(
        segment_number=place,
        segment_label=concept.CodeMeaning,
        segmented_property_category=_ORGAN,
        segmented_property_type=concept,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=str(model["name"]),
            family=codes.DCM.ArtificialIntelligence,
            version=str(model["version"]),
            parameters={"weights": f"SHA-256 {model.get('weights_sha256')}"},
        ),
        tracking_uid=object_uid(pre_read, study, f"segment {number} {name}"),
        tracking_id=f"{name} {number}",
        display_color=CIELabColor.from_rgb(*colour),
    )
