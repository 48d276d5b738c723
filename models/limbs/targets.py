"""What the network is asked to say of a view: which places lie in a fracture, how far its box reaches, and what the image is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.limbs.data import LimbCase
from models.limbs.preprocessing import CELL, COLUMNS, ROWS, Box
from models.limbs.reading import KINDS, PARTS, PROJECTIONS

#: Smallest side of a box in pixels of the canvas, so that the smallest fractures have a place at all.
SMALLEST = 12.0
#: Pixels around a box in which nothing is asked: people end a box where they like.
MARGIN = 8.0
#: Weights of the parts of the loss.
PLACE_WEIGHT, BOX_WEIGHT, WHAT_WEIGHT = 1.0, 0.1, 0.3
#: An image with metal is broken nearly always: it teaches the image's logit less.
HARDWARE_WEIGHT = 0.3
#: The image's target is this far from 0 and 1: some labels are wrong.
SMOOTHING = 0.03

_Y = (torch.arange(ROWS // CELL) * CELL + CELL / 2).view(-1, 1)
_X = (torch.arange(COLUMNS // CELL) * CELL + CELL / 2).view(1, -1)


def place_targets(views: Sequence[Sequence[Box]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return (N, 48, 40) with 1 in a box and 0 outside, the same with 1 where it counts, and (N, 4, 48, 40) log distances."""
    inside = torch.zeros(len(views), *(_Y + _X).shape)
    counts = torch.ones_like(inside)
    sides = torch.zeros(len(views), 4, *inside.shape[1:])
    for index, boxes in enumerate(views):
        for x, y, width, height in boxes:
            across, down = max(width, SMALLEST), max(height, SMALLEST)
            left, top = x + width / 2 - across / 2, y + height / 2 - down / 2
            ends = _X - left, _Y - top, left + across - _X, top + down - _Y
            reach = torch.stack([end.expand(inside.shape[1:]) for end in ends])
            nearest = reach.amin(0)
            counts[index][(nearest > -MARGIN) & (nearest <= 0) & (inside[index] == 0)] = 0
            within = nearest > 0
            inside[index][within], counts[index][within] = 1, 1
            sides[index][:, within] = torch.log(reach[:, within].clamp_min(1) / CELL)
    return inside, counts, sides


def what_targets(cases: Sequence[LimbCase]) -> Tensor:
    """Return (N, kinds, projections, hardware) of limbs."""
    return torch.tensor(
        [
            [float(part in case.parts) for part in PARTS]
            + [0.0, 1.0]
            + [float(name in case.projections) for name in PROJECTIONS]
            + [float(case.hardware)]
            for case in cases
        ]
    )


def loss_of(
    said: dict[str, Tensor],
    views: Sequence[Sequence[Box]],
    fractured: Tensor,
    hardware: Tensor,
    what: Tensor,
    strangers: Tensor,
) -> Tensor:
    """Return the loss of limbs followed by strangers (``strangers`` holds their kinds); only limbs have fractures."""
    limbs = len(fractured)
    softened = fractured * (1 - 2 * SMOOTHING) + SMOOTHING
    weights = 1 - (1 - HARDWARE_WEIGHT) * hardware
    image = functional.binary_cross_entropy_with_logits(said["fracture"][:limbs], softened, weights)
    places, box = _place_loss(said, views)
    asked = len(KINDS)
    kinds = torch.cat([what[:, :asked], strangers])
    kind = functional.binary_cross_entropy_with_logits(said["what"][:, :asked], kinds)
    rest = functional.binary_cross_entropy_with_logits(said["what"][:limbs, asked:], what[:, asked:])
    return image + PLACE_WEIGHT * places + BOX_WEIGHT * box + WHAT_WEIGHT * (kind + rest)


def _place_loss(said: dict[str, Tensor], views: Sequence[Sequence[Box]]) -> tuple[Tensor, Tensor]:
    inside, counts, sides = place_targets(views)
    logits = said["places"][: len(views)]
    sure = torch.sigmoid(torch.where(inside > 0, logits, -logits))
    # Focal loss (Lin et al., ICCV 2017): most places are easy.
    focal = (1 - sure) ** 2 * functional.softplus(torch.where(inside > 0, -logits, logits)) * counts
    broken = inside.flatten(1).sum(1)
    of_box = inside / broken.clamp_min(1).sqrt().view(-1, 1, 1)
    positive = (focal * of_box).sum() / of_box.sum().clamp_min(1)
    negative = (focal * (1 - inside)).sum() / (6 * (broken > 0).sum().clamp_min(1))
    reach = functional.smooth_l1_loss(said["sides"][: len(views)], sides, reduction="none").mean(1)
    return positive + negative, (reach * inside).sum() / inside.sum().clamp_min(1)
