"""The network: pixels folded two by two, so that nothing of the finest detail is lost, then a few strided blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.slide_tiles.classes import CLASSES


class Block(nn.Sequential):
    """Two convolutions, the first with stride 2."""

    def __init__(self, incoming: int, outgoing: int) -> None:
        super().__init__(
            nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outgoing),
            nn.ReLU(inplace=True),
            nn.Conv2d(outgoing, outgoing, 3, padding=1, bias=False, groups=4),
            nn.BatchNorm2d(outgoing),
            nn.ReLU(inplace=True),
        )


class TileNetwork(nn.Module):
    """RGB tiles in 0..1 go in, logits of CLASSES come out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(12, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(Block(24, 48), Block(48, 64), Block(64, 80))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(80, len(CLASSES)))

    def forward(self, tiles: Tensor) -> Tensor:
        """Return logits, n × classes."""
        features: Tensor = self.blocks(self.stem(tiles))
        logits: Tensor = self.head(features.mean(dim=(2, 3)))
        return logits


class Speaking(nn.Module):
    """The network with probabilities instead of logits: what is exported."""

    def __init__(self, network: TileNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, tiles: Tensor) -> Tensor:
        """Return probabilities, n × classes."""
        return torch.softmax(self.network(tiles), dim=1)
