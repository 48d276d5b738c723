"""Bundles made for a test: small networks whose answers are known, in the folders that a maker would send."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests import onnx_bytes as onnx

VOLUME, LARGE = "made_sphere_volume", "made_sphere_large"
BRIGHT, DARK, PLAIN = "made_bright", "made_dark", "made_plain"


def bright_parts(*sides: int | str) -> bytes:
    """Return a network on volumes of any size, or of these sides: two channels, 0.5 everywhere and the image itself."""
    shape = [1, 1, *(sides or ("x", "y", "z"))]
    return onnx.model(
        onnx.graph(
            [
                onnx.node("Mul", ["image", "zero"], ["nothing"]),
                onnx.node("Add", ["nothing", "half"], ["background"]),
                onnx.node("Concat", ["background", "image"], ["mask"], onnx.whole("axis", 1)),
            ],
            [onnx.tensor("image", shape)],
            [onnx.tensor("mask", [1, 2, *shape[2:]])],
            [onnx.constant("zero", [0.0]), onnx.constant("half", [0.5])],
        )
    )


def mean_grey(side: int) -> bytes:
    """Return a network on square pictures: the probabilities of bright (their mean) and of dark (1 minus it)."""
    return onnx.model(
        onnx.graph(
            [
                onnx.node("GlobalAveragePool", ["image"], ["pooled"]),
                onnx.node("Flatten", ["pooled"], ["mean"]),
                onnx.node("Sub", ["one", "mean"], ["rest"]),
                onnx.node("Concat", ["mean", "rest"], ["probability"], onnx.whole("axis", 1)),
            ],
            [onnx.tensor("image", [1, 1, side, side])],
            [onnx.tensor("probability", [1, 2])],
            [onnx.constant("one", [1.0])],
        )
    )


def metadata_of(name: str, *, channels: int, inputs: tuple[int | str, ...], outputs: tuple[int | str, ...]) -> dict[str, Any]:
    """Return MONAI's metadata of a bundle with one input ``image`` and one output."""

    def tensor(kind: str, count: int, shape: tuple[int | str, ...]) -> dict[str, Any]:
        return {
            "type": kind,
            "format": "magnitude" if kind == "image" else "segmentation",
            "num_channels": count,
            "spatial_shape": list(shape),
            "dtype": "float32",
            "value_range": [0, 1],
            "is_patch_data": False,
            "channel_def": {},
        }

    output = "mask" if outputs else "probability"
    return {
        "version": "1.0.0",
        "name": name,
        "task": f"{name} on generated images",
        "description": "A network whose answers are known.",
        "intended_use": "Tests. Not for patients.",
        "network_data_format": {
            "inputs": {"image": tensor("image", 1, inputs)},
            "outputs": {output: tensor("probabilities", channels, outputs)},
        },
    }


def sphere_metadata(name: str = "made_sphere") -> dict[str, Any]:
    """Return the metadata of a bundle that measures what is bright in a CT of the abdomen."""
    metadata = metadata_of(name, channels=2, inputs=("*", "*", "*"), outputs=("*", "*", "*"))
    metadata["sumu"] = {
        "engine": "bundle",
        "labels": [],
        "thresholds": {},
        "preprocessing": "turned to RAS, resampled to 1.5 × 1.5 × 2 mm, 0 to 400 HU scaled to 0..1",
        "licence": "Apache-2.0",
        "sources": [],
        "routing": {
            "modalities": ["CT"],
            "body_parts": ["ABDOMEN", "腹部"],
            "age_years": [18, 120],
            "dimensions": 3,
            "most_slice_mm": 5,
        },
        "steps": [
            {"name": "Orientation", "axcodes": "RAS"},
            {"name": "Spacing", "pixdim": [1.5, 1.5, 2.0]},
            {"name": "ScaleIntensityRange", "a_min": 0, "a_max": 400, "b_min": 0, "b_max": 1, "clip": True},
        ],
        "results": [
            {
                "kind": "segmentation",
                "output": "mask",
                "activation": "softmax",
                "quantities": [{"channel": 1, "measurement": VOLUME, "finding": LARGE, "above": 20}],
            }
        ],
        "vocabulary": {
            "engine": {name: {"zh": "球体测量", "en": "Sphere"}},
            "measurement": {
                VOLUME: {
                    "zh": "球体体积",
                    "en": "Volume of the sphere",
                    "unit": "mL",
                    "unit_meaning": "milliliter",
                    "digits": 1,
                    "high": 20.0,
                    "scheme": "SCT",
                    "value": "118565006",
                    "meaning": "Volume",
                }
            },
            "finding": {
                LARGE: {
                    "zh": "球体增大",
                    "en": "Sphere enlarged",
                    "urgency": "urgent",
                    "scheme": "99SUMU",
                    "value": LARGE,
                    "meaning": "Sphere enlarged",
                    "sentence_zh": "腹部可见增大的球体。",
                    "sentence_en": "There is an enlarged sphere in the abdomen.",
                }
            },
        },
    }
    return metadata


