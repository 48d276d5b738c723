"""Cuts real slide images into regions that never meet, and draws labelled tiles from them.

The slide is cut in horizontal bands: training above, validation in the middle, test below, with a gap of one tile between,
so that no pixel is in two of them. Another image, of another stain, is kept for the test alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.slide_tiles.classes import CLASSES, TILE, UM_PER_PX
from models.slide_tiles.degradation import (
    BLURRED_AT_LEAST,
    BLURRED_AT_MOST,
    SHARP_AT_MOST,
    Kernel,
    Tile,
    blur,
    compress,
    relight,
    restain,
)

#: Shares of the slide's height that end training and validation.
_TRAIN_UNTIL, _VALIDATE_UNTIL = 0.56, 0.73
_GAP = TILE
#: Room around a tile: blur and scale must not invent its border.
_MARGIN = 32
#: Shares of tissue in a tile: more is tissue, less is background, between is neither and not drawn.
_TISSUE, _BACKGROUND = 0.5, 0.02


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Labelled tiles."""

    #: n × TILE × TILE × 3.
    tiles: NDArray[np.uint8]
    #: Index into CLASSES.
    labels: NDArray[np.int64]
    #: Standard deviation of the blur, micrometres; 0 where there is none.
    blurs: NDArray[np.float64]


def slide_bands(slide: Path) -> dict[str, Tile]:
    """Return the full resolution of ``slide`` (a tiled TIFF at 0.5 µm/px) as bands train, validate and test."""
    import tifffile

    with tifffile.TiffFile(slide) as file:
        image = file.pages.first.asarray()
    ends = [int(len(image) * share) for share in (_TRAIN_UNTIL, _VALIDATE_UNTIL)]
    return {
        "train": image[: ends[0]],
        "validate": image[ends[0] + _GAP : ends[1]],
        "test": image[ends[1] + _GAP :],
    }


def tissue_share(tile: Tile) -> float:
    """Return the share of pixels that light has lost colour in: stained tissue, not glass."""
    colour = tile.max(axis=2).astype(np.int16) - tile.min(axis=2)
    return float(np.mean(colour > 25))


def draw(
    image: Tile,
    count: int,
    seed: int,
    *,
    kernels: tuple[Kernel, ...],
    varied: bool,
    blurred: tuple[float, float] = (BLURRED_AT_LEAST, BLURRED_AT_MOST),
) -> Sampled:
    """Draw ``count`` tiles from ``image``, a third of each class where it has them.

    ``varied`` also changes scale, stain and light, as training needs and the plain test does not. ``blurred`` bounds the blur of
    blurred tissue, as the standard deviation of its kernel in micrometres.
    """
    chance = np.random.default_rng(seed)
    tissue, glass = _places(image)
    tiles, labels, blurs = [], [], []
    for number in range(count):
        label = number % 3 if glass else number % 2
        y, x = (glass if label == 2 else tissue)[chance.integers(len(glass if label == 2 else tissue))]
        y, x = (int(np.clip(v + chance.integers(-16, 17), _MARGIN, end)) for v, end in ((y, _end(image, 0)), (x, _end(image, 1))))
        sigma = _sigma(label, chance, blurred)
        piece = image[y - _MARGIN : y + TILE + _MARGIN, x - _MARGIN : x + TILE + _MARGIN].astype(np.float32)
        if varied:
            piece = _resized(piece, chance.uniform(0.8, 1.25))
            piece = relight(restain(piece, chance, 0.35), chance)
        piece = blur(piece, sigma / UM_PER_PX, kernels[chance.integers(len(kernels))], chance.uniform(0, np.pi))
        top, left = ((edge - TILE) // 2 for edge in piece.shape[:2])
        piece = np.rot90(piece[top : top + TILE, left : left + TILE], int(chance.integers(4)))
        tiles.append(compress(piece[:, ::-1] if chance.random() < 0.5 else piece, chance))
        labels.append(label)
        blurs.append(0.0 if label == 0 else sigma)
    return Sampled(tiles=np.stack(tiles), labels=np.array(labels, dtype=np.int64), blurs=np.array(blurs))


def _sigma(label: int, chance: np.random.Generator, blurred: tuple[float, float]) -> float:
    if CLASSES[label] == "tissue_sharp":
        return float(chance.uniform(0, SHARP_AT_MOST))
    if CLASSES[label] == "tissue_blurred":
        # Evenly on a logarithmic scale: slight blur is the hard part.
        return float(np.exp(chance.uniform(np.log(blurred[0]), np.log(blurred[1]))))
    return float(chance.choice([0.0, chance.uniform(0, BLURRED_AT_MOST)]))


def _places(image: Tile) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    tissue, glass = [], []
    for y in range(_MARGIN, _end(image, 0) + 1, TILE // 4):
        for x in range(_MARGIN, _end(image, 1) + 1, TILE // 4):
            share = tissue_share(image[y : y + TILE, x : x + TILE])
            if share >= _TISSUE:
                tissue.append((y, x))
            elif share <= _BACKGROUND:
                glass.append((y, x))
    return tissue, glass


def _end(image: Tile, axis: int) -> int:
    return int(image.shape[axis]) - TILE - _MARGIN


def _resized(piece: NDArray[np.float32], scale: float) -> NDArray[np.float32]:
    size = tuple(max(TILE + 8, round(edge * scale)) for edge in piece.shape[1::-1])
    return np.asarray(
        Image.fromarray(piece.astype(np.uint8)).resize((size[0], size[1]), Image.Resampling.BICUBIC), dtype=np.float32
    )
