"""The one place where a network is loaded into ONNX Runtime: providers and threads as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnxruntime

#: Always present, and the last choice.
CPU = "CPUExecutionProvider"


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a network may use of the machine."""

    #: Execution providers in order of preference; those not present here are passed over.
    providers: tuple[str, ...] = (CPU,)
    #: Threads of one run.
    threads: int = 1


#: One thread on the processor.
PROCESSOR = Hardware()


def open_session(weights: Path, hardware: Hardware) -> onnxruntime.InferenceSession:
    """Load a network; it falls back to the processor where nothing preferred is present."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hardware.threads
    present = onnxruntime.get_available_providers()
    chosen = [name for name in hardware.providers if name in present]
    return onnxruntime.InferenceSession(str(weights), options, providers=chosen if CPU in chosen else [*chosen, CPU])
