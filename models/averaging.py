"""A slow copy of a network under training: its weights follow the present ones, and it is the copy that is kept."""

from __future__ import annotations

import torch


def follow(average: torch.nn.Module, network: torch.nn.Module, keep: float) -> None:
    """Move the averaged weights a little towards the present ones; ``keep`` is the share that stays."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)
