"""What a township's machine may do to a recording and a doctor would still read: the training sees it, the label stays.

Electrode gain, baseline wander, muscle noise, a lead that fell off, and when the recording was begun.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.ecg.preprocessing import RATE


def augmented(millivolts: Tensor, crop: int, chance: torch.Generator) -> Tensor:
    """Return a random piece of each recording, (batch, 8, crop), as another machine could have written it."""
    batch, leads, samples = millivolts.shape
    start = torch.randint(0, samples - crop + 1, (batch, 1, 1), generator=chance)
    signal = millivolts.gather(2, (start + torch.arange(crop)).expand(batch, leads, crop))
    gain = torch.exp(0.1 * torch.randn(batch, 1, 1, generator=chance))
    signal = signal * gain + _wander(batch, leads, crop, chance)
    noise = 0.02 * torch.rand(batch, 1, 1, generator=chance) * _chosen(batch, 0.5, chance)
    signal = signal + noise * torch.randn(batch, leads, crop, generator=chance)
    off = (torch.rand(batch, leads, 1, generator=chance) < 0.25) & (_chosen(batch, 0.15, chance) > 0)
    return signal.masked_fill(off, 0.0)


def mixed(signal: Tensor, targets: Tensor, strength: float, chance: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return recordings laid over each other in pairs and their targets in the same shares (mixup, Zhang et al. 2018)."""
    if strength <= 0:
        return signal, targets
    # Two gamma draws make a beta draw, from the same generator as all else.
    first, second = (torch._standard_gamma(torch.full((len(signal),), strength), generator=chance) for _ in range(2))
    share = first / (first + second).clamp_min(1e-6)
    share = torch.maximum(share, 1 - share)
    other = torch.randperm(len(signal), generator=chance)
    wide, narrow = share[:, None, None], share[:, None]
    return wide * signal + (1 - wide) * signal[other], narrow * targets + (1 - narrow) * targets[other]


def _wander(batch: int, leads: int, samples: int, chance: torch.Generator) -> Tensor:
    """Breathing and a loose electrode: one slow sine a lead, up to 0.15 mV, in half of the recordings."""
    seconds = torch.arange(samples) / RATE
    hertz = 0.05 + 0.4 * torch.rand(batch, leads, 1, generator=chance)
    phase = 6.283 * torch.rand(batch, leads, 1, generator=chance)
    height = 0.15 * torch.rand(batch, leads, 1, generator=chance) * _chosen(batch, 0.5, chance)
    return height * torch.sin(6.283 * hertz * seconds + phase)


def _chosen(batch: int, share: float, chance: torch.Generator) -> Tensor:
    return (torch.rand(batch, 1, 1, generator=chance) < share).float()
