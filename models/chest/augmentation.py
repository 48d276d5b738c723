"""Changes that a radiograph may show without changing its findings, and those that take it out of scope."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def vary(images: Tensor, chance: torch.Generator) -> Tensor:
    """Return images a little rotated, scaled, shifted, mirrored and with another contrast, each in its own way."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=chance) * (high - low) + low

    angle, scale = uniform(-10, 10) * math.pi / 180, uniform(0.85, 1.1)
    # Mirroring hides situs, which none of the findings asks for.
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    affine = torch.stack(
        [
            torch.stack([torch.cos(angle) * scale * mirror, -torch.sin(angle) * scale, uniform(-0.08, 0.08)], 1),
            torch.stack([torch.sin(angle) * scale * mirror, torch.cos(angle) * scale, uniform(-0.08, 0.08)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False)
    shape = (count, 1, 1, 1)
    gamma, gain, offset = uniform(0.7, 1.4), uniform(0.85, 1.15), uniform(-0.08, 0.08)
    return ((moved.clamp(0, 1) ** gamma.view(shape)) * gain.view(shape) + offset.view(shape)).clamp(0, 1)


def spoil(images: Tensor, chance: torch.Generator) -> Tensor:
    """Return chests that the network must refuse: lying on a side, upside down, negative, or a small piece of one."""
    spoiled = images.clone()
    kinds = torch.randint(0, 5, (len(images),), generator=chance).tolist()
    for index, kind in enumerate(kinds):
        image = images[index]
        if kind < 3:
            spoiled[index] = torch.rot90(image, kind + 1, (1, 2))
        elif kind == 3:
            spoiled[index] = 1 - image
        else:
            side = image.shape[-1]
            size = int(side * 0.3)
            top, left = (int(torch.randint(0, side - size, (1,), generator=chance)) for _ in range(2))
            piece = image[:, top : top + size, left : left + size]
            spoiled[index] = functional.interpolate(piece[None], (side, side), mode="bilinear")[0]
    return spoiled
