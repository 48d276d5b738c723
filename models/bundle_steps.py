"""The steps from an image to a network's input that a bundle may name, each with the meaning that MONAI gives its name.

``sumu.steps`` is a list of objects, ``{"name": "Spacing", "pixdim": [1.5, 1.5, 2.0]}``. A step or an argument that does not
stand here is refused when the bundle is added: what is done to pixels is never guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from models.bundle import Bundle
from models.bundle_fields import BundleRefused, Fields

_MODES = ("linear", "bilinear", "trilinear", "nearest")
#: The two ends of each of the patient's axes.
_AXES = (frozenset("LR"), frozenset("AP"), frozenset("SI"))


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """Turn the volume so that its axes run towards these ends of the patient, as ``RAS``."""

    axcodes: str


@dataclass(frozen=True, kw_only=True)
class Spacing:
    """Resample to this distance of samples, in millimetres."""

    pixdim: tuple[float, ...]
    nearest: bool


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resample to this many samples an axis; ``longest`` alone gives the long side, and keeps the proportions."""

    spatial_size: tuple[int, ...]
    longest: bool
    nearest: bool
    #: Smooth first where it shrinks, as MONAI does.
    anti_aliasing: bool


@dataclass(frozen=True, kw_only=True)
class ResizeWithPadOrCrop:
    """Cut or fill up around the centre."""

    spatial_size: tuple[int, ...]
    value: float


@dataclass(frozen=True, kw_only=True)
class ScaleIntensityRange:
    """Map ``a_min`` to ``b_min`` and ``a_max`` to ``b_max``."""

    a_min: float
    a_max: float
    b_min: float
    b_max: float
    clip: bool


@dataclass(frozen=True, kw_only=True)
class ScaleIntensityRangePercentiles:
    """The same, where ``lower`` and ``upper`` are percentiles of this image."""

    lower: float
    upper: float
    b_min: float
    b_max: float
    clip: bool


@dataclass(frozen=True, kw_only=True)
class NormalizeIntensity:
    """Subtract and divide; by the image's own mean and standard deviation where no number is given."""

    subtrahend: float | None
    divisor: float | None
    #: Look at, and change, values other than 0 alone.
    nonzero: bool


@dataclass(frozen=True, kw_only=True)
class RepeatChannel:
    """Give a network made for colours the same grey values in each channel."""

    repeats: int


Step = (
    Orientation
    | Spacing
    | Resize
    | ResizeWithPadOrCrop
    | ScaleIntensityRange
    | ScaleIntensityRangePercentiles
    | NormalizeIntensity
    | RepeatChannel
)


def steps_of(bundle: Bundle, dimensions: int) -> tuple[Step, ...]:
    """Return what the bundle does to an image of so many dimensions before its network.

    Raises
    ------
    BundleRefused
        If a step or an argument is not known, or steps and input do not fit.
    """
    listed = Fields(bundle.name, "sumu in configs/metadata.json", bundle.declared).items("steps")
    steps = tuple(_step(bundle.name, number, one, dimensions) for number, one in enumerate(listed, start=1))
    _fit(bundle, steps)
    return steps


def _step(bundle: str, number: int, described: object, dimensions: int) -> Step:
    fields = Fields(bundle, f"step {number} of sumu.steps", described)
    name = fields.text("name").removesuffix("d")
    if name not in _READERS:
        fields.refuse(
            f"is '{name}', which Sumu does not know",
            f"Use {', '.join(_READERS)}; move anything else into the network when you export it.",
        )
    step = _READERS[name](fields, dimensions)
    fields.end()
    return step


def _fit(bundle: Bundle, steps: tuple[Step, ...]) -> None:
    """Refuse steps that cannot give the network the channels and the size that it takes."""
    entry = bundle.inputs[0]
    repeats = [step.repeats for step in steps if isinstance(step, RepeatChannel)]
    channels = repeats[0] if repeats else 1
    if len(repeats) > 1 or channels != entry.shape[0] or (repeats and not isinstance(steps[-1], RepeatChannel)):
        raise BundleRefused(
            bundle.name,
            f"its steps give {channels} channel{'s' * (channels > 1)} and its input takes {entry.shape[0]}",
            remedy="Images here have one grey channel; end the steps with one RepeatChannel where the network takes more.",
        )
    wanted = entry.shape[1:]
    if entry.patch or not all(isinstance(side, int) for side in wanted):
        return
    sized = [step for step in steps if isinstance(step, Resize | ResizeWithPadOrCrop | Spacing)]
    last = sized[-1] if sized else None
    if not isinstance(last, Resize | ResizeWithPadOrCrop) or last.spatial_size != wanted:
        raise BundleRefused(
            bundle.name,
            f"its input has the fixed size {'×'.join(map(str, wanted))} and its steps do not end in it",
            remedy="End the steps that change the size with Resize or ResizeWithPadOrCrop to that size, or say is_patch_data "
            "where the network reads a larger image window by window.",
        )


