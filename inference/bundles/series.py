"""From the slices of one series to a volume that knows where it lies in the patient (PS3.3 C.7.6.2).

Values are those after rescaling: Hounsfield units of CT. Coordinates are DICOM's, in millimetres, towards left, back and head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk  # noqa: N813 - the name that all who use it give it
from highdicom import imread
from highdicom.spatial import get_series_volume_positions
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels.processing import apply_rescale
from pydicom.pixels.utils import pixel_array

from inference.engine import InstanceFile

#: Devices round positions: distances of slices that differ by less than this are the same, in millimetres.
SLACK_MM = 0.05
#: As large as a worker's memory allows: 1.6 GB as 32-bit numbers.
MOST_VOXELS = 400_000_000


class NoVolume(Exception):
    """The slices are no volume; ``reason`` is a code of the vocabulary."""

    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A series as one image."""

    image: sitk.Image
    #: SOP Instance UID and frame number (from 1) of each slice, in the order of the image's third axis.
    slices: tuple[tuple[str, int], ...]

    @property
    def slice_mm(self) -> float:
        """Distance of neighbouring slices."""
        return float(self.image.GetSpacing()[2])


def volume_of(instances: Sequence[InstanceFile]) -> Volume:
    """Return the volume of a series: single slices, or one multi-frame instance.

    Raises
    ------
    NoVolume
        If slices are missing, lie twice at one place, are tilted against each other, or cannot be decoded.
    """
    headers = [instance.header for instance in instances]
    frames = max(int(header.get("NumberOfFrames", 1) or 1) for header in headers)
    voxels = sum(int(header.get("Rows", 0)) * int(header.get("Columns", 0)) for header in headers) * frames
    if voxels > MOST_VOXELS:
        raise NoVolume("bundle_too_large", f"it has {voxels} voxels")
    try:
        if frames > 1:
            return _of_frames(instances)
        return _of_slices(instances, headers)
    except NoVolume:
        raise
    # Decoders and headers of devices fail in as many ways as there are devices.
    except Exception as error:
        raise NoVolume("bundle_pixels_unreadable", f"{type(error).__name__}: {error}") from error


def slice_count(instances: Sequence[InstanceFile]) -> int:
    """Return the number of slices of a series."""
    return sum(int(instance.header.get("NumberOfFrames", 1) or 1) for instance in instances)


def _of_slices(instances: Sequence[InstanceFile], headers: Sequence[Dataset]) -> Volume:
    first = headers[0]
    if any("ImagePositionPatient" not in header or "ImageOrientationPatient" not in header for header in headers):
        raise NoVolume("bundle_slices_do_not_fit", "a slice does not say where it lies")
    if len({(header.Rows, header.Columns, *map(float, header.PixelSpacing)) for header in headers}) > 1:
        raise NoVolume("bundle_slices_do_not_fit", "the slices differ in size")
    spacing, _ = get_series_volume_positions(headers, atol=SLACK_MM, orientation_tol=1e-4)
    if spacing is None:
        raise NoVolume("bundle_slices_do_not_fit", "slices are missing, lie twice at one place, or are tilted")
    across, down = np.reshape([float(value) for value in first.ImageOrientationPatient], (2, 3))
    through = np.cross(across, down)
    places = np.array([[float(value) for value in header.ImagePositionPatient] for header in headers])
    order = np.argsort(places @ through)
    values = np.stack([_values(instances[index]) for index in order])
    row_mm, column_mm = (float(value) for value in first.PixelSpacing)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((column_mm, row_mm, float(spacing)))
    image.SetOrigin(places[order[0]].tolist())
    image.SetDirection(np.column_stack([across, down, through]).ravel().tolist())
    return Volume(image=image, slices=tuple((instances[index].sop_instance_uid, 1) for index in order))


def _of_frames(instances: Sequence[InstanceFile]) -> Volume:
    """Return the volume of an enhanced instance, whose frames each say where they lie (PS3.3 C.7.6.16.2.3)."""
    if len(instances) > 1:
        raise NoVolume("bundle_slices_do_not_fit", "the series has several multi-frame instances")
    image = imread(str(instances[0].path))
    if image.get_volume_geometry(atol=SLACK_MM, allow_duplicate_positions=False) is None:
        raise NoVolume(
            "bundle_slices_do_not_fit", "frames are missing, lie twice at one place, are tilted, or do not say where they lie"
        )
    volume = image.get_volume(dtype=np.float32, apply_modality_transform=None, apply_presentation_lut=False, atol=SLACK_MM)
    affine = np.asarray(volume.affine)
    # highdicom counts slices, rows, columns; an image here counts columns, rows, slices.
    steps = affine[:3, [2, 1, 0]]
    lengths = np.linalg.norm(steps, axis=0)
    values = np.asarray(volume.array, np.float32)
    through = np.cross(steps[:, 0], steps[:, 1])
    upside_down = float(through @ steps[:, 2]) < 0
    origin = affine[:3, 3] + (steps[:, 2] * (len(values) - 1) if upside_down else 0)
    if upside_down:
        values, steps = values[::-1], steps * (1, 1, -1)
    made = sitk.GetImageFromArray(np.ascontiguousarray(values))
    made.SetSpacing(lengths.tolist())
    made.SetOrigin(origin.tolist())
    made.SetDirection((steps / lengths).ravel().tolist())
    return Volume(image=made, slices=_frame_numbers(image, made, instances[0].sop_instance_uid))


def _frame_numbers(image: Dataset, made: sitk.Image, uid: str) -> tuple[tuple[str, int], ...]:
    """Return which frame lies in each slice."""
    groups = image.PerFrameFunctionalGroupsSequence
    places = [group.PlanePositionSequence[0].ImagePositionPatient for group in groups]
    slices = [made.TransformPhysicalPointToIndex([float(value) for value in place])[2] for place in places]
    frames = dict(zip(slices, range(1, len(slices) + 1), strict=True))
    return tuple((uid, frames.get(index, 1)) for index in range(made.GetSize()[2]))


def _values(instance: InstanceFile) -> NDArray[np.float32]:
    dataset = dcmread(instance.path)
    return np.asarray(apply_rescale(pixel_array(dataset), dataset), np.float32)
