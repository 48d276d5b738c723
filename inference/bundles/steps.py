"""Does the declared steps to an image that knows where its samples lie, so that a result can be brought back to the patient.

Sizes and distances are in the network's order of axes: x, y, z of a volume as MONAI has it, rows and columns of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that all who use it give it
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from scipy.special import erf

from models.bundle_steps import (
    NormalizeIntensity,
    Orientation,
    RepeatChannel,
    Resize,
    ResizeWithPadOrCrop,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    Spacing,
    Step,
)


def prepared(image: sitk.Image, steps: Sequence[Step]) -> sitk.Image:
    """Return ``image`` after the steps, 32-bit floating point; its origin, spacing and direction are those of the result."""
    present = sitk.Cast(image, sitk.sitkFloat32)
    for step in steps:
        present = _done(present, step)
    return present


def to_network(image: sitk.Image, channels: int, dtype: str) -> NDArray[Any]:
    """Return the network's input (1, channels, axes in the network's order)."""
    values = in_network_order(image).astype(dtype)
    return np.ascontiguousarray(np.broadcast_to(values, (1, channels, *values.shape)))


def in_network_order(image: sitk.Image) -> NDArray[Any]:
    """Return the samples as x, y, z of a volume, or rows, columns of a picture."""
    values: NDArray[Any] = sitk.GetArrayFromImage(image)
    return values.transpose(2, 1, 0) if values.ndim == 3 else values


def like(image: sitk.Image, values: NDArray[Any]) -> sitk.Image:
    """Return values in the network's order as an image that lies where ``image`` lies."""
    result = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0) if values.ndim == 3 else values))
    result.CopyInformation(image)
    return result


def onto(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Return a mask on the samples of ``grid``, each with its nearest value; beyond the mask 0."""
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)


def channels_of(steps: Sequence[Step]) -> int:
    """Return how many channels the network gets."""
    return next((step.repeats for step in steps if isinstance(step, RepeatChannel)), 1)


def _done(image: sitk.Image, step: Step) -> sitk.Image:
    match step:
        case Orientation():
            return sitk.DICOMOrient(image, step.axcodes)
        case Spacing():
            return _spaced(image, step)
        case Resize():
            return _resized(image, step)
        case ResizeWithPadOrCrop():
            return _centred(image, step)
        case RepeatChannel():
            return image
        case ScaleIntensityRange():
            return _map(image, step.a_min, step.a_max, step)
        case ScaleIntensityRangePercentiles():
            low, high = np.percentile(sitk.GetArrayFromImage(image), (step.lower, step.upper))
            return _map(image, float(low), float(high), step)
        case NormalizeIntensity():
            return _normalized(image, step)


def _spaced(image: sitk.Image, step: Spacing) -> sitk.Image:
    """Keep the first sample where it is, and as many samples as fit (MONAI's ``Spacing``)."""
    wanted = _sitk_order(step.pixdim)
    sides = [
        max(1, round((size - 1) * old / new) + 1)
        for size, old, new in zip(image.GetSize(), image.GetSpacing(), wanted, strict=True)
    ]
    return _sampled(image, sides, wanted, image.GetOrigin(), nearest=step.nearest)


def _resized(image: sitk.Image, step: Resize) -> sitk.Image:
    """Keep the outer edges where they are (MONAI's ``Resize`` with align_corners off)."""
    had = image.GetSize()
    if step.longest:
        sides = [max(1, round(side * step.spatial_size[0] / max(had))) for side in had]
    else:
        sides = list(_sitk_order(step.spatial_size))
    factors = [old / new for old, new in zip(had, sides, strict=True)]
    spacing = [distance * factor for distance, factor in zip(image.GetSpacing(), factors, strict=True)]
    first = image.TransformContinuousIndexToPhysicalPoint([factor / 2 - 0.5 for factor in factors])
    smooth = _smoothed(image, factors) if step.anti_aliasing and not step.nearest else image
    return _sampled(smooth, sides, spacing, first, nearest=step.nearest)


def _smoothed(image: sitk.Image, factors: Sequence[float]) -> sitk.Image:
    """Blur along each axis that shrinks, with MONAI's kernel: a Gaussian integrated over each sample, dark beyond the edge."""
    values = sitk.GetArrayFromImage(image)
    for axis, factor in enumerate(reversed(factors)):
        if factor > 1:
            width = (factor - 1) / 2
            tail = int(max(4 * width, 0.5) + 0.5)
            edges = np.arange(-tail - 0.5, tail + 1) / (width * math.sqrt(2))
            values = correlate1d(values, np.diff(erf(edges)) / 2, axis, mode="constant")
    return _with_values(image, values)


def _centred(image: sitk.Image, step: ResizeWithPadOrCrop) -> sitk.Image:
    """Fill up the lower end with the smaller half, and cut the same way (MONAI's ``ResizeWithPadOrCrop``)."""
    sides = _sitk_order(step.spatial_size)
    missing = [max(0, wanted - had) for wanted, had in zip(sides, image.GetSize(), strict=True)]
    padded = sitk.ConstantPad(image, [one // 2 for one in missing], [one - one // 2 for one in missing], step.value)
    first = [max(0, had // 2 - wanted // 2) for wanted, had in zip(sides, padded.GetSize(), strict=True)]
    return sitk.RegionOfInterest(padded, list(sides), first)


def _map(image: sitk.Image, low: float, high: float, step: ScaleIntensityRange | ScaleIntensityRangePercentiles) -> sitk.Image:
    # An image of one grey value has no range: all of it is the lowest value.
    spread = (high - low) or math.inf
    values = (sitk.GetArrayFromImage(image) - np.float32(low)) / np.float32(spread)
    values = values * np.float32(step.b_max - step.b_min) + np.float32(step.b_min)
    if step.clip:
        values = np.clip(values, min(step.b_min, step.b_max), max(step.b_min, step.b_max))
    return _with_values(image, values)


def _normalized(image: sitk.Image, step: NormalizeIntensity) -> sitk.Image:
    values = sitk.GetArrayFromImage(image)
    seen = values != 0 if step.nonzero else np.ones(values.shape, np.bool_)
    if seen.any():
        mean = float(values[seen].mean()) if step.subtrahend is None else step.subtrahend
        deviation = (float(values[seen].std()) or 1.0) if step.divisor is None else step.divisor
        values[seen] = (values[seen] - mean) / deviation
    return _with_values(image, values)


def _sampled(
    image: sitk.Image, sides: Sequence[int], spacing: Sequence[float], origin: Sequence[float], *, nearest: bool
) -> sitk.Image:
    sampler = sitk.ResampleImageFilter()
    sampler.SetSize([int(side) for side in sides])
    sampler.SetOutputSpacing([float(distance) for distance in spacing])
    sampler.SetOutputOrigin([float(place) for place in origin])
    sampler.SetOutputDirection(image.GetDirection())
    sampler.SetInterpolator(sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
    # What lies half a sample beyond the outermost one has its value.
    sampler.SetUseNearestNeighborExtrapolator(True)
    return sampler.Execute(image)


def _with_values(image: sitk.Image, values: NDArray[Any]) -> sitk.Image:
    result = sitk.GetImageFromArray(values.astype(np.float32))
    result.CopyInformation(image)
    return result


def _sitk_order(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return values of the network's axes in SimpleITK's order: a picture's rows and columns are its y and x."""
    return tuple(reversed(values)) if len(values) == 2 else tuple(values)
