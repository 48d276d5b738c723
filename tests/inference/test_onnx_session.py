"""Where networks run: what the settings ask for, and what is said when it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from core.settings import InferenceRuntime, PreReadSettings
from inference.network import Network
from inference.onnx_session import CPU, CUDA, PROCESSOR, Hardware, RuntimeMissing, hardware_of, open_session, require
from models.bundle import BUNDLES, WeightsAltered

CHEST = BUNDLES / "chest_radiograph"
WEIGHTS = CHEST / "models" / "model.onnx"


@pytest.mark.parametrize("runtime", [InferenceRuntime.CPU, InferenceRuntime.AUTOMATIC])
def test_the_processor_is_always_there(runtime: InferenceRuntime) -> None:
    hardware = Hardware(runtime=runtime, threads=2)
    require(hardware)
    session = open_session(WEIGHTS, hardware)
    assert session.get_providers()[-1] == CPU
    assert session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("runtime", [InferenceRuntime.CUDA, InferenceRuntime.TENSORRT])
def test_a_runtime_asked_for_and_not_built_in_is_an_error_with_its_remedy(runtime: InferenceRuntime) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime was built with CUDA")
    with pytest.raises(RuntimeMissing, match=f"are to run on {runtime.value}") as missing:
        require(Hardware(runtime=runtime))
    assert "onnxruntime-gpu" in missing.value.remedy
    with pytest.raises(RuntimeMissing):
        open_session(WEIGHTS, Hardware(runtime=runtime))


def test_a_runtime_that_is_built_in_but_does_not_start_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    with pytest.raises(RuntimeMissing, match="does not start"):
        open_session(WEIGHTS, Hardware(runtime=InferenceRuntime.CUDA))
    assert open_session(WEIGHTS, Hardware(runtime=InferenceRuntime.AUTOMATIC)).get_providers() == [CPU]


def test_the_settings_say_what_a_network_may_use() -> None:
    settings = PreReadSettings(runtime=InferenceRuntime.CPU, threads=3, batch=4, batch_milliseconds=20, gpu_memory_mb=500)
    assert hardware_of(settings) == Hardware(
        runtime=InferenceRuntime.CPU, threads=3, batch=4, batch_seconds=0.02, gpu_bytes=500_000_000
    )


def test_a_network_says_the_same_by_itself_and_in_a_shared_run() -> None:
    outputs = ("probability", "frontal")
    images = np.random.default_rng(0).random((2, 1, 384, 384), np.float32)
    alone = Network(CHEST, PROCESSOR, outputs=outputs)
    shared = Network(CHEST, Hardware(batch=4, batch_seconds=0.01), outputs=outputs)
    alone.warm()
    for one, other in zip(alone.run(images), shared.run(images), strict=True):
        assert np.allclose(one, other, atol=1e-6)


def test_a_network_with_other_weights_is_not_even_warmed(tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(CHEST, tmp_path / "chest")
    weights = folder / "models" / "model.onnx"
    weights.write_bytes(weights.read_bytes() + b"\0")
    with pytest.raises(WeightsAltered):
        Network(folder, PROCESSOR, outputs=("probability",)).warm()
