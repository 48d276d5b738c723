"""The named steps mean what MONAI means by them, and keep the image where it lies in the patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from inference.bundles.network import windows
from inference.bundles.series import volume_of
from inference.bundles.steps import in_network_order, prepared
from models.bundle_steps import (
    NormalizeIntensity,
    Orientation,
    Resize,
    ResizeWithPadOrCrop,
    ScaleIntensityRange,
    ScaleIntensityRangePercentiles,
    Spacing,
    Step,
)
from tests.inference.bundles.conftest import study_of
from tests.made_ct import Ball, ct_series

VALUES = np.random.default_rng(0).random((20, 15, 12)).astype(np.float32)


def volume(values: NDArray[np.float32], spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> sitk.Image:
    """Return values (x, y, z) as an image."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.transpose(2, 1, 0)))
    image.SetSpacing(spacing)
    return image


def after(image: sitk.Image, *steps: Step) -> NDArray[Any]:
    return in_network_order(prepared(image, steps))


def test_ras_turns_the_first_axis_to_the_right_of_the_patient(tmp_path: Path) -> None:
    ball = Ball(centre=(20.0, -15.0, 60.0), radius=9.0)  # on the left, in front, towards the head
    found = volume_of(study_of(ct_series(tmp_path, ball=ball)).instances)
    turned = prepared(found.image, [Orientation(axcodes="RAS")])
    place = np.argwhere(in_network_order(turned) > 200).mean(axis=0)
    across, front, head = place / np.array(in_network_order(turned).shape)
    assert across < 0.5 < front
    assert head > 0.5
    assert turned.TransformContinuousIndexToPhysicalPoint(place.tolist()) == pytest.approx(ball.centre, abs=0.3)


def test_slices_are_ordered_by_position_and_rescaled(tmp_path: Path) -> None:
    found = volume_of(study_of(ct_series(tmp_path)).instances)
    assert found.image.GetSpacing() == pytest.approx((1.1, 1.1, 2.5))
    heights = [found.image.TransformIndexToPhysicalPoint((0, 0, index))[2] for index in range(40)]
    assert heights == sorted(heights)
    assert set(np.unique(sitk.GetArrayFromImage(found.image))) == {0.0, 400.0}


def test_resampling_keeps_a_plane_of_values_where_it_is() -> None:
    x, y, z = np.meshgrid(np.arange(20), np.arange(15), np.arange(12), indexing="ij")
    ramp = (2 * x + 3 * y - z).astype(np.float32)
    seen = prepared(volume(ramp, (0.8, 0.9, 2.5)), [Spacing(pixdim=(1.0, 1.0, 2.0), nearest=False)])
    values = in_network_order(seen)
    assert values.shape == (round(19 * 0.8) + 1, round(14 * 0.9) + 1, round(11 * 2.5 / 2) + 1)
    px, py, pz = np.meshgrid(*(np.arange(side) * step for side, step in zip(values.shape, (1, 1, 2), strict=True)), indexing="ij")
    expected = 2 * px / 0.8 + 3 * py / 0.9 - pz / 2.5
    inside = (px <= 19 * 0.8) & (py <= 14 * 0.9) & (pz <= 11 * 2.5)
    assert np.abs(values - expected)[inside].max() < 1e-4


def test_a_picture_is_resized_on_its_long_side_and_keeps_its_size_in_millimetres() -> None:
    picture = sitk.GetImageFromArray(np.zeros((300, 200), np.float32))
    picture.SetSpacing((0.5, 0.5))
    seen = prepared(picture, [Resize(spatial_size=(60,), longest=True, nearest=False, anti_aliasing=True)])
    assert in_network_order(seen).shape == (60, 40)
    assert seen.GetSpacing() == pytest.approx((2.5, 2.5))


def test_intensities_are_mapped_and_clipped() -> None:
    image = volume(np.linspace(-100, 300, 60, dtype=np.float32).reshape(5, 4, 3))
    scaled = after(image, ScaleIntensityRange(a_min=0, a_max=200, b_min=-1, b_max=1, clip=True))
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert scaled[0, 0, 0] == -1
    normal = after(image, NormalizeIntensity(subtrahend=None, divisor=None, nonzero=False))
    assert normal.mean() == pytest.approx(0, abs=1e-6)
    assert normal.std() == pytest.approx(1, abs=1e-6)


def test_an_image_of_one_grey_value_stays_finite() -> None:
    flat = volume(np.full((5, 4, 3), 7, np.float32))
    percentiles = ScaleIntensityRangePercentiles(lower=1, upper=99, b_min=0, b_max=1, clip=True)
    for step in (percentiles, NormalizeIntensity(subtrahend=None, divisor=None, nonzero=False)):
        assert np.isfinite(after(flat, step)).all()


@pytest.mark.parametrize(("size", "roi", "overlap"), [((20, 15), (8, 8), 0.25), ((8, 9), (8, 4), 0.5), ((7, 7), (7, 7), 0.0)])
def test_windows_cover_every_sample(size: tuple[int, ...], roi: tuple[int, ...], overlap: float) -> None:
    seen = np.zeros(size, int)
    for window in windows(size, roi, overlap):
        assert seen[window].shape == roi
        seen[window] += 1
    assert seen.min() >= 1


def test_the_steps_give_what_monai_gives() -> None:
    transforms = pytest.importorskip("monai.transforms", reason="MONAI comes with the `train` extra")
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference

    one = VALUES[None]
    spaced = transforms.Spacing(pixdim=(1.5, 1.5, 2.0), mode="bilinear", padding_mode="border")(
        MetaTensor(one, affine=np.diag([0.8, 0.8, 2.5, 1.0]))
    )
    assert np.allclose(
        after(volume(VALUES, (0.8, 0.8, 2.5)), Spacing(pixdim=(1.5, 1.5, 2.0), nearest=False)), spaced[0], atol=1e-5
    )
    pairs: list[tuple[Step, Any]] = [
        (
            Resize(spatial_size=(7, 9, 15), longest=False, nearest=False, anti_aliasing=True),
            transforms.Resize(spatial_size=(7, 9, 15), mode="trilinear", anti_aliasing=True),
        ),
        (ResizeWithPadOrCrop(spatial_size=(13, 31, 12), value=0), transforms.ResizeWithPadOrCrop(spatial_size=(13, 31, 12))),
        (
            ScaleIntensityRangePercentiles(lower=5, upper=95, b_min=0, b_max=2, clip=True),
            transforms.ScaleIntensityRangePercentiles(5, 95, 0, 2, clip=True),
        ),
        (NormalizeIntensity(subtrahend=None, divisor=None, nonzero=True), transforms.NormalizeIntensity(nonzero=True)),
    ]
    for step, theirs in pairs:
        assert np.allclose(after(volume(VALUES), step), theirs(one)[0], atol=1e-5), step
    places: list[Any] = []
    torch = pytest.importorskip("torch")
    sliding_window_inference(
        torch.arange(300.0).reshape(1, 1, 20, 15), (8, 8), 1, lambda part: places.append(int(part.min())) or part
    )
    corners = [window[0].start * 15 + window[1].start for window in windows((20, 15), (8, 8), 0.25)]
    assert places == corners
