"""Runs the part of the network that is not trained over every image, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models.chest.preprocessing import SIDE

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What was seen of some images, one row an image."""

    features: Array
    #: Numbers of the whole square, for the gate.
    whole: Array
    #: (images, channels, cells, cells), half precision: the map that shows where evidence lies.
    finest: NDArray[np.float16]
    #: The chest's left, top, right, bottom, -1 to 1 over the square.
    box: Array

    def chosen(self, rows: NDArray[np.intp]) -> Seen:
        """Return some of the images."""
        return Seen(features=self.features[rows], whole=self.whole[rows], finest=self.finest[rows], box=self.box[rows])


def look(session: onnxruntime.InferenceSession, squares: Iterable[Array]) -> Seen:
    """Return what the features' graph sees of (384, 384) squares, 0 to 1."""
    rows = [session.run(None, {"image": np.asarray(square, np.float32).reshape(1, 1, SIDE, SIDE)}) for square in squares]
    features, whole, finest, box = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    return Seen(features=features, whole=whole, finest=finest.astype(np.float16), box=box)


def kept(file: Path, make: Callable[[], Seen]) -> Seen:
    """Return what the file holds, or make it and keep it there."""
    if not file.is_file():
        seen = make()
        np.savez(file, features=seen.features, whole=seen.whole, finest=seen.finest, box=seen.box)
        return seen
    with np.load(file) as held:
        return Seen(features=held["features"], whole=held["whole"], finest=held["finest"], box=held["box"])
