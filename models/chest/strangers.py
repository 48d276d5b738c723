"""Generated pictures that are no chest, for the gate: pages of text, traces, echo fans, body slices, stained tissue, noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from models.chest.preprocessing import SIDE, prepare

Picture = NDArray[np.float32]


def strangers(count: int, seed: int) -> Picture:
    """Return (count, 384, 384) pictures of all kinds in turn, prepared as serving prepares an image."""
    chance = np.random.default_rng(seed)
    made = []
    for index in range(count):
        picture = KINDS[index % len(KINDS)](chance)
        if chance.random() < 0.3:
            picture = 1 - picture
        # Part of them are wide or high, as screens and films are.
        rows, columns = (int(side) for side in chance.integers(SIDE // 2, SIDE + 1, 2))
        made.append(prepare(picture[:rows, :columns])[0])
    return np.stack(made)


def _noise(chance: np.random.Generator, width: float) -> Picture:
    field = gaussian_filter(chance.standard_normal((SIDE, SIDE)), width)
    return np.asarray((field - field.min()) / np.ptp(field), np.float32)


def _page(chance: np.random.Generator) -> Picture:
    page = np.zeros((SIDE, SIDE), np.float32)
    row = int(chance.integers(4, 40))
    size = int(chance.integers(4, 14))
    while row + size < SIDE:
        column = int(chance.integers(4, 30))
        while column < SIDE - 10 and chance.random() < 0.93:
            width = int(chance.integers(2, 3 * size))
            word = chance.random((size, width)) < 0.6
            page[row : row + size, column : column + width] = word[:, : SIDE - column]
            column += width + size // 2
        row += int(size * chance.uniform(1.3, 3))
    return page


def _traces(chance: np.random.Generator) -> Picture:
    picture = np.full((SIDE, SIDE), 0.05, np.float32)
    step = int(chance.integers(6, 24))
    picture[::step], picture[:, ::step] = 0.3, 0.3
    columns = np.arange(SIDE)
    for base in np.linspace(20, SIDE - 20, int(chance.integers(1, 13))):
        period, height = chance.uniform(20, 90), chance.uniform(4, 30)
        beat = np.exp(-((((columns / period) % 1) - 0.4) ** 2) / 0.002) - 0.3 * np.exp(
            -((((columns / period) % 1) - 0.7) ** 2) / 0.01
        )
        rows = np.clip(base - height * beat + chance.standard_normal(SIDE), 0, SIDE - 1).astype(int)
        picture[rows, columns] = 1
    return picture


def _fan(chance: np.random.Generator) -> Picture:
    y, x = np.mgrid[0 : 1 : SIDE * 1j, -0.5 : 0.5 : SIDE * 1j]
    opening, depth = chance.uniform(0.3, 0.9), chance.uniform(0.7, 1.0)
    distance = np.hypot(x, y + chance.uniform(0, 0.3))
    inside = (np.abs(np.arctan2(x, y + 0.1)) < opening) & (distance < depth) & (distance > 0.08)
    speckle = _noise(chance, 1.2) * (0.3 + _noise(chance, chance.uniform(8, 30)))
    return np.asarray(inside * speckle, np.float32)


def _slice(chance: np.random.Generator) -> Picture:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    picture = np.zeros((SIDE, SIDE), np.float32)
    wide, high = chance.uniform(0.5, 0.95, 2)
    body = (x / wide) ** 2 + (y / high) ** 2
    picture[body < 1] = 0.5
    picture[(body < 1) & (body > chance.uniform(0.8, 0.95))] = chance.uniform(0.3, 1)
    for _ in range(int(chance.integers(2, 12))):
        across, down, size = *chance.uniform(-0.5, 0.5, 2), chance.uniform(0.05, 0.35)
        picture[((x - across) ** 2 + (y - down) ** 2 < size**2) & (body < 0.9)] = chance.random()
    return np.asarray(np.clip(gaussian_filter(picture, 1) + 0.1 * (_noise(chance, 1) - 0.5), 0, 1), np.float32)


def _tissue(chance: np.random.Generator) -> Picture:
    ground = 0.9 - 0.4 * (_noise(chance, chance.uniform(10, 40)) > 0.5)
    cells = _noise(chance, chance.uniform(1.5, 4)) > chance.uniform(0.55, 0.7)
    return np.asarray(np.where(cells, 0.2, ground) + 0.05 * chance.standard_normal((SIDE, SIDE)), np.float32)


def _cloud(chance: np.random.Generator) -> Picture:
    return _noise(chance, float(np.exp(chance.uniform(-1, 4))))


KINDS: tuple[Callable[[np.random.Generator], Picture], ...] = (_page, _traces, _fan, _slice, _tissue, _cloud)
