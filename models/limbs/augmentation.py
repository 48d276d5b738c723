"""Changes that a limb may show without changing what is broken: geometry for image and boxes, contrast for the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.limbs.preprocessing import CELL, COLUMNS, ROWS, Box

#: Cells by which a view from the bank is moved at most.
MOST_CELLS = 2


def vary(image: Tensor, boxes: tuple[Box, ...], chance: np.random.Generator) -> tuple[Tensor, list[Box]]:
    """Return a (1, 1, rows, columns) canvas turned, scaled, mirrored and with another contrast, and its boxes moved along."""
    angle, scale = math.radians(chance.uniform(-15, 15)), chance.uniform(0.85, 1.12)
    across, down = (-1.0 if chance.random() < 0.5 else 1.0), (-1.0 if chance.random() < 0.25 else 1.0)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * scale
    # From places on the new canvas to places on the old one, in pixels about its centre.
    back = turn @ np.diag([across, down])
    shift = chance.uniform(-16, 16, 2)
    half = np.array([COLUMNS / 2, ROWS / 2])
    theta = np.concatenate([back * half[None, :] / half[:, None], (shift / half)[:, None]], 1)
    grid = functional.affine_grid(torch.from_numpy(theta)[None].float(), list(image.shape), align_corners=False)
    moved = functional.grid_sample(image, grid, align_corners=False).clamp(0, 1)
    changed = moved ** chance.uniform(0.65, 1.5) * chance.uniform(0.8, 1.15) + chance.uniform(-0.08, 0.08)
    if chance.random() < 0.2:
        changed = functional.avg_pool2d(changed, 3, stride=1, padding=1, count_include_pad=False)
    noise = torch.from_numpy(chance.normal(0, chance.uniform(0, 0.02), image.shape).astype(np.float32))
    return (changed + noise).clamp(0, 1), [_moved(box, np.linalg.inv(back), shift, half) for box in boxes]


def shifted(features: Tensor, views: Sequence[Sequence[Box]], chance: np.random.Generator) -> tuple[Tensor, list[list[Box]]]:
    """Return what the frozen part sees of (N, channels, rows, columns) views, each moved by whole cells.

    They are made a little louder or softer as well. What comes in at an edge repeats it.
    """
    rows, columns = features.shape[2:]
    moved, placed = torch.empty_like(features), []
    for index, boxes in enumerate(views):
        down, across = (int(step) for step in chance.integers(-MOST_CELLS, MOST_CELLS + 1, 2))
        row = (torch.arange(rows) - down).clamp(0, rows - 1)
        column = (torch.arange(columns) - across).clamp(0, columns - 1)
        moved[index] = features[index][:, row][:, :, column] * chance.uniform(0.9, 1.1)
        placed.append([(x + across * CELL, y + down * CELL, width, height) for x, y, width, height in boxes])
    return moved, placed


def mirrored(box: Box) -> Box:
    """Return a box of the canvas as its mirror image shows it."""
    return COLUMNS - box[0] - box[2], box[1], box[2], box[3]


def _moved(box: Box, forth: np.ndarray, shift: np.ndarray, half: np.ndarray) -> Box:
    x, y, width, height = box
    centre = forth @ (np.array([x + width / 2, y + height / 2]) - half - shift) + half
    # The axis-parallel box of a turned ellipse: a turned rectangle's would be too large for what it holds.
    reach = np.sqrt((forth**2) @ (np.array([width, height]) ** 2))
    return float(centre[0] - reach[0] / 2), float(centre[1] - reach[1] / 2), float(reach[0]), float(reach[1])
