"""The one place where a network is loaded into ONNX Runtime: where it runs, its threads and its memory as the settings say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import structlog

from core.errors import SumuError
from core.settings import InferenceRuntime, PreReadSettings

log = structlog.get_logger("inference")

#: Always present, and the last choice.
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

#: Execution providers in order of preference; each takes what the one before it cannot run.
PROVIDERS = {
    InferenceRuntime.AUTOMATIC: (CUDA, CPU),
    InferenceRuntime.CPU: (CPU,),
    InferenceRuntime.CUDA: (CUDA, CPU),
    InferenceRuntime.TENSORRT: (TENSORRT, CUDA, CPU),
}

_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


class RuntimeMissing(SumuError):
    """The settings ask for a runtime that the installed ONNX Runtime does not have, or that does not start here."""

    def __init__(self, runtime: str, problem: str) -> None:
        super().__init__(
            f"Networks are to run on {runtime} (`pre_read.runtime`), but {problem}.",
            remedy="Install onnxruntime-gpu in the place of onnxruntime, with the CUDA and cuDNN (and TensorRT) that its release "
            "names, and look at `nvidia-smi`; or set `pre_read.runtime` to `auto` or `cpu`.",
        )
        self.runtime, self.problem = runtime, problem


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What a network may use of the machine."""

    #: Where it runs.
    runtime: InferenceRuntime = InferenceRuntime.CPU
    #: Threads of one run.
    threads: int = 1
    #: Most bytes that ONNX Runtime takes of a graphics card; 0: no limit.
    gpu_bytes: int = 0
    #: Inputs of several studies that go into one run; 1: each runs by itself.
    batch: int = 1
    #: How long the first of a batch waits for others, in seconds.
    batch_seconds: float = 0.01


#: One thread on the processor.
PROCESSOR = Hardware()


def hardware_of(settings: PreReadSettings) -> Hardware:
    """Return what the settings allow a network."""
    return Hardware(
        runtime=settings.runtime,
        threads=settings.threads,
        gpu_bytes=settings.gpu_memory_mb * 1_000_000,
        batch=settings.batch,
        batch_seconds=settings.batch_milliseconds / 1000,
    )


def open_session(weights: Path, hardware: Hardware) -> onnxruntime.InferenceSession:
    """Load a network.

    Raises
    ------
    RuntimeMissing
        If it was asked for by name and is not there, or does not start; ``auto`` falls back to the processor instead.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = hardware.threads
    # A worker has many sessions on few processors: a thread that spins while it waits takes its time from the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(weights), options, providers=_providers(hardware))
    _insist(hardware, session.get_providers())
    return session


def require(hardware: Hardware) -> None:
    """Find out before any network is loaded whether the installed ONNX Runtime has what the settings ask for.

    Raises
    ------
    RuntimeMissing
        If it has not.
    """
    _providers(hardware)


def warm(session: onnxruntime.InferenceSession) -> None:
    """Run a network once on zeros, so that the first patient does not wait for what is made at the first run."""
    feeds: dict[str, Any] = {
        one.name: np.zeros([size if isinstance(size, int) else 1 for size in one.shape], _NUMPY_TYPES[one.type])
        for one in session.get_inputs()
    }
    session.run(None, feeds)


def _providers(hardware: Hardware) -> list[str | tuple[str, dict[str, Any]]]:
    present = onnxruntime.get_available_providers()
    wanted = PROVIDERS[hardware.runtime]
    if hardware.runtime is not InferenceRuntime.AUTOMATIC and wanted[0] not in present:
        raise RuntimeMissing(hardware.runtime.value, f"the installed ONNX Runtime {onnxruntime.__version__} was built without it")
    return [(name, _options(name, hardware)) for name in wanted if name in present]


def _options(provider: str, hardware: Hardware) -> dict[str, Any]:
    if provider == CUDA and hardware.gpu_bytes:
        return {"gpu_mem_limit": hardware.gpu_bytes, "arena_extend_strategy": "kSameAsRequested"}
    if provider == TENSORRT and hardware.gpu_bytes:
        return {"trt_max_workspace_size": hardware.gpu_bytes}
    return {}


def _insist(hardware: Hardware, running: list[str]) -> None:
    """Refuse what ONNX Runtime only says in its log: a provider that does not start is left out of the session."""
    wanted = PROVIDERS[hardware.runtime][0]
    if hardware.runtime is InferenceRuntime.AUTOMATIC:
        if wanted in onnxruntime.get_available_providers() and wanted not in running:
            log.warning("network_runs_on_the_processor", missing=wanted)
    elif wanted not in running:
        raise RuntimeMissing(hardware.runtime.value, "it does not start on this machine")
