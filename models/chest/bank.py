"""What the frozen part of the network sees of varied training images, computed once: training then touches the rest only."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
import torch
from torch import Tensor, nn

from models.chest.augmentation import spoil, vary
from models.chest.data import ChestCase, load
from models.chest.network import ChestNetwork
from models.chest.preprocessing import SIDE

#: Variations of an image with careful labels or a teacher, of another chest, of a limb; spoiled chests altogether.
TAUGHT_VIEWS, POOR_VIEWS, LIMB_VIEWS, SPOILED = 10, 3, 1, 800


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Early features in half precision."""

    #: (views, channels, side, side) of chests.
    chests: Tensor
    #: First view and number of views of each case.
    first: Tensor
    count: Tensor
    #: (views, channels, side, side) of limbs and of spoiled chests.
    strangers: Tensor

    def chest(self, cases: Tensor, chance: torch.Generator) -> Tensor:
        """Return one view of each case, drawn at random."""
        drawn = (torch.rand(len(cases), generator=chance) * self.count[cases]).long()
        return self.chests[self.first[cases] + drawn].float()


class _Early(nn.Module):
    def __init__(self, network: ChestNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.early(image)


def fill_bank(
    network: ChestNetwork, cases: Sequence[ChestCase], limbs: Sequence[Path], threads: int, chance: torch.Generator
) -> Bank:
    """Vary the images, spoil some, and run the frozen part over them (in ONNX Runtime, several times faster than torch here)."""
    session = _session(network, threads)
    chests = torch.from_numpy(load([case.file for case in cases]))[:, None]
    count = torch.tensor([POOR_VIEWS if case.shortcut and case.teacher is None else TAUGHT_VIEWS for case in cases])
    views = torch.repeat_interleave(torch.arange(len(cases)), count)
    seen = [_early(session, vary(chests[part], chance)) for part in views.split(32)]
    broken = torch.randint(0, len(cases), (SPOILED,), generator=chance)
    strange = [_early(session, spoil(chests[part], chance)) for part in broken.split(32)]
    others = torch.arange(len(limbs)).repeat(LIMB_VIEWS)
    for part in others.split(32):
        images = torch.from_numpy(load([limbs[index] for index in part.tolist()]))[:, None]
        strange.append(_early(session, vary(images, chance)))
    return Bank(chests=torch.cat(seen), first=torch.cumsum(count, 0) - count, count=count, strangers=torch.cat(strange))


def _early(session: onnxruntime.InferenceSession, images: Tensor) -> Tensor:
    return torch.from_numpy(session.run(None, {"image": images.numpy()})[0]).half()


def _session(network: ChestNetwork, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "early.onnx"
        torch.onnx.export(
            _Early(network).eval(),
            (torch.zeros(2, 1, SIDE, SIDE),),
            file,
            input_names=["image"],
            dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
