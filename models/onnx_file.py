"""Makes an exported ONNX file hold the network and nothing of the machine that exported it."""

from __future__ import annotations

from pathlib import Path

import onnx


def remove_traces(file: Path) -> None:
    """Remove the exporter's notes (stack traces with file names, scopes) from an ONNX file, in place.

    They are of no use where the network serves, and tell paths of the machine on which it was exported.
    """
    model = onnx.load(file)
    for holder in (model, model.graph, *model.functions):
        del holder.metadata_props[:]
        holder.doc_string = ""
    for part in (
        *model.graph.node,
        *model.graph.initializer,
        *model.graph.input,
        *model.graph.output,
        *model.graph.value_info,
        *(node for function in model.functions for node in function.node),
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, file)
