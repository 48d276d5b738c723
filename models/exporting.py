"""What every export of a network shares: its command line, the graph with a free batch, the refusal of one that differs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from models.onnx_file import remove_traces


def write_graph(network: nn.Module, example: Tensor, bundle: Path, *, reads: str, says: Sequence[str]) -> Path:
    """Make the folders of a bundle, write ``network`` into it as ONNX, and return the file.

    Parameters
    ----------
    example
        Two inputs of the network; the size of a batch stays free.
    reads, says
        Name of the graph's input, which is that of ``forward``'s parameter, and names of its outputs.
    """
    for folder in ("configs", "models", "docs"):
        (bundle / folder).mkdir(parents=True, exist_ok=True)
    weights = bundle / "models" / "model.onnx"
    torch.onnx.export(
        network, (example,), weights, input_names=[reads], output_names=list(says),
        dynamic_shapes={reads: {0: torch.export.Dim("batch")}}, external_data=False, dynamo=True,
    )  # fmt: skip
    remove_traces(weights)
    return weights


def must_agree(difference: float, tolerance: float) -> None:
    """Pass, or end the program where torch and ONNX differ by more than ``tolerance``."""
    if difference > tolerance:
        raise SystemExit(f"ONNX and torch differ by {difference:.2g}, more than {tolerance:g}: the bundle is not usable.")


def export_by_command_line(what: str, data: str, run: str, export: Callable[[Path, Path, Path, Path], float]) -> None:
    """Read the command line and export.

    Parameters
    ----------
    what, data, run
        What is exported, and what the folders ``--data`` and ``--run`` hold.
    export
        Takes the folders of data, run and bundle and the text of the licence; returns the largest difference to torch.
    """
    parser = argparse.ArgumentParser(description=f"Export {what} as a bundle.")
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {data}")
    parser.add_argument("--run", type=Path, required=True, help=f"folder with {run}")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True, help="text of the Apache License 2.0")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    difference = export(options.data, options.run, options.bundle, options.licence)
    print(f"{options.bundle}: torch and ONNX differ by at most {difference:.2g}")
