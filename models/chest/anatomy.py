"""What the outlines of lungs and heart tell of a chest: where it lies, and numbers of shape, brightness and texture by zone.

All of it is written in operations that ONNX knows, so that serving computes the same numbers as training.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.chest.blocks import BANDS, ROWS

#: Side of the outlines that the heart and lung network returns.
OUTLINE_SIDE = 128
#: The chest is cut out with this margin around the lungs, as a share of their width or height: left, top, right, bottom.
MARGIN = (0.06, 0.06, 0.06, 0.10)
#: Side of the cut-out chest on which outlines, grey values and detail are averaged.
SMALL = 64

_LEFT, _RIGHT, _HEART = range(3)


def box_of(outlines: Tensor) -> Tensor:
    """Return left, top, right, bottom of the chest, -1 to 1 over the square, from (N, 3, 128, 128) probabilities."""
    lungs = torch.maximum(outlines[:, _LEFT], outlines[:, _RIGHT])
    across = torch.maximum(lungs, outlines[:, _HEART]).sum(1)
    down = lungs.sum(2)
    half = OUTLINE_SIDE / 2
    left, right = (_quantile(across, 0.01) / half - 1, (_quantile(across, 0.99) + 1) / half - 1)
    top, bottom = (_quantile(down, 0.01) / half - 1, (_quantile(down, 0.99) + 1) / half - 1)
    width, height = (right - left).clamp_min(0.6), (bottom - top).clamp_min(0.6)
    return torch.stack(
        [left - MARGIN[0] * width, top - MARGIN[1] * height, left + (1 + MARGIN[2]) * width, top + (1 + MARGIN[3]) * height], 1
    )


def cut_out(images: Tensor, box: Tensor, side: int) -> Tensor:
    """Return the box of each image, stretched to a square of ``side`` pixels; black where it reaches beyond the image."""
    steps = (torch.arange(side, dtype=images.dtype) + 0.5) / side
    across = box[:, 0:1] + (box[:, 2:3] - box[:, 0:1]) * steps
    down = box[:, 1:2] + (box[:, 3:4] - box[:, 1:2]) * steps
    return _sampled(images, across, down)


def put_back(maps: Tensor, box: Tensor, side: int) -> Tensor:
    """Return maps of the cut-out chest at their place in a square of ``side`` cells; 0 beyond the box."""
    centres = (torch.arange(side, dtype=maps.dtype) + 0.5) * (2 / side) - 1
    across = (centres - box[:, 0:1]) / (box[:, 2:3] - box[:, 0:1]) * 2 - 1
    down = (centres - box[:, 1:2]) / (box[:, 3:4] - box[:, 1:2]) * 2 - 1
    return _sampled(maps, across, down)


def numbers(images: Tensor, outlines: Tensor, box: Tensor) -> dict[str, Tensor]:
    """Return blocks of numbers, (N, size) each, from (N, 1, 384, 384) images and (N, 3, 128, 128) outlines."""
    layers = _layers(images)
    areas = outlines.sum((2, 3)) + 1e-3
    heart = (layers[:, 0] * outlines[:, _HEART]).sum((1, 2)) / areas[:, _HEART]
    variance = (layers[:, 0] - heart[:, None, None]).square() * outlines.sum(1)
    spread = (variance.sum((1, 2)) / areas.sum(1)).sqrt()
    across = [[_quantile(outlines[:, one].sum(1), share) for share in (0.02, 0.5, 0.98)] for one in range(3)]
    down = [[_quantile(outlines[:, one].sum(2), share) for share in (0.02, 0.5, 0.98)] for one in range(3)]
    zones = _zones(layers, outlines, areas, across, down, heart)
    both = zones[:, : 2 * ROWS] + zones[:, 2 * ROWS :]
    small = cut_out(outlines, box, SMALL)
    seen = cut_out(layers, box, SMALL)
    grey = (seen[:, :1] - heart.view(-1, 1, 1, 1)) / (spread.view(-1, 1, 1, 1) + 0.05)
    return {
        "shape": _shape(outlines, areas, across, down, heart, spread),
        "zones": zones.flatten(1),
        "zone_sums": both.flatten(1),
        "outlines": functional.avg_pool2d(small, 8).flatten(1),
        "detail": torch.log(functional.avg_pool2d(seen[:, 1:], 8) + 1e-3).flatten(1),
        "grey": functional.avg_pool2d(grey, 4).flatten(1),
    }


def whole(images: Tensor, outlines: Tensor) -> Tensor:
    """Return numbers of the whole square, for the gate: brightness, outlines, detail."""
    layers = _layers(images)
    return torch.cat(
        [
            functional.avg_pool2d(layers[:, :1], 8).flatten(1),
            functional.avg_pool2d(outlines, 16).flatten(1),
            torch.log(functional.avg_pool2d(layers[:, 1:], 16) + 1e-3).flatten(1),
        ],
        1,
    )


def _quantile(profile: Tensor, share: float) -> Tensor:
    """Return how many steps of each profile lie before ``share`` of its sum."""
    reached = torch.cumsum(profile, 1) / (profile.sum(1, keepdim=True) + 1e-6)
    return (reached < share).to(profile.dtype).sum(1)


def _sampled(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    rows, columns = down.shape[1], across.shape[1]
    grid = torch.stack([across[:, None, :].expand(-1, rows, -1), down[:, :, None].expand(-1, -1, columns)], 3)
    return functional.grid_sample(images, grid, align_corners=False)


def _layers(images: Tensor) -> Tensor:
    """Return grey values and the bands of detail, at a third of the size."""
    bands, value = [], images
    for level in range(BANDS):
        band = (value - _blurred(_blurred(value))).abs()
        bands.append(
            functional.avg_pool2d(band, 3)
            if level == 0
            else functional.interpolate(band, (OUTLINE_SIDE, OUTLINE_SIDE), mode="bilinear", align_corners=False)
        )
        value = functional.avg_pool2d(value, 2)
    return torch.cat([functional.avg_pool2d(images, 3), *bands], 1)


def _blurred(value: Tensor) -> Tensor:
    return functional.avg_pool2d(value, 3, 1, 1, count_include_pad=False)


def _shape(
    outlines: Tensor, areas: Tensor, across: list[list[Tensor]], down: list[list[Tensor]], heart: Tensor, spread: Tensor
) -> Tensor:
    """Return the cardiothoracic ratio and its kin: widths, heights and areas by the width of the thorax."""
    left, right, middle = across
    width = (left[2] - right[0]).clamp_min(8)
    lung_areas = areas[:, _LEFT] + areas[:, _RIGHT]
    parts = [
        (middle[2] - middle[0]) / width,
        areas[:, _LEFT] / areas[:, _RIGHT],
        areas[:, _HEART] / lung_areas,
        (down[_LEFT][2] - down[_LEFT][0]) / width,
        (down[_RIGHT][2] - down[_RIGHT][0]) / width,
        (down[_LEFT][2] - down[_RIGHT][2]) / width,
        (down[_LEFT][0] - down[_RIGHT][0]) / width,
        (middle[1] - right[0]) / width,
        (left[0] - right[2]) / width,
        *(areas[:, one] / width**2 for one in range(3)),
        (down[_HEART][2] - down[_HEART][0]) / width,
        (middle[0] - right[0]) / width,
        (left[2] - middle[2]) / width,
        heart,
        spread,
        width / OUTLINE_SIDE,
    ]
    likely = (outlines > 0.2).to(outlines.dtype)
    doubtful = likely * (outlines < 0.8).to(outlines.dtype)
    return torch.cat([torch.stack(parts, 1), doubtful.sum((2, 3)) / (likely.sum((2, 3)) + 1)], 1)


def _zones(
    layers: Tensor, outlines: Tensor, areas: Tensor, across: list[list[Tensor]], down: list[list[Tensor]], heart: Tensor
) -> Tensor:
    """Return (N, zones, numbers): brightness by the heart's, detail, spread, skew and size of each zone."""
    rows = torch.arange(OUTLINE_SIDE, dtype=layers.dtype).view(1, -1, 1)
    columns = torch.arange(OUTLINE_SIDE, dtype=layers.dtype).view(1, 1, -1)
    zones = []
    for lung in (_LEFT, _RIGHT):
        top, bottom, middle = (one.view(-1, 1, 1) for one in (down[lung][0], down[lung][2], across[lung][1]))
        for row in range(ROWS):
            low, high = (top + (bottom - top) * row / ROWS, top + (bottom - top) * (row + 1) / ROWS)
            band = outlines[:, lung] * (rows >= low).to(layers.dtype) * (rows < high).to(layers.dtype)
            beyond = (columns >= middle).to(layers.dtype)
            lateral = beyond if lung == _LEFT else 1 - beyond
            for weights in (band * (1 - lateral), band * lateral):
                size = weights.sum((1, 2)) + 1
                means = (layers * weights[:, None]).sum((2, 3)) / size[:, None]
                off = layers[:, 0] - means[:, 0].view(-1, 1, 1)
                deviation = ((off.square() * weights).sum((1, 2)) / size + 1e-12).sqrt()
                skew = (off * off.square() * weights).sum((1, 2)) / size / (deviation * deviation.square() + 1e-4)
                facts = torch.stack([deviation, skew, size / areas[:, lung]], 1)
                zones.append(torch.cat([means[:, :1] - heart[:, None], means[:, 1:], facts], 1))
    return torch.stack(zones, 1)
