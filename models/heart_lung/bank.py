"""What the frozen trunk sees of varied training images, computed once: every network of the cross-validation learns from it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.nn import functional

from models.heart_lung.augmentation import vary
from models.heart_lung.data import HeartLungCase, greys, masks
from models.heart_lung.network import Trunk
from models.heart_lung.preprocessing import SIDE, prepared

#: Variations of an image beside the image as it is.
VIEWS = 11


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Views of the cases, case after case, ``VIEWS + 1`` of each; the first is the image as it is."""

    #: Half precision.
    features: tuple[Tensor, ...]
    #: (views, 3, 128, 128), share of each place that a structure covers, 0 to 255.
    targets: Tensor

    def views(self, chosen: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return the features and the targets of some views."""
        return tuple(feature[chosen].float() for feature in self.features), self.targets[chosen].float() / 255


def fill_bank(cases: Sequence[HeartLungCase], threads: int, chance: torch.Generator) -> Bank:
    """Vary the images and run the trunk over them (in ONNX Runtime, several times faster than torch here)."""
    session = trunk_session(threads)
    features: list[list[Tensor]] = []
    targets = []
    for case, grey in zip(cases, greys(cases), strict=True):
        image = torch.from_numpy(prepared(grey)[0])[None, None]
        outlined = torch.from_numpy(masks(case).astype(np.float32))[None]
        # The set's images are square, so that the square that the network sees is the image, made smaller.
        outlined = functional.interpolate(outlined, (SIDE, SIDE), mode="area")
        moved, moved_targets = vary(image.repeat(VIEWS, 1, 1, 1), outlined.repeat(VIEWS, 1, 1, 1), chance)
        seen = session.run(None, {"image": torch.cat([image, moved]).numpy()})
        features.append([torch.from_numpy(part).half() for part in seen])
        smaller = functional.avg_pool2d(torch.cat([outlined, moved_targets]), 2)
        targets.append((smaller * 255).round().to(torch.uint8))
    return Bank(features=tuple(torch.cat(level) for level in zip(*features, strict=True)), targets=torch.cat(targets))


def trunk_session(threads: int) -> onnxruntime.InferenceSession:
    """Return the trunk in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trunk.onnx"
        torch.onnx.export(
            Trunk(),
            (torch.zeros(2, 1, SIDE, SIDE),),
            file,
            input_names=["image"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
