"""How a section is stained: how much light haematoxylin and eosin take, and whether the colours are theirs at all.

The two stain directions are found as Macenko et al. (ISBI 2009) do: the plane of most optical density, and in it the angles
between which nearly all tissue lies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Haematoxylin and eosin in optical density of red, green and blue (Ruifrok and Johnston 2001), unit length.
_REFERENCE = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
#: Below this optical density a pixel is glass (Macenko: 0.15).
_LEAST_DENSITY = 0.15
#: Shares of tissue beyond the stain directions, percent (Macenko: 1).
_TAIL = 1.0
#: A direction farther from its reference, degrees, is another dye or a badly balanced scanner.
_FARTHEST = 30.0
_PIXELS_AT_LEAST = 500


@dataclass(frozen=True, kw_only=True)
class Stain:
    """The stains of a slide."""

    #: Mean optical density of tissue over the three channels.
    density: float
    #: Mean amounts of the two stains, optical density along their directions.
    haematoxylin: float
    eosin: float
    #: Unit vectors of optical density: haematoxylin, eosin.
    vectors: NDArray[np.float64]
    #: Angles to the published directions, degrees.
    angles: tuple[float, float]

    @property
    def looks_like_he(self) -> bool:
        """Whether both directions are those of haematoxylin and eosin."""
        return max(self.angles) <= _FARTHEST

    @property
    def haematoxylin_share(self) -> float:
        """Share of haematoxylin in all stain, 0 to 1."""
        total = self.haematoxylin + self.eosin
        return self.haematoxylin / total if total > 0 else 0.0


def measure_stain(pixels: NDArray[np.uint8], glass: NDArray[np.float64]) -> Stain | None:
    """Return the stains of tissue pixels (n × 3) on ``glass`` (its RGB), or None when there is too little colour to tell."""
    density = -np.log10((pixels.astype(np.float64) + 1) / (glass + 1))
    tissue = density[(density > _LEAST_DENSITY).any(axis=1)]
    if len(tissue) < _PIXELS_AT_LEAST:
        return None
    plane = np.linalg.eigh(np.cov(tissue.T))[1][:, 1:]
    # Eigenvectors have no sign; stain only takes light away.
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    flat = tissue @ plane
    angles = np.arctan2(flat[:, 0], flat[:, 1])
    ends = [np.percentile(angles, percent) for percent in (_TAIL, 100 - _TAIL)]
    found = [plane @ np.array([np.sin(angle), np.cos(angle)]) for angle in ends]
    # Haematoxylin takes more red than eosin does.
    vectors = np.array(sorted(found, key=lambda vector: -float(vector[0])))
    amounts = np.clip(tissue @ np.linalg.pinv(vectors), 0, None).mean(axis=0)
    cosines = np.clip((vectors * _REFERENCE).sum(axis=1), -1, 1)
    towards = np.degrees(np.arccos(cosines))
    return Stain(
        density=float(tissue.mean()),
        haematoxylin=float(amounts[0]),
        eosin=float(amounts[1]),
        vectors=vectors,
        angles=(float(towards[0]), float(towards[1])),
    )


def glass_colour(overview: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the RGB of empty glass: the median outside of tissue, white when tissue covers all."""
    outside = overview[~tissue]
    if len(outside) < 100:
        return np.array([255.0, 255.0, 255.0])
    return np.asarray(np.median(outside, axis=0), dtype=np.float64)
