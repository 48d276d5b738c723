"""The networks that read ten seconds of eight leads, and the panel that averages them.

Three ways to look at one signal err in different places: a residual network with squeeze-and-excitation (xresnet1d of the PTB-XL
benchmark, made narrow), one with long kernels, and one whose pieces attend to each other over the whole ten seconds.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAD_COUNT = 8


def _conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(before, after, kernel, stride, kernel // 2, bias=False), nn.BatchNorm1d(after))


class SqueezeExcite(nn.Module):
    """Weighs channels by what the whole recording shows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // 8)
        self.excite = nn.Linear(channels // 8, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel."""
        weight = torch.sigmoid(self.excite(functional.relu(self.squeeze(x.mean(dim=2)))))
        return x * weight.unsqueeze(2)


class Residual(nn.Module):
    """Two convolutions beside the identity; a stride halves the time by averaging on the identity's side."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.first = _conv(before, after, kernel, stride)
        self.second = _conv(after, after, kernel)
        self.excite = SqueezeExcite(after)
        self.halve = nn.AvgPool1d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.widen = _conv(before, after, 1) if before != after else nn.Identity()
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Add what the convolutions see to the identity."""
        seen = self.excite(self.second(functional.relu(self.first(x))))
        return functional.relu(self.widen(self.halve(x)) + seen)


class Attention(nn.Module):
    """One pre-norm encoder layer, written out so that its export is plain matrix products."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.after = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.ask = nn.Linear(channels, 3 * channels)
        self.answer = nn.Linear(channels, channels)
        self.think = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Let every piece (batch, pieces, channels) look at every other."""
        batch, pieces, channels = x.shape
        query, key, value = self.ask(self.before(x)).view(batch, pieces, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weight = torch.softmax(query @ key.transpose(2, 3) * (channels // self.heads) ** -0.5, dim=-1)
        x = x + self.drop(self.answer((weight @ value).transpose(1, 2).reshape(batch, pieces, channels)))
        return x + self.drop(self.think(self.after(x)))


def over_time(x: Tensor) -> list[Tensor]:
    """Return mean, peak and spread of (batch, channels, time), each (batch, channels); the spread tells an irregular rhythm."""
    mean = x.mean(dim=2)
    spread = ((x - mean.unsqueeze(2)).square().mean(dim=2) + 1e-5).sqrt()
    return [mean, x.amax(dim=2), spread]


class Head(nn.Module):
    """Mean and peak over time, then one logit for each statement and superclass, and two for age and sex."""

    def __init__(self, channels: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2 * channels)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * channels, outputs)

    def summary(self, x: Tensor) -> Tensor:
        """Return (batch, 2 * channels) of (batch, channels, time)."""
        return self.norm(torch.cat([x.mean(dim=2), x.amax(dim=2)], dim=1))

    def forward(self, x: Tensor) -> Tensor:
        """Sum up (batch, channels, time)."""
        return self.linear(self.drop(self.summary(x)))


class Reader(nn.Module):
    """One member of the panel."""

    def __init__(self, kind: str, outputs: int, *, dropout: float = 0.3) -> None:
        super().__init__()
        self.kind = kind
        self.scale = nn.BatchNorm1d(LEAD_COUNT)
        self.body, channels = _BODIES[kind]()
        self.attention = nn.Sequential(Attention(channels), Attention(channels)) if kind == "attentive" else None
        self.place = nn.Parameter(torch.zeros(1, 64, channels)) if kind == "attentive" else None
        self.head = Head(channels, outputs, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, outputs) of millivolts (batch, 8, samples)."""
        return self.head(self._attend(self.body(self.scale(x))))

    def described(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, and what the network saw: figures over time of its stages and the head's summary."""
        seen = []
        x = self.scale(x)
        for stage in self.body:
            x = stage(x)
            if isinstance(stage, Residual):
                seen.append(x)
        last = self._attend(x)
        figures = [figure for x in seen[:-1:2] for figure in over_time(x)]
        return self.head(last), torch.cat([self.head.summary(last), *figures], dim=1)

    def _attend(self, x: Tensor) -> Tensor:
        if self.attention is None or self.place is None:
            return x
        pieces = x.transpose(1, 2)
        return self.attention(pieces + self.place[:, : pieces.shape[1]]).transpose(1, 2)


def _stem(kernel: int, width: int) -> list[nn.Module]:
    return [_conv(LEAD_COUNT, 32, kernel, 2), nn.ReLU(), _conv(32, width, 5, 2), nn.ReLU()]


def _residual() -> tuple[nn.Sequential, int]:
    stages = [(48, 64, 5, 1), (64, 128, 5, 2), (128, 128, 3, 1), (128, 192, 5, 2), (192, 192, 3, 1)]
    stages += [(192, 256, 3, 2), (256, 256, 3, 1)]
    return nn.Sequential(*_stem(9, 48), *(Residual(*stage) for stage in stages)), 256


def _attentive() -> tuple[nn.Sequential, int]:
    stages = [(48, 64, 5, 1), (64, 128, 5, 2), (128, 192, 5, 2)]
    return nn.Sequential(*_stem(7, 48), *(Residual(*stage) for stage in stages)), 192


def _long() -> tuple[nn.Sequential, int]:
    stages = [(48, 64, 9, 1), (64, 96, 7, 2), (96, 192, 5, 2), (192, 256, 3, 2), (256, 256, 3, 1)]
    return nn.Sequential(*_stem(15, 48), *(Residual(*stage) for stage in stages)), 256


_BODIES = {"residual": _residual, "attentive": _attentive, "long": _long}
KINDS = tuple(_BODIES)
