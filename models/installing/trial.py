"""The process in which a bundle from outside is tried: it bounds itself, looks at the ONNX file, loads and runs it, and tells.

``python -m models.installing.trial FOLDER SECONDS BYTES THREADS`` prints one JSON object. A fault of the bundle is told in it; a
process that dies instead is told by its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, Tensor, describe_bundle
from models.installing.onnx_facts import NotOnnx, OnnxFacts, facts_of

#: Sides of an input that takes any size.
FREE_SIDE = {2: 256, 3: 64}
#: ONNX Runtime's names of what metadata calls a dtype.
TYPES = {"float32": "tensor(float)", "float16": "tensor(float16)"}
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


class Unfit(Exception):
    """The bundle has a fault; ``remedy`` says what to mend."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.remedy = remedy


def main(folder: Path, seconds: int, most_bytes: int, threads: int) -> None:
    """Try the bundle in ``folder`` and print what was found."""
    offline = bound(seconds, most_bytes)
    try:
        told = {**tried(describe_bundle(folder), threads), "offline": offline}
    except Unfit as error:
        told = {"problem": str(error), "remedy": error.remedy}
    except MemoryError:
        told = {"problem": "there was not enough memory to run it", "remedy": _MEMORY_REMEDY}
    print(json.dumps(told))


_MEMORY_REMEDY = "Raise the setting models.trial_memory_bytes if this machine has the memory, or ask for a smaller model."


def bound(seconds: int, most_bytes: int) -> bool:
    """Bound this process's memory, processor time and files, take the network away, and return whether that could be done."""
    resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        return int(ctypes.CDLL(None).unshare(_NEW_USER | _NEW_NETWORK)) == 0
    return False


def tried(bundle: Bundle, threads: int) -> dict[str, Any]:
    """Load the network, run it on zeros and on noise, and return what was measured.

    Raises
    ------
    Unfit
        If the file does not say what the metadata says, or an output is not finite.
    """
    facts = _looked_at(bundle)
    session = _loaded(bundle, threads)
    _same(bundle, "input", bundle.inputs, session.get_inputs())
    _same(bundle, "output", bundle.outputs, session.get_outputs())
    feeds = {tensor.name: _zeros(tensor) for tensor in bundle.inputs}
    _run(bundle, session, feeds, "zeros")
    chance = np.random.default_rng(0)
    noise = {tensor.name: _noise(tensor, chance, feeds[tensor.name].shape) for tensor in bundle.inputs}
    began = time.monotonic()
    _run(bundle, session, noise, "noise")
    return {
        "opset": facts.opsets.get("", facts.opsets.get("ai.onnx", 0)),
        "operators": facts.nodes,
        "input_shape": list(noise[bundle.inputs[0].name].shape),
        "seconds": round(time.monotonic() - began, 3),
        "processor_seconds": round(time.process_time(), 3),
        "peak_bytes": _peak_bytes(),
    }


def _looked_at(bundle: Bundle) -> OnnxFacts:
    if bundle.weights.suffix != ".onnx":
        raise Unfit(f"its weights are {bundle.weights.name}", "Export the network to one .onnx file.")
    try:
        facts = facts_of(bundle.weights)
    except NotOnnx as error:
        raise Unfit(f"{bundle.weights.name} cannot be read: {error}", "Export the network to ONNX again.") from error
    if facts.external:
        raise Unfit(
            "its ONNX file takes weights from another file",
            "Save it as one file (onnx.save with save_as_external_data=False): one SHA-256 must name all weights.",
        )
    if facts.foreign:
        raise Unfit(
            f"its network needs operators that ONNX Runtime does not have: {', '.join(sorted(facts.foreign)[:5])}",
            "Export it with ONNX's own operators; Sumu loads no operator library.",
        )
    return facts


def _loaded(bundle: Bundle, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(str(bundle.weights), options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:
        if "bad_alloc" in str(error) or "allocate" in str(error):
            raise MemoryError from error
        raise Unfit(
            f"ONNX Runtime {onnxruntime.__version__} cannot load it ({_first_line(error)})",
            "Export it again with an operator set that this runtime knows.",
        ) from error


def _same(bundle: Bundle, kind: str, described: tuple[Tensor, ...], real: list[Any]) -> None:
    """Compare what the metadata says of tensors with what the file says; a side of any size agrees with each."""
    names, found = [one.name for one in described], [one.name for one in real]
    if sorted(names) != sorted(found):
        raise Unfit(f"its metadata names the {kind}s {names} and the ONNX file {found}", "Make network_data_format say the same.")
    by_name = {one.name: one for one in real}
    for tensor in described:
        one = by_name[tensor.name]
        if TYPES.get(tensor.dtype) != one.type:
            raise Unfit(
                f"its {kind} '{tensor.name}' is {tensor.dtype} in the metadata and {one.type} in the ONNX file",
                f"Make both say one of {', '.join(TYPES)}.",
            )
        sides = list(one.shape)
        fits = len(sides) == len(tensor.shape) + 1 and not (isinstance(sides[0], int) and sides[0] != 1)
        for side, wanted in zip(sides[1:], tensor.shape, strict=False):
            fits &= not isinstance(side, int) or not isinstance(wanted, int) or side == wanted
            fits &= isinstance(wanted, int) or wanted == "*"
        if not fits:
            raise Unfit(
                f"its {kind} '{tensor.name}' has the shape {[1, *tensor.shape]} in the metadata and {sides} in the ONNX file",
                "Make num_channels and spatial_shape say what the file has; '*' is a side of any size; the batch is 1 or free.",
            )


def _zeros(tensor: Tensor) -> NDArray[Any]:
    free = FREE_SIDE.get(len(tensor.shape) - 1, 1)
    return np.zeros((1, *(side if isinstance(side, int) else free for side in tensor.shape)), tensor.dtype)


def _noise(tensor: Tensor, chance: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return chance.uniform(*tensor.value_range, shape).astype(tensor.dtype)


def _run(bundle: Bundle, session: Any, feeds: dict[str, NDArray[Any]], what: str) -> None:
    names = [tensor.name for tensor in bundle.outputs]
    try:
        answers = session.run(names, feeds)
    except MemoryError:
        raise
    except Exception as error:
        if "bad_alloc" in str(error) or "allocate" in str(error):
            raise MemoryError from error
        raise Unfit(f"it cannot be run on {what} ({_first_line(error)})", "Export it again and run it once yourself.") from error
    entry = bundle.inputs[0]
    for tensor, answer in zip(bundle.outputs, answers, strict=True):
        sides = answer.shape
        fits = len(sides) == len(tensor.shape) + 1 and sides[0] == 1
        fits = fits and all(
            not isinstance(wanted, int) or side == wanted for side, wanted in zip(sides[1:], tensor.shape, strict=True)
        )
        # A mask of any size has that of the image.
        if fits and "*" in tensor.shape and len(tensor.shape) == len(entry.shape):
            fits = sides[2:] == feeds[entry.name].shape[2:]
        if not fits:
            raise Unfit(
                f"its output '{tensor.name}' has the shape {list(sides)} and its metadata says {[1, *tensor.shape]}",
                "Make num_channels and spatial_shape say what comes out.",
            )
        if not np.isfinite(answer).all():
            raise Unfit(
                f"its output '{tensor.name}' is not finite on {what}",
                "Guard divisions and logarithms in the network, and export it again.",
            )


def _peak_bytes() -> int:
    """Return the most memory that this program held; getrusage would count what its parent held before exec(2) too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[0]) * 1024


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


if __name__ == "__main__":
    os.nice(10)
    main(Path(sys.argv[1]), *(int(word) for word in sys.argv[2:5]))
