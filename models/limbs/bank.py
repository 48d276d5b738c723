"""What the frozen part of the network sees of varied images, computed once: every fold learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.limbs.augmentation import mirrored, vary
from models.limbs.data import LimbCase, greys
from models.limbs.network import Early
from models.limbs.preprocessing import CELL, COLUMNS, ROWS, Box, prepared

#: Views of a fractured and of a whole limb: the image, its mirror image, and variations.
FRACTURED_VIEWS, WHOLE_VIEWS = 6, 3


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Views, case after case; the first of each is the image as it is, the second its mirror image."""

    #: (views, 40, 48, 40) in bfloat16.
    features: Tensor
    #: For each view its boxes on the canvas.
    boxes: tuple[tuple[Box, ...], ...]
    #: First view and number of views of each case.
    first: Tensor
    count: Tensor


def fill_bank(early: Early, cases: Sequence[LimbCase]) -> Bank:
    """Vary the images and run the frozen part over them."""
    views = [FRACTURED_VIEWS if case.fractured else WHOLE_VIEWS for case in cases]
    count = torch.tensor(views)
    first = torch.cumsum(count, 0) - count
    features = torch.empty((int(count.sum()), 40, ROWS // CELL, COLUMNS // CELL), dtype=torch.bfloat16)
    boxes: list[tuple[Box, ...]] = []
    for index, case in enumerate(cases):
        chance = np.random.default_rng([7, index])
        square, canvas = prepared(greys(case))
        image = torch.from_numpy(square)[None, None]
        drawn = tuple(canvas.to_canvas(box) for box in case.boxes)
        images, placed = [image, image.flip(3)], [drawn, tuple(mirrored(box) for box in drawn)]
        for _ in range(views[index] - 2):
            varied, moved = vary(image, drawn, chance)
            images.append(varied)
            placed.append(tuple(moved))
        features[first[index] : first[index] + views[index]] = seen(early, torch.cat(images))
        boxes += placed
    return Bank(features=features, boxes=tuple(boxes), first=first, count=count)


def seen(early: Early, images: Tensor) -> Tensor:
    """Return what the frozen part makes of images, in bfloat16."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return early(images.contiguous(memory_format=torch.channels_last)).bfloat16()


def kept(bank: Bank, file: Path) -> None:
    """Write a bank to a file, so that an interrupted training goes on."""
    torch.save({"features": bank.features, "boxes": bank.boxes, "first": bank.first, "count": bank.count}, file)


def bank_of(file: Path) -> Bank:
    """Read a bank that ``kept`` wrote."""
    return Bank(**torch.load(file, weights_only=True, mmap=True))
