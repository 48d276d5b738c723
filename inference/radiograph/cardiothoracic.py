"""The cardiothoracic ratio of a frontal chest: lungs and heart outlined, three lines to draw, or why there is no number.

``Reading.evidence["cardiothoracic"]`` has one entry for each image that was read:

- ``sop_instance_uid``; ``projection``: ``PA``, ``AP`` or empty; ``doubt``: the reason of the vocabulary why nothing was
  measured, or None; ``size``: columns and rows of the stored image; ``spacing``: as ``inference.radiograph.spacing`` says,
  or None where the header does not tell; the keys below are there only where ``doubt`` is None;
- ``outlines``: closed polygons ``[[x, y], ...]`` of ``left_lung``, ``right_lung`` and ``heart`` in pixels of the stored image;
- ``cautions``: reasons of the vocabulary why the numbers are to be read with care (``inference.radiograph.cautions``);
- ``ratio``: the heart's width by the width of the thorax, 0 to 1; ``right_lung_share``: the right lung's share of the area of
  both lungs, 0 to 1; ``areas``: share of the image that ``left_lung``, ``right_lung`` and ``heart`` cover, 0 to 1;
- ``lines``: ``heart_right`` (from the midline to the heart's edge on the patient's right), ``heart_left`` (the same on the
  left) and ``thorax`` (from the outer edge of the right lung to that of the left). Each is ``[[x, y], [x, y]]`` in pixels of
  the stored image, 0 at the left edge of the first column and the top edge of the first row, and level. The lengths of
  the heart's lines together, divided by that of the thorax, are the ratio.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from inference.engine import InstanceFile, Measurement, ModelIdentity
from inference.network import Network
from inference.onnx_session import Hardware
from inference.radiograph.cautions import cautions_of
from inference.radiograph.contours import polygons_of
from inference.radiograph.spacing import spacing_of
from models.chest.preprocessing import Placement
from models.heart_lung.measure import Measured, measure, to_image
from models.heart_lung.outlines import Outlines

#: Name of the bundle that outlines.
MODEL = "heart_lung"
AP_ENLARGES = "chest_ap_enlarges_heart"

_REASONS = {
    "not_outlined": "heart_lung_not_outlined",
    "cut_off": "heart_lung_cut_off",
    "implausible": "heart_lung_implausible",
    "unsure": "heart_lung_unsure",
}
#: The image that speaks for a study: a postero-anterior one, then one of unknown projection.
_PREFERRED = ("PA", "", "AP")


class HeartLungModel:
    """The bundle ``heart_lung``; its network is loaded at the first measurement and shared by threads."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self._network = Network(folder, hardware, outputs=("probability",))

    @property
    def identity(self) -> ModelIdentity:
        """Who says it."""
        return ModelIdentity.of(self._network.bundle)

    def warm(self) -> None:
        """Load the network and run it once."""
        self._network.warm()

    def outline(self, grey: NDArray[np.generic]) -> Measured:
        """Outline heart and lungs on an image as displayed.

        Raises
        ------
        BlankImage
            If the image has one grey value only.
        BundleIncomplete, WeightsAltered
            If the model cannot be trusted or is not there.
        """
        return measure(grey, self._run)

    def _run(self, squares: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._network.run(squares)[0]


def told(instance: InstanceFile, measured: Measured) -> dict[str, Any]:
    """Return what was measured on an image as JSON values; the module's text says which."""
    said: dict[str, Any] = {
        "sop_instance_uid": instance.sop_instance_uid,
        "projection": projection_of(instance.header),
        "doubt": _REASONS[measured.doubt] if measured.doubt else None,
        "size": [measured.placement.source_width, measured.placement.source_height],
        "spacing": spacing_of(instance.header),
    }
    outlines = measured.trusted
    if outlines:
        polygons = polygons_of(measured.probabilities, measured.placement)
        said |= {
            "outlines": polygons,
            "cautions": cautions_of(polygons, said["size"], outlines.right_lung_share),
            "ratio": round(outlines.ratio, 4),
            "right_lung_share": round(outlines.right_lung_share, 4),
            "areas": {name: round(share, 4) for name, share in outlines.areas.items()},
            "lines": lines_of(outlines, measured.placement),
        }
    return said


def measurements_of(images: list[dict[str, Any]]) -> tuple[Measurement, ...]:
    """Return the numbers of the image that speaks for the study: postero-anterior before others, then the first."""
    answered = [image for image in images if image["doubt"] is None]
    if not answered:
        return ()
    image = min(answered, key=lambda one: _PREFERRED.index(one["projection"]))
    uid = image["sop_instance_uid"]
    return (
        Measurement(code="cardiothoracic_ratio", value=image["ratio"], sop_instance_uid=uid),
        Measurement(code="right_lung_share", value=100 * image["right_lung_share"], sop_instance_uid=uid),
    )


def lines_of(outlines: Outlines, placement: Placement) -> dict[str, list[list[float]]]:
    """Return the three lines in pixels of the stored image; the midline is that of the thorax, or the heart's nearest edge."""
    heart, thorax = outlines.heart, outlines.thorax
    middle = min(max((thorax.left + thorax.right) / 2, heart.left), heart.right)

    def level(left: float, right: float, row: float) -> list[list[float]]:
        ends = (to_image((column, row + 0.5), placement) for column in (left, right))
        return [[round(x, 1), round(y, 1)] for x, y in ends]

    return {
        "heart_right": level(middle, heart.left, heart.left_row),
        "heart_left": level(middle, heart.right, heart.right_row),
        "thorax": level(thorax.left, thorax.right, (thorax.left_row + thorax.right_row) / 2),
    }


def pixels_long(line: list[list[float]]) -> float:
    """Return the length of one of the level lines in pixels."""
    return abs(line[1][0] - line[0][0])


def length_mm(line: list[list[float]], spacing: dict[str, Any] | None) -> float | None:
    """Return the length of one of the level lines in mm of the plane that ``spacing`` is of, or None where it is not known."""
    return pixels_long(line) * float(spacing["column_mm"]) if spacing else None


def projection_of(header: Dataset) -> str:
    """Return ``PA`` or ``AP`` from View Position (0018,5101) or the view's code (PS3.16 CID 4010), empty where neither tells."""
    said = str(header.get("ViewPosition", "") or "").strip().upper()
    if said in ("PA", "AP"):
        return said
    meanings = " ".join(str(item.get("CodeMeaning", "")).lower() for item in header.get("ViewCodeSequence", None) or [])
    if "postero-anterior" in meanings or "posteroanterior" in meanings:
        return "PA"
    return "AP" if "antero-posterior" in meanings or "anteroposterior" in meanings else ""
