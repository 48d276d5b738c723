"""Joins the parts of the chest network into one ONNX graph: outlines of lungs and heart, features, readings."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx
import onnx.compose
import onnxruntime
import torch
from torch import Tensor, nn

from models.bundle import read_bundle
from models.chest.anatomy import OUTLINE_SIDE
from models.chest.network import ChestFeatures
from models.chest.preprocessing import SIDE, resampling
from models.heart_lung.preprocessing import SIDE as OUTLINER_SIDE
from models.heart_lung.preprocessing import STRUCTURES

#: What the graph of the features returns.
FEATURES = ("features", "whole", "finest", "box")


class Smaller(nn.Module):
    """The chest network's square -> the square that the heart and lung network sees."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weights", torch.from_numpy(resampling(SIDE, OUTLINER_SIDE)))

    def forward(self, image: Tensor) -> Tensor:
        """Resample as the preprocessing does."""
        return self.weights @ image @ self.weights.T


def features_graph(heart_lung: Path) -> onnx.ModelProto:
    """Return the graph from ``image`` to the features; the outlines come from the bundle in the folder ``heart_lung``."""
    squares = torch.zeros(2, 1, SIDE, SIDE)
    outlines = torch.full((2, len(STRUCTURES), OUTLINE_SIDE, OUTLINE_SIDE), 0.5)
    smaller = exported(Smaller(), (squares,), ["image"], ["smaller"])
    outliner = onnx.load(read_bundle(heart_lung).weights)
    features = exported(ChestFeatures(), (squares, outlines), ["image", "outlines"], list(FEATURES))
    outlined = joined(smaller, outliner, {"smaller": "image"}, "outliner")
    return joined(outlined, features, {"outliner_probability": "outlines"}, "features", shared=("image",))


def exported(module: nn.Module, examples: tuple[Tensor, ...], inputs: list[str], outputs: list[str]) -> onnx.ModelProto:
    """Return a module as ONNX; the first axis of every input is free."""
    batch = torch.export.Dim("batch")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "part.onnx"
        torch.onnx.export(
            module.eval(),
            examples,
            file,
            input_names=inputs,
            output_names=outputs,
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            external_data=False,
            dynamo=True,
            verbose=False,
        )
        return onnx.load(file)


def joined(
    first: onnx.ModelProto, second: onnx.ModelProto, wires: dict[str, str], prefix: str, *, shared: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """Return two graphs as one: ``wires`` leads outputs of the first to inputs of the second.

    Names of the second get the prefix; its inputs that are ``shared`` are those of the first.
    """
    follower = onnx.compose.add_prefix(second, f"{prefix}_")
    opset = first.opset_import[0].version
    follower = onnx.version_converter.convert_version(follower, opset) if follower.opset_import[0].version != opset else follower
    follower.ir_version = first.ir_version
    whole = onnx.compose.merge_models(first, follower, io_map=[(out, f"{prefix}_{into}") for out, into in wires.items()])
    for name in shared:
        for node in whole.graph.node:
            for place, used in enumerate(node.input):
                if used == f"{prefix}_{name}":
                    node.input[place] = name
        doubled = next(one for one in whole.graph.input if one.name == f"{prefix}_{name}")
        whole.graph.input.remove(doubled)
    return whole


def rename_outputs(model: onnx.ModelProto, names: dict[str, str]) -> None:
    """Give outputs other names and drop those that are not named, in place."""
    for node in model.graph.node:
        for place, made in enumerate(node.output):
            node.output[place] = names.get(made, made)
        for place, used in enumerate(node.input):
            node.input[place] = names.get(used, used)
    kept = [one for one in model.graph.output if one.name in names]
    del model.graph.output[:]
    for one in kept:
        one.name = names[one.name]
    model.graph.output.extend(kept)


def opened(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Return the graph in ONNX Runtime on the processor."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
