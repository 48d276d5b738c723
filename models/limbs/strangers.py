"""Pictures that are no limbs, on which the network learns to say so: chests, inverted limbs, pieces of chests, drawn pictures.

Chests say that they are chests; the rest says that it is nothing that the network knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from models.chest.data import chest_cases
from models.limbs.augmentation import vary
from models.limbs.bank import seen
from models.limbs.data import FOLDS, LimbCase, greys
from models.limbs.network import Early
from models.limbs.preprocessing import prepared
from models.limbs.reading import KINDS

#: How many of each are learned from and measured with.
CHESTS, PIECES, INVERTED, DRAWN = 450, 60, 60, 120


@dataclass(frozen=True, kw_only=True)
class StrangerBank:
    """Two views of each picture: as it is, for measuring, and varied, for learning."""

    #: (pictures, 40, 48, 40) in bfloat16.
    features: Tensor
    plain: Tensor
    #: (pictures, kinds).
    kinds: Tensor
    fold: Tensor
    #: Names of what they are.
    names: tuple[str, ...]

    def learned_with(self, held: int) -> NDArray[np.int64]:
        """Return the pictures that do not belong to the fold that is held out."""
        return np.flatnonzero(self.fold.numpy() != held)


def fill_strangers(early: Early, chests: Path, limbs: Sequence[LimbCase], folds: NDArray[np.int64]) -> StrangerBank:
    """Gather the pictures and run the frozen part over them; inverted limbs belong to their fold, chests to their patient's."""
    chance = np.random.default_rng(5)
    features, plain, kinds, fold, names = [], [], [], [], []

    def add(grey: NDArray[np.generic], name: str, number: int) -> None:
        image = torch.from_numpy(prepared(grey)[0])[None, None]
        both = seen(early, torch.cat([image, vary(image, (), chance)[0]]))
        plain.append(both[0])
        features.append(both[1])
        kinds.append([float(name == kind) for kind in KINDS])
        fold.append(number)
        names.append(name)

    cases = chest_cases(chests)
    for place, index in enumerate(chance.permutation(len(cases))[: CHESTS + PIECES].tolist()):
        with Image.open(cases[index].file) as image:
            grey = np.asarray(image.convert("L"))
        number = int(cases[index].patient) % FOLDS
        if place < CHESTS:
            add(grey, "chest", number)
        else:
            top, left = chance.integers(0, grey.shape[0] * 6 // 10), chance.integers(0, grey.shape[1] * 6 // 10)
            add(grey[top : top + grey.shape[0] * 4 // 10, left : left + grey.shape[1] * 4 // 10], "piece of a chest", number)
    for index in chance.permutation(len(limbs))[:INVERTED].tolist():
        add(255 - greys(limbs[index]), "inverted limb", int(folds[index]))
    for index in range(DRAWN):
        kind = list(PICTURES)[index % len(PICTURES)]
        add(PICTURES[kind](chance), kind, index // len(PICTURES) % FOLDS)
    return StrangerBank(
        features=torch.stack(features),
        plain=torch.stack(plain),
        kinds=torch.tensor(kinds),
        fold=torch.tensor(fold),
        names=tuple(names),
    )


def kept_strangers(bank: StrangerBank, file: Path) -> None:
    """Write a bank to a file."""
    torch.save({name: getattr(bank, name) for name in ("features", "plain", "kinds", "fold", "names")}, file)


def stranger_bank_of(file: Path) -> StrangerBank:
    """Read a bank that ``kept_strangers`` wrote."""
    return StrangerBank(**torch.load(file, weights_only=True))


def _noise(chance: np.random.Generator) -> NDArray[np.generic]:
    rough = chance.normal(0, 1, (24, 20)) if chance.random() < 0.5 else chance.normal(0, 1, (300, 250))
    return np.asarray(Image.fromarray(((rough - rough.min()) * 30).clip(0, 255).astype(np.uint8)).resize((320, 384)))


def _traces(chance: np.random.Generator) -> NDArray[np.generic]:
    """Return curves on a grid, as an ECG on paper is scanned."""
    picture = Image.new("L", (420, 300), 250)
    pen = ImageDraw.Draw(picture)
    for at in range(0, 420, 10):
        pen.line([(at, 0), (at, 300)], 205 if at % 50 else 170)
        pen.line([(0, at), (420, at)], 205 if at % 50 else 170)
    for row in range(int(chance.integers(3, 7))):
        phase, period = chance.uniform(0, 60), chance.uniform(35, 80)
        x = np.arange(420)
        y = 30 + row * 45 - 25 * np.exp(-((((x + phase) % period) - period / 2) ** 2) / 6) + 2 * np.sin(x / 9)
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), 20, 1)
    grey = np.asarray(picture)
    return grey if chance.random() < 0.7 else 255 - grey


def _page(chance: np.random.Generator) -> NDArray[np.generic]:
    """Return lines of letters, as a secondary capture of a report."""
    ground = int(chance.integers(0, 2)) * 255
    picture = Image.new("L", (320, 400), ground)
    pen, ink = ImageDraw.Draw(picture), 255 - ground
    for line in range(12, 380, int(chance.integers(12, 22))):
        pen.text((15, line), "".join(chr(code) for code in chance.integers(48, 122, int(chance.integers(5, 45)))), ink)
    return np.asarray(picture)


def _tissue(chance: np.random.Generator) -> NDArray[np.generic]:
    """Return dark grains in pale patches on white, as a stained section."""
    picture = Image.new("L", (400, 400), 240)
    pen = ImageDraw.Draw(picture)
    for _ in range(int(chance.integers(2, 9))):
        x, y, size = (int(one) for one in chance.integers((0, 0, 40), (400, 400, 160)))
        pen.ellipse([x - size, y - size * 0.7, x + size, y + size * 0.7], int(chance.integers(150, 215)))
    for _ in range(1500):
        x, y, size = (int(one) for one in chance.integers((0, 0, 1), (400, 400, 4)))
        if np.asarray(picture.crop((x, y, x + 1, y + 1)))[0, 0] < 230:
            pen.ellipse([x - size, y - size, x + size, y + size], int(chance.integers(60, 140)))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)))


