"""From a network's outputs to findings and measurements, as the bundle declares them.

Volumes are in the unit of the measurement's term, counted at the spacing that the network saw; where a structure lies is told
in slices and pixels of the stored images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that all who use it give it
from numpy.typing import NDArray

from inference.bundles.steps import like, onto
from inference.engine import Finding, Measurement, Region
from inference.vocabulary.terms import vocabulary
from models.bundle_results import Activation, Kind, Quantity, Result

#: Units that volumes and areas may be told in, as parts of a cubic or square millimetre.
VOLUME_UNITS = {"mm3": 1.0, "cm3": 1e-3, "mL": 1e-3, "ml": 1e-3, "L": 1e-6, "l": 1e-6}
AREA_UNITS = {"mm2": 1.0, "cm2": 1e-2}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the network's image lies: what it was made of, and which instance each slice of that is."""

    #: Before any step.
    stored: sitk.Image
    #: After all steps.
    seen: sitk.Image
    #: SOP Instance UID and frame number of each slice; one for a picture.
    slices: Sequence[tuple[str, int]]
    #: Whether distances are known, so that sizes can be told.
    measured: bool


@dataclass(kw_only=True)
class Said:
    """What one image made the bundle say."""

    findings: list[Finding] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    #: Code of each label to its probability.
    probabilities: dict[str, float] = field(default_factory=dict)
    structures: list[dict[str, Any]] = field(default_factory=list)
    #: Codes of what is said where no label is spoken.
    otherwise: list[str] = field(default_factory=list)


def said_of(
    results: Sequence[Result],
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    outputs: Mapping[str, NDArray[np.float32]],
    place: Place,
) -> Said:
    """Return what the outputs of one image say."""
    said = Said()
    for result in results:
        values = outputs[result.output.name]
        if result.kind is Kind.CLASSIFICATION:
            _classified(result, labels, thresholds, values, place, said)
        elif result.kind is Kind.REGRESSION:
            for quantity in result.quantities:
                _number(quantity, float(values[quantity.channel].ravel()[0]), Region(**_middle(place)), said)
        else:
            for quantity in result.quantities:
                _structure(quantity, mask_of(result, values, quantity.channel), place, said)
    return said


def mask_of(result: Result, values: NDArray[np.float32], channel: int) -> NDArray[np.uint8]:
    """Return where a structure is, 1 or 0, in the network's axes."""
    match result.activation:
        case Activation.SOFTMAX:
            mask = values.argmax(axis=0) == channel
        case Activation.LABELS:
            mask = np.rint(values[0]) == channel
        case Activation.SIGMOID:
            # A sigmoid reaches the threshold where its argument reaches the threshold's logit.
            mask = values[channel] >= np.log(result.threshold / (1 - result.threshold))
        case Activation.NONE:
            mask = values[channel] >= result.threshold
    return mask.astype(np.uint8)


def probabilities_of(activation: Activation, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probability of each channel."""
    flat = values.reshape(values.shape[0], -1)[:, 0].astype(np.float64)
    if activation is Activation.SIGMOID:
        return np.asarray(1 / (1 + np.exp(-np.clip(flat, -500, 500))))
    if activation is Activation.SOFTMAX:
        powers = np.exp(flat - flat.max())
        return np.asarray(powers / powers.sum())
    return np.clip(flat, 0, 1)


def _classified(
    result: Result,
    labels: Sequence[str],
    thresholds: Mapping[str, float],
    values: NDArray[np.float32],
    place: Place,
    said: Said,
) -> None:
    found = dict(zip(labels, probabilities_of(result.activation, values).tolist(), strict=True))
    said.probabilities |= found
    # A label of a whole series has no one slice.
    region = Region(**_middle(place)) if len(place.slices) == 1 else None
    spoken = [label for label, limit in thresholds.items() if found[label] >= limit]
    said.findings += [Finding(code=label, probability=found[label], region=region) for label in spoken]
    if not spoken and result.otherwise:
        said.otherwise.append(result.otherwise)


def _structure(quantity: Quantity, mask: NDArray[np.uint8], place: Place, said: Said) -> None:
    volume = mask.ndim == 3
    count = int(mask.sum())
    region = _region(mask, place)
    told: dict[str, Any] = {"measurement": quantity.measurement, "samples": count, "region": region}
    said.structures.append(told)
    if not place.measured:
        return
    size = count * float(np.prod(place.seen.GetSpacing()))
    unit = vocabulary().measurements[quantity.measurement].unit
    value = size * (VOLUME_UNITS if volume else AREA_UNITS)[unit]
    where = (
        Region(sop_instance_uid=region["sop_instance_uid"], frame=region["frame"], box=tuple(region["box"])) if region else None
    )
    _number(quantity, value, where or Region(**_middle(place)), said)


def _number(quantity: Quantity, value: float, region: Region, said: Said) -> None:
    said.measurements.append(Measurement(code=quantity.measurement, value=value, sop_instance_uid=region.sop_instance_uid))
    above = quantity.above is not None and value > quantity.above
    below = quantity.below is not None and value < quantity.below
    if quantity.finding and (above or below):
        said.findings.append(Finding(code=quantity.finding, region=region))


def _region(mask: NDArray[np.uint8], place: Place) -> dict[str, Any] | None:
    """Return the stored slice in which a structure is largest, its box there, and the first and last slice that show it."""
    stored = sitk.GetArrayFromImage(onto(like(place.seen, mask), place.stored))
    stored = stored if stored.ndim == 3 else stored[None]
    counts = stored.reshape(len(stored), -1).sum(axis=1, dtype=np.int64)
    if not counts.any():
        return None
    key = int(counts.argmax())
    rows, columns = np.nonzero(stored[key])
    top, left = int(rows.min()), int(columns.min())
    shown = np.nonzero(counts)[0]
    uid, frame = place.slices[key]
    return {
        "sop_instance_uid": uid,
        "frame": frame,
        "box": [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
        "slices": [int(shown[0]), int(shown[-1])],
    }


def _middle(place: Place) -> dict[str, Any]:
    """Return the middle slice, as good as any where a number is of the whole."""
    uid, frame = place.slices[len(place.slices) // 2]
    return {"sop_instance_uid": uid, "frame": frame}
