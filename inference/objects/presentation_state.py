"""Lines, numbers and boxes drawn over a radiograph (Grayscale Softcopy Presentation State, PS3.3 A.33.1).

A viewer that applies it shows the image as its own header says and the drawing above it, and can take the drawing away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any

import numpy as np
from highdicom import PresentationLUTTransformation
from highdicom.color import CIELabColor
from highdicom.enum import PresentationLUTShapeValues
from highdicom.pr import (
    AnnotationUnitsValues,
    GraphicAnnotation,
    GraphicLayer,
    GraphicObject,
    GraphicTypeValues,
    GrayscaleSoftcopyPresentationState,
    TextObject,
)
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue

from core.tables import Finding, PreRead
from inference.objects.identity import date_object, describe_maker, object_uid
from inference.radiograph.rendering import shown_inverted
from inference.vocabulary.terms import vocabulary

SERIES_NUMBER = 9002

#: Height of a line of text, as a share of the image's rows.
_TEXT = 0.03
_YELLOW, _ORANGE = (255, 214, 10), (255, 140, 40)


def presentation_state_of(
    pre_read: PreRead,
    image: Mapping[str, Any] | None,
    findings: Sequence[Finding],
    header: Dataset,
    *,
    number: int,
    made_at: datetime,
) -> Dataset:
    """Return the drawing over one image: the lines of the cardiothoracic ratio, and a box with words for each finding.

    Parameters
    ----------
    image
        Its entry in ``evidence["cardiothoracic"]`` with lines, or None.
    findings
        Those with a box on this image.
    header
        The image without pixels, made repeatable.
    number
        Counts the images of the pre-read from 1.
    """
    study = str(header.StudyInstanceUID)
    header = _with_usable_windows(header)
    layers, annotations = [], []
    if image:
        layer = GraphicLayer("CARDIOTHORACIC", order=1, description="Cardiothoracic ratio", display_color=_colour(_YELLOW))
        layers.append(layer)
        annotations.append(_lines(image, layer, header))
    if findings:
        layer = GraphicLayer("FINDINGS", order=2, description="Findings of the pre-read", display_color=_colour(_ORANGE))
        layers.append(layer)
        annotations.append(_boxes(findings, layer, header))
    shape = PresentationLUTShapeValues.INVERSE if shown_inverted(header) else PresentationLUTShapeValues.IDENTITY
    document = GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
        series_instance_uid=object_uid(pre_read, study, "presentation states"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=object_uid(pre_read, study, f"presentation state {number}"),
        instance_number=number,
        content_label="PRE_READ",
        content_description="Drawn by a machine, not verified",
        graphic_layers=layers,
        graphic_annotations=annotations,
        presentation_lut_transformation=PresentationLUTTransformation(presentation_lut_shape=shape),
        series_description="Pre-read: drawing",
        **describe_maker(pre_read.models[0]),
    )
    side = str(header.get("Laterality") or header.get("ImageLaterality") or "")
    document.Laterality = side if side in ("R", "L") else ""  # PS3.3 C.7.3.1
    date_object(document, made_at)
    return document


def _with_usable_windows(header: Dataset) -> Dataset:
    """Return the header without windows and tables that devices leave empty or without width: the whole range is shown then."""
    usable = copy(header)
    widths = header.get("WindowWidth")
    first = widths[0] if isinstance(widths, MultiValue) and widths else widths
    if header.get("WindowCenter") in (None, "") or first in (None, "") or float(first) < 1:
        for keyword in ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"):
            usable.pop(keyword, None)
    if any(not item.get("LUTData") for item in header.get("VOILUTSequence") or ()) or not header.get("VOILUTSequence"):
        usable.pop("VOILUTSequence", None)
    return usable


def _lines(image: Mapping[str, Any], layer: GraphicLayer, header: Dataset) -> GraphicAnnotation:
    (left, row), (right, _) = image["lines"]["thorax"]
    return GraphicAnnotation(
        referenced_images=[header],
        graphic_layer=layer,
        graphic_objects=[_polyline(line, header) for line in image["lines"].values()],
        text_objects=[_words(f"CTR {image['ratio']:.2f}", (left, row, right), header)],
    )


def _boxes(findings: Sequence[Finding], layer: GraphicLayer, header: Dataset) -> GraphicAnnotation:
    boxes = [((finding.region or {})["box"], finding) for finding in findings]
    return GraphicAnnotation(
        referenced_images=[header],
        graphic_layer=layer,
        graphic_objects=[_polyline(corners_of(box), header) for box, _ in boxes],
        text_objects=[_words(_said(finding), (box[0], box[1], box[0] + box[2]), header) for box, finding in boxes],
    )


def corners_of(box: Sequence[float]) -> list[list[float]]:
    """Return the closed outline of a box ``x, y, width, height``: five points, the last the first."""
    x, y, width, height = box
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]


def within(points: Sequence[Sequence[float]], header: Dataset) -> NDArray[np.float64]:
    """Return (N, 2) points as x, y, none outside the image: neither GSPS nor SR allows that (PS3.3 C.10.5.1.2, C.18.6.1.1)."""
    return np.clip(np.asarray(points, np.float64), 0, (int(header.Columns), int(header.Rows)))


def _polyline(points: Sequence[Sequence[float]], header: Dataset) -> GraphicObject:
    data = within(points, header)
    return GraphicObject(graphic_type=GraphicTypeValues.POLYLINE, graphic_data=data, units=AnnotationUnitsValues.PIXEL)


def _words(text: str, place: tuple[float, float, float], header: Dataset) -> TextObject:
    """Return words above a line from ``place``'s left to its right; below it where the image ends."""
    left, row, right = place
    height = _TEXT * int(header.Rows)
    top = row - 1.2 * height if row > 1.2 * height else row + 0.2 * height
    corners = within([[left, top], [max(right, left + 8 * height), top + height]], header)
    (x0, y0), (x1, y1) = corners.tolist()
    return TextObject(text_value=text, units=AnnotationUnitsValues.PIXEL, bounding_box=(x0, y0, x1, y1))


def _said(finding: Finding) -> str:
    term = vocabulary().findings[finding.code]
    sure = "" if finding.probability is None else f" {finding.probability:.2f}"
    return f"{term.zh} {term.en}{sure}"


def _colour(rgb: tuple[int, int, int]) -> CIELabColor:
    return CIELabColor.from_rgb(*rgb)