def _fan(chance: np.random.Generator) -> NDArray[np.generic]:
    """Return a bright sector with speckle on black, as ultrasound."""
    y, x = np.mgrid[0:300, 0:400]
    angle, radius = np.arctan2(x - 200, y + 40), np.hypot(x - 200, y + 40)
    sector = (np.abs(angle) < 0.6) & (radius > 60) & (radius < 320)
    speckle = chance.gamma(1.2, 35, (300, 400)) * np.exp(-radius / 400) * (1 + np.sin(radius / chance.uniform(8, 30)))
    return np.where(sector, speckle, 0).clip(0, 255).astype(np.uint8)


def _slice(chance: np.random.Generator) -> NDArray[np.generic]:
    """Return a bright ring with ellipses inside on black, as a slice of a body."""
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    body = (x / 0.8) ** 2 + (y / chance.uniform(0.5, 0.9)) ** 2
    grey = np.where(body < 1, 110.0, 0) + np.where((body < 1) & (body > 0.85), 120, 0)
    for _ in range(int(chance.integers(3, 9))):
        cx, cy, a, b = *chance.uniform(-0.45, 0.45, 2), *chance.uniform(0.06, 0.3, 2)
        grey[(((x - cx) / a) ** 2 + ((y - cy) / b) ** 2) < 1] = chance.uniform(30, 230)
    return (grey + chance.normal(0, 6, grey.shape)).clip(0, 255).astype(np.uint8)


PICTURES = {"noise": _noise, "traces": _traces, "page": _page, "tissue": _tissue, "fan": _fan, "slice": _slice}
