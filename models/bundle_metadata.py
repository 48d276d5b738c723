"""The parts of a bundle's metadata that every network describes in the same words (MONAI's bundle schema)."""

from __future__ import annotations

from typing import Any


def described_tensor(
    kind: str, form: str, channels: int, shape: list[int], values: list[int], meaning: dict[str, str]
) -> dict[str, Any]:
    """Return the description of one input or output: what it is, its channels, its shape without the batch, its range."""
    return {
        "type": kind,
        "format": form,
        "num_channels": channels,
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": values,
        "is_patch_data": False,
        "channel_def": meaning,
    }
