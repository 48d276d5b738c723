"""Changes that a chest may show without changing its outlines' meaning: geometry for image and masks, contrast for the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

#: Share of the views that are mirrored; the patient's left and right change places in the masks.
MIRRORED = 0.3


def vary(images: Tensor, targets: Tensor, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return (N, 1, S, S) images and (N, 3, S, S) masks, each moved and the image's contrast changed in its own way."""
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=chance) * (high - low) + low

    angle, scale, aspect = uniform(-8, 8) * math.pi / 180, uniform(0.85, 1.15), uniform(-0.08, 0.08)
    mirror = torch.where(uniform(0, 1) < MIRRORED, -1.0, 1.0)
    affine = torch.stack(
        [
            torch.stack([torch.cos(angle) * scale * (1 + aspect) * mirror, -torch.sin(angle) * scale, uniform(-0.07, 0.07)], 1),
            torch.stack([torch.sin(angle) * scale * mirror, torch.cos(angle) * scale * (1 - aspect), uniform(-0.07, 0.07)], 1),
        ],
        1,
    )
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    moved = functional.grid_sample(images, grid, align_corners=False).clamp(0, 1)
    outlined = functional.grid_sample(targets, grid, align_corners=False)
    swapped = torch.where((mirror < 0).view(-1, 1, 1, 1), outlined[:, [1, 0, 2]], outlined)
    shape = (count, 1, 1, 1)
    gain, offset = uniform(0.55, 1.2).view(shape), uniform(-0.12, 0.15).view(shape)
    changed = moved ** uniform(0.6, 1.6).view(shape) * gain + offset
    noise = torch.randn(images.shape, generator=chance) * uniform(0, 0.03).view(shape)
    blurred = functional.avg_pool2d(changed, 3, stride=1, padding=1, count_include_pad=False)
    softened = torch.where((uniform(0, 1) < 0.3).view(shape), blurred, changed)
    return (softened + noise).clamp(0, 1), swapped
