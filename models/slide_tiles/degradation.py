"""What scanners and laboratories do to a tile: loss of focus, brightness, stain, compression; NumPy only, seeded.

Loss of focus is drawn as a disc (geometric defocus) or a Gaussian. For the test alone there are a jerk of the stage, drawn as
a line, and a doubled image, as vibration leaves it.
"""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Tile = NDArray[np.uint8]
Pixels = NDArray[np.float32]
Kernel = Literal["gaussian", "disc", "motion", "doubled"]

#: Blur of a tile called blurred, as the standard deviation of its kernel in micrometres. Between SHARP_AT_MOST and
#: BLURRED_AT_LEAST no label would be honest, and no tile is drawn.
SHARP_AT_MOST, BLURRED_AT_LEAST, BLURRED_AT_MOST = 0.2, 0.7, 3.0
#: Haematoxylin, eosin and DAB in optical density (Ruifrok and Johnston 2001).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]], dtype=np.float32)
_STAINS_INVERSE = np.linalg.inv(_STAINS)


def blur(tile: Pixels, sigma: float, kernel: Kernel, angle: float = 0.0) -> Pixels:
    """Blur by a kernel whose standard deviation along an axis is ``sigma`` pixels (motion, doubled: along their way)."""
    if sigma <= 0:
        return tile
    if kernel == "gaussian":
        return np.stack([ndimage.gaussian_filter(tile[..., c], sigma, mode="reflect") for c in range(3)], axis=-1)
    match kernel:
        case "disc":
            weights = _disc(2.0 * sigma)
        case "motion":
            weights = _line(np.linspace(-0.5, 0.5, 200) * np.sqrt(12.0) * sigma, angle)
        case "doubled":
            weights = _line(np.array([-sigma, sigma]), angle)
    return np.stack([ndimage.convolve(tile[..., c], weights, mode="reflect") for c in range(3)], axis=-1)


def restain(tile: Pixels, chance: np.random.Generator, strength: float) -> Pixels:
    """Change how much of each stain there is, as another laboratory would (Tellez et al. 2018)."""
    density = -np.log((tile + 1.0) / 256.0)
    amounts = density @ _STAINS_INVERSE
    amounts *= chance.uniform(1 - strength, 1 + strength, 3).astype(np.float32)
    return np.clip(256.0 * np.exp(-np.clip(amounts @ _STAINS, 0, None)) - 1.0, 0, 255)


def relight(tile: Pixels, chance: np.random.Generator) -> Pixels:
    """Change lamp and white balance."""
    gain = (chance.uniform(0.82, 1.05) * chance.uniform(0.97, 1.03, 3)).astype(np.float32)
    return np.clip(tile * gain, 0, 255)


def compress(tile: Pixels, chance: np.random.Generator) -> Tile:
    """Add the sensor's noise, then JPEG, as every scanner's file has."""
    noisy = np.clip(tile + chance.normal(0, chance.uniform(0, 3), tile.shape), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noisy).save(stream, "JPEG", quality=int(chance.integers(40, 96)))
    return np.asarray(Image.open(stream).convert("RGB"))


def _disc(radius: float) -> Pixels:
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # A soft edge of one pixel: otherwise a radius between two integers could not be drawn.
    weights = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def _line(steps: NDArray[np.float64], angle: float) -> Pixels:
    reach = int(np.ceil(np.abs(steps).max())) + 1
    weights = np.zeros((2 * reach + 1, 2 * reach + 1))
    for step in steps:
        y, x = reach + step * np.sin(angle), reach + step * np.cos(angle)
        top, left = int(y), int(x)
        # Shared among four pixels: a way between them must not be rounded.
        weights[top : top + 2, left : left + 2] += np.outer([1 - y + top, y - top], [1 - x + left, x - left])
    return np.asarray(weights / weights.sum(), dtype=np.float32)
