"""Reads a model's bundle, the MONAI bundle folder in which weights, facts, card and licence travel together.

::

    NAME/configs/metadata.json   MONAI's metadata, and ours under ``sumu``
    NAME/models/model.onnx       the weights
    NAME/docs/README.md          the model card
    NAME/LICENSE                 the licence of the weights

A bundle whose weights are not those that the metadata names is refused: what a pre-read says must be traceable to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SumuError

#: The bundles that Sumu ships.
BUNDLES = Path(__file__).parent / "bundles"


class BundleIncomplete(SumuError):
    """A bundle lacks a file or a field."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(
            f"The model bundle '{folder.name}' in {folder.parent} cannot be used: {problem}.",
            remedy="Copy the whole bundle again, or export it anew; docs/models.md says how.",
        )
        self.folder, self.problem = folder, problem


class WeightsAltered(SumuError):
    """The weights are not those that the metadata names."""

    def __init__(self, weights: Path, expected: str, found: str) -> None:
        super().__init__(
            f"{weights} has the SHA-256 {found}, but its metadata names {expected}.",
            remedy="Copy the bundle again from where it was published; do not use these weights.",
        )
        self.weights, self.expected, self.found = weights, expected, found


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One input or output, from ``network_data_format`` of the metadata."""

    name: str
    type: str
    format: str
    dtype: str
    #: Without the batch; a text such as ``*`` where any size goes.
    shape: tuple[int | str, ...]
    #: Whether it is one window of a larger image (MONAI's ``is_patch_data``).
    patch: bool = False
    #: Lowest and highest value that the network was made for.
    value_range: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Data or weights that the model was made from."""

    name: str
    licence: str
    url: str


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A model that may be run: everything about it but the numbers inside."""

    folder: Path
    name: str
    version: str
    task: str
    description: str
    intended_use: str
    #: The engine that runs it: ``radiograph``, ``ecg``, ``pathology``, or ``bundle`` for any other.
    engine: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    #: Codes of the vocabulary, in the order of the model's outputs.
    labels: tuple[str, ...]
    #: Operating points: a label speaks at or above this probability. A label without one is never spoken.
    thresholds: Mapping[str, float]
    #: One line: what is done to pixels or samples before the model.
    preprocessing: str
    #: SPDX identifier of the weights' licence.
    licence: str
    sources: tuple[Source, ...]
    weights: Path
    weights_sha256: str
    card: Path
    #: What only the model's own engine understands.
    details: Mapping[str, Any]
    #: All that the metadata says under ``sumu``.
    declared: Mapping[str, Any]


def read_bundle(folder: Path) -> Bundle:
    """Read the bundle in ``folder`` and compare its weights with the hash in its metadata.

    Raises
    ------
    BundleIncomplete
        If a file or a field is missing.
    WeightsAltered
        If the weights have another SHA-256.
    """
    bundle = describe_bundle(folder)
    found = sha256_of(bundle.weights)
    if found != bundle.weights_sha256:
        raise WeightsAltered(bundle.weights, bundle.weights_sha256, found)
    return bundle


def describe_bundle(folder: Path) -> Bundle:
    """Read what the bundle in ``folder`` says of itself and leave its weights unread.

    Raises
    ------
    BundleIncomplete
        If a file or a field is missing.
    """
    metadata_file = _existing(folder, "configs/metadata.json")
    try:
        metadata = json.loads(metadata_file.read_text(encoding="utf-8"))
        json.dumps(metadata, ensure_ascii=False).encode()  # half of a character can be neither shown nor kept
        bundle = _bundle(folder, metadata)
    except json.JSONDecodeError as error:
        raise BundleIncomplete(folder, f"configs/metadata.json is not JSON ({error})") from error
    except KeyError as error:
        raise BundleIncomplete(folder, f"configs/metadata.json lacks {error}") from error
    except (TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleIncomplete(folder, f"configs/metadata.json holds a value of the wrong kind ({error})") from error
    _existing(folder, "docs/README.md")
    _existing(folder, "LICENSE")
    unknown = sorted(set(bundle.thresholds) - set(bundle.labels))
    if unknown:
        raise BundleIncomplete(folder, f"it has thresholds for {', '.join(unknown)}, which are not among its labels")
    return bundle


def list_bundles(folder: Path = BUNDLES) -> tuple[Bundle, ...]:
    """Read every bundle in ``folder``, by name."""
    if not folder.is_dir():
        return ()
    return tuple(read_bundle(place) for place in sorted(folder.iterdir()) if (place / "configs").is_dir())


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _bundle(folder: Path, metadata: dict[str, Any]) -> Bundle:
    ours = metadata["sumu"]
    tensors = metadata["network_data_format"]
    weights = ours["weights"]
    return Bundle(
        folder=folder,
        name=str(metadata["name"]),
        version=str(metadata["version"]),
        task=str(metadata["task"]),
        description=str(metadata["description"]),
        intended_use=str(metadata["intended_use"]),
        engine=str(ours["engine"]),
        inputs=_tensors(tensors["inputs"]),
        outputs=_tensors(tensors["outputs"]),
        labels=tuple(str(label) for label in ours["labels"]),
        thresholds={str(label): float(value) for label, value in ours["thresholds"].items()},
        preprocessing=str(ours["preprocessing"]),
        licence=str(ours["licence"]),
        sources=tuple(Source(name=str(one["name"]), licence=str(one["licence"]), url=str(one["url"])) for one in ours["sources"]),
        weights=_existing(folder, str(weights["file"])),
        weights_sha256=str(weights["sha256"]).lower(),
        card=folder / "docs" / "README.md",
        details=dict(ours.get("details", {})),
        declared=dict(ours),
    )


def _tensors(described: dict[str, Any]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name=name,
            type=str(one["type"]),
            format=str(one["format"]),
            dtype=str(one["dtype"]),
            shape=(int(one["num_channels"]), *one["spatial_shape"]),
            patch=bool(one.get("is_patch_data", False)),
            value_range=_range(one.get("value_range") or (0, 1)),
        )
        for name, one in described.items()
    )


def _range(limits: Any) -> tuple[float, float]:
    low, high = limits
    return float(low), float(high)


def _existing(folder: Path, name: str) -> Path:
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise BundleIncomplete(folder, f"{name} lies outside of it")
    if not file.is_file():
        raise BundleIncomplete(folder, f"{name} is missing")
    return file
