"""Draws a slide: a pyramidal Aperio file with cells on glass, so that tests need no patient's tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

UM_PER_PX = 0.5
_GLASS = np.array([243.0, 242.0, 244.0])
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def draw_slide(
    edge: int = 1536, *, tissue: bool = True, blur_um: float = 0.0, stain: float = 1.0, seed: int = 3
) -> NDArray[np.uint8]:
    """Return RGB pixels of a section: nuclei and fibres in a disc of tissue, or empty glass."""
    chance = np.random.default_rng(seed)
    image = np.broadcast_to(_GLASS, (edge, edge, 3))
    if tissue:
        y, x = np.mgrid[:edge, :edge]
        disc = ndimage.gaussian_filter((np.hypot(x - edge / 2, y - edge / 2) < edge * 0.42).astype(float), 2)
        nuclei = ndimage.gaussian_filter(_spots(edge, edge * edge // 500, chance), 0.7)
        chromatin = 0.7 + 0.3 * _grain(edge, 1.2, chance)
        fibres = np.clip(0.45 + 0.35 * _grain(edge, (1.0, 6.0), chance) + 0.2 * _grain(edge, 3.0, chance), 0.05, 1)
        amount_h, amount_e = 0.95 * nuclei * chromatin, fibres * (1 - 0.6 * nuclei) * 0.5
        density = (disc * stain)[..., None] * (amount_h[..., None] * _HAEMATOXYLIN + amount_e[..., None] * _EOSIN)
        image = image * 10.0**-density
    if blur_um:
        image = ndimage.gaussian_filter(image, (blur_um / UM_PER_PX, blur_um / UM_PER_PX, 0))
    return np.clip(image + chance.normal(0, 1.0, image.shape), 0, 255).astype(np.uint8)


def write_svs(file: Path, pixels: NDArray[np.uint8], *, um_per_px: float = UM_PER_PX) -> Path:
    """Write ``pixels`` as Aperio does: the full image, a thumbnail, one reduced level, tiles in JPEG."""
    height, width = pixels.shape[:2]
    size, scale = f"{width}x{height}", f"AppMag = 20|MPP = {um_per_px}"
    words = f"Aperio Image Library v11.2.1 \r\n{size} [0,0 {size}] (256x256) JPEG/RGB Q=90|{scale}"
    with tifffile.TiffWriter(file) as writer:
        kind = {"photometric": "rgb", "compression": "jpeg", "compressionargs": {"level": 90}, "metadata": None}
        writer.write(pixels, tile=(256, 256), description=words, **kind)
        small = pixels[::8, ::8]
        writer.write(
            small,
            rowsperstrip=16,
            description=f"Aperio Image Library v11.2.1 \r\n{width}x{height} -> {small.shape[1]}x{small.shape[0]}",
            **kind,
        )
        writer.write(pixels[::4, ::4], tile=(256, 256), description=words, **kind)
    return file


def _spots(edge: int, count: int, chance: np.random.Generator) -> NDArray[np.float64]:
    """Nuclei: ellipses of about seven micrometres."""
    canvas = np.zeros((edge, edge))
    for y, x in chance.integers(12, edge - 12, (count, 2)):
        a, b = chance.uniform(4, 8, 2)
        yy, xx = np.mgrid[-9:10, -9:10]
        canvas[y - 9 : y + 10, x - 9 : x + 10] = np.maximum(
            canvas[y - 9 : y + 10, x - 9 : x + 10], ((yy / a) ** 2 + (xx / b) ** 2 < 1) * chance.uniform(0.6, 1.0)
        )
    return canvas


def _grain(edge: int, sigma: float | tuple[float, float], chance: np.random.Generator) -> NDArray[np.float64]:
    noise = ndimage.gaussian_filter(chance.normal(size=(edge, edge)), sigma)
    return np.asarray(noise / noise.std())