def grey_metadata(name: str = "made_grey", side: int = 32) -> dict[str, Any]:
    """Return the metadata of a bundle that calls frontal radiographs bright, dark or plain."""
    metadata = metadata_of(name, channels=2, inputs=(side, side), outputs=())

    def term(code: str, zh: str, *, normal: bool = False) -> dict[str, Any]:
        return {
            "zh": zh,
            "en": code.replace("_", " ").capitalize(),
            "urgency": "routine",
            "normal": normal,
            "scheme": "99SUMU",
            "value": code,
            "meaning": code.replace("_", " "),
            "sentence_zh": f"图像{zh}。",
            "sentence_en": f"The image is {code.split('_')[1]}.",
        }

    metadata["sumu"] = {
        "engine": "bundle",
        "labels": [BRIGHT, DARK],
        "thresholds": {BRIGHT: 0.6, DARK: 0.6},
        "preprocessing": f"as displayed, resampled to {side} × {side}, range stretched to 0..1",
        "licence": "Apache-2.0",
        "sources": [],
        "routing": {"modalities": ["CR", "DX"], "views": ["PA", "AP"], "dimensions": 2},
        "steps": [
            {"name": "ScaleIntensityRangePercentiles", "lower": 0, "upper": 100, "b_min": 0, "b_max": 1, "clip": True},
            {"name": "Resize", "spatial_size": [side, side], "mode": "bilinear", "anti_aliasing": True},
        ],
        "results": [{"kind": "classification", "output": "probability", "otherwise": PLAIN}],
        "vocabulary": {
            "engine": {name: {"zh": "灰度", "en": "Grey values"}},
            "finding": {BRIGHT: term(BRIGHT, "偏亮"), DARK: term(DARK, "偏暗"), PLAIN: term(PLAIN, "亮度适中", normal=True)},
        },
    }
    return metadata


def write_bundle(parent: Path, metadata: dict[str, Any], network: bytes) -> Path:
    """Write a bundle's folder below ``parent`` and return it."""
    folder = parent / f"{metadata['name']}-{metadata['version']}"
    for name in ("configs", "models", "docs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "models" / "model.onnx").write_bytes(network)
    metadata["sumu"]["weights"] = {"file": "models/model.onnx", "sha256": hashlib.sha256(network).hexdigest()}
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata, ensure_ascii=False), encoding="utf-8")
    (folder / "docs" / "README.md").write_text(f"# {metadata['name']}\n\nThe card of {metadata['version']}.\n", encoding="utf-8")
    (folder / "LICENSE").write_text("Apache License 2.0\n", encoding="utf-8")
    return folder


def sphere_bundle(parent: Path) -> Path:
    """Write the bundle that measures bright volumes."""
    return write_bundle(parent, sphere_metadata(), bright_parts())


def grey_bundle(parent: Path) -> Path:
    """Write the bundle that calls pictures bright or dark."""
    return write_bundle(parent, grey_metadata(), mean_grey(32))