def _orientation(fields: Fields, dimensions: int) -> Step:
    axcodes = fields.text("axcodes").upper()
    if dimensions != 3 or len(axcodes) != 3 or not all(any(set(axis) & {end} for end in axcodes) for axis in _AXES):
        fields.refuse(f"turns to '{axcodes}'", "Name one end of each axis of a volume, as RAS or LPS; a picture has none.")
    return Orientation(axcodes=axcodes)


def _spacing(fields: Fields, dimensions: int) -> Step:
    return Spacing(pixdim=fields.numbers("pixdim", dimensions, positive=True), nearest=_nearest(fields))


def _resize(fields: Fields, dimensions: int) -> Step:
    longest = fields.text("size_mode", "all", among=("all", "longest")) == "longest"
    sides = (fields.whole("spatial_size", least=1),) if longest else _sides(fields, dimensions)
    return Resize(
        spatial_size=sides, longest=longest, nearest=_nearest(fields), anti_aliasing=fields.flag("anti_aliasing", False)
    )


def _centre(fields: Fields, dimensions: int) -> Step:
    return ResizeWithPadOrCrop(spatial_size=_sides(fields, dimensions), value=fields.number("value", 0))


def _scale(fields: Fields, _: int) -> Step:
    step = ScaleIntensityRange(
        a_min=fields.number("a_min"),
        a_max=fields.number("a_max"),
        b_min=fields.number("b_min"),
        b_max=fields.number("b_max"),
        clip=fields.flag("clip", False),
    )
    if step.a_max <= step.a_min:
        fields.refuse(f"has a_max {step.a_max:g} at or below a_min {step.a_min:g}", "Give a window of some width.")
    return step


def _scale_percentiles(fields: Fields, _: int) -> Step:
    step = ScaleIntensityRangePercentiles(
        lower=fields.number("lower"),
        upper=fields.number("upper"),
        b_min=fields.number("b_min"),
        b_max=fields.number("b_max"),
        clip=fields.flag("clip", False),
    )
    if not 0 <= step.lower < step.upper <= 100:
        fields.refuse(f"has percentiles {step.lower:g} and {step.upper:g}", "Give two from 0 to 100, the lower one first.")
    return step


def _normalize(fields: Fields, _: int) -> Step:
    step = NormalizeIntensity(
        subtrahend=fields.optional_number("subtrahend"),
        divisor=fields.optional_number("divisor"),
        nonzero=fields.flag("nonzero", False),
    )
    if step.divisor == 0:
        fields.refuse("divides by 0", "Give another divisor, or none for the image's own standard deviation.")
    return step


def _repeat(fields: Fields, _: int) -> Step:
    return RepeatChannel(repeats=fields.whole("repeats", least=1))


def _sides(fields: Fields, dimensions: int) -> tuple[int, ...]:
    sides = fields.numbers("spatial_size", dimensions, positive=True)
    if any(side != int(side) for side in sides):
        fields.refuse(f"has the sides {sides}", "Give whole numbers.")
    return tuple(int(side) for side in sides)


def _nearest(fields: Fields) -> bool:
    return fields.text("mode", "linear", among=_MODES) == "nearest"


_READERS: Mapping[str, Callable[[Fields, int], Step]] = {
    "Orientation": _orientation,
    "Spacing": _spacing,
    "Resize": _resize,
    "ResizeWithPadOrCrop": _centre,
    "ScaleIntensityRange": _scale,
    "ScaleIntensityRangePercentiles": _scale_percentiles,
    "NormalizeIntensity": _normalize,
    "RepeatChannel": _repeat,
}
