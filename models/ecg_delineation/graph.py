"""openecg's delineation network as a leaner ONNX graph: the frame layer alone, and no work done twice.

The published graph repeats each of 500 frames ten times and then runs two convolutions of 128 channels over all 5000 samples,
half of its work. Repeated frames make most of those sums equal. Here the first convolution runs once a frame with the five
kernels that differ, the second is folded with the linear layer behind it, and ten samples come out of each frame at once. The
result is the same up to rounding. Attention and GELU use ONNX Runtime's joined operators (domain ``com.microsoft``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]

#: Samples that openecg's network was taught with: 10 s at 500 Hz. Shorter windows of whole frames go too.
SAMPLES = 5000
#: Samples of one frame.
PATCH = 10
CLASSES = 4
HEADS = 4
_REACH = 2
_EPSILON = 1e-5
_FUSED = "com.microsoft"
#: Which of the five different values of the first convolution stands at each of a frame's ten samples.
_VALUE_AT = (0, 1, 2, 2, 2, 2, 2, 2, 3, 4)
#: A sample at which each of those five values is taken.
_SAMPLE_OF = (0, 1, 4, 8, 9)


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: npt.NDArray[np.generic]) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: object) -> str:
        """Add a node; return the name of its first output."""
        name = f"v{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, list(inputs), names, domain=domain, **attributes))
        return name


def refined_kernels(first: Array, second: Array, bias: Array, head: Array) -> tuple[Array, Array, Array]:
    """Fold repetition and the linear layer into the two convolutions.

    Parameters
    ----------
    first, second
        Kernels of the two convolutions over samples, (128, 128, 5).
    bias
        Of the second one, (128,).
    head
        The linear layer, (4, 128).

    Returns
    -------
    The first kernel over frames (640, 128, 3), the second over frames (40, 640, 3), and the bias that it adds, (4,).
    """
    width = first.shape[0]
    over_frames = np.zeros((len(_SAMPLE_OF), width, width, 3), np.float32)
    for value, sample in enumerate(_SAMPLE_OF):
        for tap in range(-_REACH, _REACH + 1):
            over_frames[value, :, :, (sample + tap) // PATCH + 1] += first[:, :, tap + _REACH]
    spoken = np.einsum("ci,ijt->cjt", head, second)
    out = np.zeros((PATCH, CLASSES, len(_SAMPLE_OF), width, 3), np.float32)
    for sample in range(PATCH):
        for tap in range(-_REACH, _REACH + 1):
            frame, inside = divmod(sample + tap, PATCH)
            out[sample, :, _VALUE_AT[inside], :, frame + 1] += spoken[:, :, tap + _REACH]
    return over_frames.reshape(-1, width, 3), out.reshape(PATCH * CLASSES, -1, 3), head @ bias


def lean_graph(weights: Weights) -> onnx.ModelProto:
    """Return the graph: ``signal`` (N, samples), ranks from -1 to 1, to ``frame_logits`` (N, samples, 4): other, P, QRS, T.

    The samples are whole frames, at most as many as there are places (``pos_enc``, 512 frames).
    """
    graph = _Graph()
    taken = graph.constant
    width = weights["conv_tok.weight"].shape[0]
    row = graph.add("Unsqueeze", "signal", taken(np.array([1], np.int64)))
    tokens = graph.add(
        "Conv",
        row,
        taken(weights["conv_tok.weight"]),
        taken(weights["conv_tok.bias"]),
        strides=[PATCH],
        pads=[PATCH // 2, PATCH // 2],
    )
    hidden = graph.add("Transpose", tokens, perm=[0, 2, 1])
    frames = graph.add("Shape", hidden, start=1, end=2)
    zero, axis = taken(np.array([0], np.int64)), taken(np.array([1], np.int64))
    hidden = graph.add("Add", hidden, graph.add("Slice", taken(weights["pos_enc"]), zero, frames, axis))
    for number in range(_count(weights, "lower_convs.{}.weight")):
        kernel = weights[f"lower_convs.{number}.weight"]
        reach = kernel.shape[2] // 2
        turned = graph.add("Transpose", hidden, perm=[0, 2, 1])
        turned = graph.add("Conv", turned, taken(kernel), taken(weights[f"lower_convs.{number}.bias"]), pads=[reach, reach])
        turned = graph.add("Transpose", graph.add("Gelu", turned, domain=_FUSED), perm=[0, 2, 1])
        hidden = _norm(graph, weights, f"lower_norms.{number}", graph.add("Add", turned, hidden))
    for number in range(_count(weights, "upper_transformer.layers.{}.linear1.weight")):
        hidden = _transformer_layer(graph, weights, f"upper_transformer.layers.{number}.", hidden, width)
    frames = graph.add("Transpose", hidden, perm=[0, 2, 1])
    head, offset = weights["head_sample.weight"], weights["head_sample.bias"]
    first, second, bias = refined_kernels(weights["refine.0.weight"], weights["refine.2.weight"], weights["refine.2.bias"], head)
    values = graph.add("Conv", frames, taken(first), taken(np.tile(weights["refine.0.bias"], len(_SAMPLE_OF))), pads=[1, 1])
    values = graph.add("Gelu", values, domain=_FUSED)
    refined = graph.add("Conv", values, taken(second), taken(np.tile(bias + offset, PATCH)), pads=[1, 1])
    plain = graph.add("Conv", frames, taken(np.tile(head, (PATCH, 1))[:, :, None]))
    logits = graph.add("Transpose", graph.add("Add", refined, plain), perm=[0, 2, 1])
    graph.add("Reshape", logits, taken(np.array([0, -1, CLASSES], np.int64)))
    graph.nodes[-1].output[0] = "frame_logits"
    return _model(graph)


def _transformer_layer(graph: _Graph, weights: Weights, name: str, hidden: str, width: int) -> str:
    taken = graph.constant
    normed = _norm(graph, weights, name + "norm1", hidden)
    joined = graph.add("MatMul", normed, taken(weights[name + "self_attn.in_proj_weight"].T))
    joined = graph.add("Add", joined, taken(weights[name + "self_attn.in_proj_bias"]))
    split = graph.add("Split", joined, outputs=3, axis=2, num_outputs=3)
    attended = graph.add("MultiHeadAttention", split, f"{split}_1", f"{split}_2", domain=_FUSED, num_heads=HEADS)
    attended = graph.add("MatMul", attended, taken(weights[name + "self_attn.out_proj.weight"].T))
    attended = graph.add("Add", attended, taken(weights[name + "self_attn.out_proj.bias"]))
    hidden = graph.add("Add", hidden, attended)
    wide = graph.add("MatMul", _norm(graph, weights, name + "norm2", hidden), taken(weights[name + "linear1.weight"].T))
    wide = graph.add("Gelu", graph.add("Add", wide, taken(weights[name + "linear1.bias"])), domain=_FUSED)
    narrow = graph.add("MatMul", wide, taken(weights[name + "linear2.weight"].T))
    return graph.add("Add", hidden, graph.add("Add", narrow, taken(weights[name + "linear2.bias"])))


def _norm(graph: _Graph, weights: Weights, name: str, hidden: str) -> str:
    scale, bias = graph.constant(weights[f"{name}.weight"]), graph.constant(weights[f"{name}.bias"])
    return graph.add("LayerNormalization", hidden, scale, bias, axis=-1, epsilon=_EPSILON)


def _count(weights: Weights, pattern: str) -> int:
    number = 0
    while pattern.format(number) in weights:
        number += 1
    return number


def _model(graph: _Graph) -> onnx.ModelProto:
    signal = helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["batch", "samples"])
    logits = helper.make_tensor_value_info("frame_logits", TensorProto.FLOAT, ["batch", "samples", CLASSES])
    body = helper.make_graph(graph.nodes, "delineation", [signal], [logits], graph.constants)
    return helper.make_model(
        body, opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(_FUSED, 1)], ir_version=9, producer_name="sumu"
    )
