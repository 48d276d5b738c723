"""From probabilities to what is measured: how far heart and lungs reach from side to side, their areas, how sure it is.

Places are in pixels of the network's output, edges included: a structure that fills columns 10 to 19 reaches from 10 to 20.
Training's evaluation and serving share this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from models.heart_lung.preprocessing import STRUCTURES

Array = NDArray[np.float32]
#: How far beyond the lungs' outer edges the edge of a very large heart may seem to lie.
SLACK = 2.0

_LEFT_LUNG, _RIGHT_LUNG, _HEART = range(len(STRUCTURES))


class NotOutlined(ValueError):
    """A structure was not found, or is not where it can be: there is nothing to measure."""


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A structure from side to side of the image."""

    #: Sub-pixel columns of the outermost edges at probability one half.
    left: float
    right: float
    #: Rows (pixel centres) where the outermost edges lie.
    left_row: float
    right_row: float

    @property
    def width(self) -> float:
        """Return the distance between the edges."""
        return self.right - self.left


@dataclass(frozen=True, kw_only=True)
class Outlines:
    """Heart and lungs of one image."""

    heart: Reach
    #: Both lungs together: from the outermost edge of one to that of the other.
    thorax: Reach
    #: Share of the image (without the padding) that each structure covers.
    areas: Mapping[str, float]
    #: Smallest share of a structure that lies in one piece.
    wholeness: float
    #: Share of the structures' area whose probability lies between 0.2 and 0.8.
    doubt: float
    #: Whether a lung reaches the left or right edge of the image: then its edge may lie outside.
    cut_off: bool

    @property
    def ratio(self) -> float:
        """Return the cardiothoracic ratio: the heart's width by that of both lungs."""
        return self.heart.width / self.thorax.width

    @property
    def right_lung_share(self) -> float:
        """Return the right lung's share of the area of both lungs."""
        return self.areas["right_lung"] / (self.areas["left_lung"] + self.areas["right_lung"])


def outlines_of(probabilities: Array, inside: tuple[int, int, int, int]) -> Outlines:
    """Measure the structures in (3, rows, columns) probabilities.

    Parameters
    ----------
    inside
        left, top, width, height of the image within the square, without the padding.

    Raises
    ------
    NotOutlined
        If a structure is missing, the lungs have changed sides, or the heart does not lie between their outer edges.
    """
    left, top, width, height = inside
    window = np.zeros_like(probabilities)
    rows, columns = slice(top, top + height), slice(left, left + width)
    window[:, rows, columns] = probabilities[:, rows, columns]
    pieces, wholeness = zip(*(_largest_piece(channel) for channel in window), strict=True)
    reaches = [_reach(piece) for piece in pieces]
    left_lung, right_lung, heart = reaches
    thorax = Reach(left=right_lung.left, right=left_lung.right, left_row=right_lung.left_row, right_row=left_lung.right_row)
    if _middle(right_lung) >= _middle(left_lung):
        raise NotOutlined("the lungs are not at their sides")
    if heart.left < thorax.left - SLACK or heart.right > thorax.right + SLACK:
        raise NotOutlined("the heart does not lie between the outer edges of the lungs")
    found = np.stack(pieces) >= 0.5
    near = np.stack(pieces) > 0.2
    return Outlines(
        heart=heart,
        thorax=thorax,
        areas={name: float(found[index].sum()) / (width * height) for index, name in enumerate(STRUCTURES)},
        wholeness=min(wholeness),
        doubt=float((near & (np.stack(pieces) < 0.8)).sum() / near.sum()),
        cut_off=bool(thorax.left < left + 0.75 or thorax.right > left + width - 0.75),
    )


def mirrored(probabilities: Array) -> Array:
    """Return the probabilities of the mirror image as those of the image: turned, the lungs changed."""
    return probabilities[[_RIGHT_LUNG, _LEFT_LUNG, _HEART], :, ::-1]


def _largest_piece(channel: Array) -> tuple[Array, float]:
    """Return the probabilities near the largest piece and the share of the structure that lies in it."""
    pieces, count = label(channel >= 0.5)
    if count == 0:
        raise NotOutlined("a structure is missing")
    sizes = np.bincount(pieces.ravel())[1:]
    largest = pieces == int(sizes.argmax()) + 1
    around = largest.copy()
    around[:, 1:] |= largest[:, :-1]
    around[:, :-1] |= largest[:, 1:]
    around[1:] |= largest[:-1]
    around[:-1] |= largest[1:]
    return np.where(around & (largest | (channel < 0.5)), channel, 0), float(sizes.max() / sizes.sum())


def _reach(piece: Array) -> Reach:
    profile = piece.max(axis=0)
    columns = np.flatnonzero(profile >= 0.5)
    first, last = int(columns[0]), int(columns[-1])
    return Reach(
        left=first + 0.5 - _past(profile, first, -1),
        right=last + 0.5 + _past(profile, last, 1),
        left_row=float(np.mean(np.flatnonzero(piece[:, first] >= 0.5))),
        right_row=float(np.mean(np.flatnonzero(piece[:, last] >= 0.5))),
    )


def _past(profile: Array, column: int, step: int) -> float:
    """Return how far beyond the centre of ``column`` the profile falls to one half."""
    beyond = float(profile[column + step]) if 0 <= column + step < len(profile) else 0.0
    return (float(profile[column]) - 0.5) / (float(profile[column]) - beyond)


def _middle(reach: Reach) -> float:
    return (reach.left + reach.right) / 2
