"""The limb network in the engine: what it says of one image, with the cautions that a reader needs beside it.

``Reading.evidence["limbs"]`` has one entry for each limb that was read:

- ``sop_instance_uid``; ``probability`` of a fracture and the ``threshold`` at which it is spoken;
- ``part``: ``hand``, ``leg``, ``hip`` or ``shoulder``, the most probable by the pixels; ``parts``, ``projections``: probability
  by name; ``hardware``: probability of metal; all 0 to 1;
- ``places``: at most three, most suspicious first: ``score`` (0 to 1, not calibrated, compares places), ``centre`` (x, y) and
  ``box`` (x, y, width, height), in pixels of the stored image;
- ``heatmap``: ``grid`` (0 to 1, relative to its peak) and ``area`` (x, y, width, height of the grid in pixels of the stored
  image; it may reach beyond the image).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from inference.engine import Finding, InstanceFile, ModelIdentity, Region
from inference.network import Network
from inference.onnx_session import Hardware
from inference.radiograph.scope import NamedPart, age_in_years
from models.bundle import Bundle
from models.limbs.preprocessing import COLUMNS, ROWS
from models.limbs.reading import PARTS, LimbOutput, look

FRACTURE, NO_FRACTURE = "limb_fracture", "limb_no_fracture"

_OUTPUTS = ("probability", "places", "sides", "kind", "projection", "hardware")
#: A part is said to be shown from this probability on.
_SHOWN = 0.5


class LimbModel:
    """The bundle ``limb_radiograph``; its network is loaded at the first image."""

    def __init__(self, folder: Path, hardware: Hardware) -> None:
        self._network = Network(folder, hardware, outputs=_OUTPUTS)

    @property
    def bundle(self) -> Bundle:
        """The bundle, its weights compared with its metadata."""
        return self._network.bundle

    @property
    def identity(self) -> ModelIdentity:
        """Who says it."""
        return ModelIdentity.of(self.bundle)

    def warm(self) -> None:
        """Load the network and run it once."""
        self._network.warm()

    def look(self, grey: NDArray[np.generic]) -> LimbOutput:
        """Return what the network says of an image as displayed.

        Raises
        ------
        BlankImage
            If the image has one grey value only.
        BundleIncomplete, WeightsAltered
            If the model cannot be trusted or is not there.
        """
        return look(grey, self._run)

    def is_limb(self, output: LimbOutput) -> bool:
        """Return whether the pixels look like a limb."""
        return output.kinds["limb"] >= float(self.bundle.details["limb_threshold"])

    def threshold(self, output: LimbOutput) -> float:
        """Return the operating point of an image: the lowest of the parts that it shows, as it was measured."""
        points: Mapping[str, float] = self.bundle.details["part_thresholds"]
        shown = [part for part in PARTS if output.kinds[part] >= _SHOWN] or [output.part]
        return min(float(points[part]) for part in shown)

    def cautions(self, header: Dataset, named: NamedPart, output: LimbOutput) -> tuple[str, ...]:
        """Return why the reader must take care, as reasons of the vocabulary."""
        cautions = []
        if age_in_years(header) is None:
            cautions.append("limb_age_unknown")
        if not named.limb:
            cautions.append("limb_part_untagged")
        elif named.parts and not named.parts & {output.part, *(part for part in PARTS if output.kinds[part] >= _SHOWN)}:
            cautions.append("limb_part_differs")
        if output.hardware >= float(self.bundle.details["hardware_threshold"]):
            cautions.append("limb_hardware")
        return tuple(cautions)

    def told(self, instance: InstanceFile, output: LimbOutput) -> dict[str, Any]:
        """Return what was seen on an image as JSON values; the module's text says which."""
        return {
            "sop_instance_uid": instance.sop_instance_uid,
            "probability": round(output.fracture, 4),
            "threshold": self.threshold(output),
            "part": output.part,
            "parts": {part: round(output.kinds[part], 4) for part in PARTS},
            "projections": {name: round(value, 4) for name, value in output.projections.items()},
            "hardware": round(output.hardware, 4),
            "places": [
                {
                    "score": round(place.score, 4),
                    "centre": [round(value, 1) for value in place.centre],
                    "box": [round(value, 1) for value in place.box],
                }
                for place in output.places
            ],
            "heatmap": _heatmap(output),
        }

    def finding(self, instance: InstanceFile, output: LimbOutput) -> Finding | None:
        """Return the fracture with its box, or None below the operating point."""
        if output.fracture < self.threshold(output):
            return None
        region = Region(sop_instance_uid=instance.sop_instance_uid, box=output.places[0].box)
        return Finding(code=FRACTURE, probability=output.fracture, region=region)

    def _run(self, canvases: NDArray[np.float32]) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(_OUTPUTS, self._network.run(canvases), strict=True))


def _heatmap(output: LimbOutput) -> dict[str, Any]:
    rows, columns = output.grid.shape
    # Half the map's size is fine enough to draw.
    coarse = output.grid.reshape(rows // 2, 2, columns // 2, 2).max(axis=(1, 3))
    canvas = output.canvas
    place = canvas.placement
    across, down = place.source_width / place.width, place.source_height / place.height
    area = -(canvas.left + place.left) * across, -(canvas.top + place.top) * down, COLUMNS * across, ROWS * down
    if canvas.turned:
        coarse = np.rot90(coarse, -1)
        area = place.source_height - area[1] - area[3], area[0], area[3], area[2]
    relative = coarse / max(float(coarse.max()), 1e-6)
    return {
        "grid": [[round(float(value), 2) for value in row] for row in relative],
        "area": [round(value, 1) for value in area],
    }
