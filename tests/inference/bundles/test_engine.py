"""An added bundle reads what it was made for, measures it in the patient, and says why it is silent about anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.legacy import LegacyConvertedEnhancedCTImage
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from inference.bundles.engine import BundleEngine
from inference.engine import Outcome
from inference.vocabulary.terms import vocabulary
from models.bundle import read_bundle
from models.bundle_plan import plan_of
from models.installing.home import ModelHome
from tests.inference.bundles.conftest import study_of
from tests.made_bundles import (
    BRIGHT,
    DARK,
    LARGE,
    PLAIN,
    VOLUME,
    bright_parts,
    grey_metadata,
    mean_grey,
    sphere_metadata,
    write_bundle,
)
from tests.made_ct import Ball, ct_series
from tests.made_radiographs import half_bright, radiograph


@pytest.mark.parametrize(
    "geometry",
    [
        {},
        {"pixel_mm": 0.8, "slice_mm": 1.0, "slices": 90, "side": 96},
        {"slice_mm": 5.0, "slices": 20},
        {"ImageOrientationPatient": [-1, 0, 0, 0, -1, 0]},
    ],
)
def test_a_volume_is_measured_in_millilitres_whatever_the_spacing(sphere: BundleEngine, tmp_path: Path, geometry: Any) -> None:
    ball = Ball()
    reading = sphere.read(study_of(ct_series(tmp_path / "ct", ball=ball, **geometry)))
    (volume,) = reading.measurements
    assert reading.outcome is Outcome.READ
    assert volume.code == VOLUME
    assert volume.value == pytest.approx(ball.millilitres, rel=0.02)
    (model,) = reading.models
    assert (model.name, model.version, len(model.weights_sha256 or "")) == ("made_sphere", "1.0.0", 64)
    assert "resampled" in model.preprocessing


def test_the_finding_lies_where_the_ball_is_largest(sphere: BundleEngine, tmp_path: Path) -> None:
    ball = Ball()
    files = ct_series(tmp_path / "ct", ball=ball)
    reading = sphere.read(study_of(files))
    (finding,) = reading.findings
    assert finding.code == LARGE
    assert finding.region is not None
    header = next(
        pydicom.dcmread(file) for file in files if pydicom.dcmread(file).SOPInstanceUID == finding.region.sop_instance_uid
    )
    assert abs(float(header.ImagePositionPatient[2]) - ball.centre[2]) <= 2.5
    left, top, width, height = finding.region.box or (0, 0, 0, 0)
    corner = np.array(header.ImagePositionPatient[:2], float)
    middle = corner + 1.1 * (np.array([left + width / 2, top + height / 2]) - 0.5)
    assert middle == pytest.approx(ball.centre[:2], abs=1.1)
    assert width * 1.1 == pytest.approx(2 * ball.radius, abs=2.5)


def test_a_small_ball_is_measured_and_makes_no_finding(sphere: BundleEngine, tmp_path: Path) -> None:
    reading = sphere.read(study_of(ct_series(tmp_path / "ct", ball=Ball(radius=12))))
    assert reading.findings == ()
    assert reading.measurements[0].value == pytest.approx(Ball(radius=12).millilitres, rel=0.03)


def test_an_enhanced_instance_is_the_same_volume_as_its_slices(sphere: BundleEngine, tmp_path: Path) -> None:
    files = ct_series(tmp_path / "ct")
    slices = [pydicom.dcmread(file) for file in files]
    enhanced = LegacyConvertedEnhancedCTImage(slices, generate_uid(), 2, generate_uid(), 1)
    enhanced.BodyPartExamined, enhanced.PatientAge = "ABDOMEN", "050Y"
    path = tmp_path / "enhanced.dcm"
    enhanced.save_as(path, enforce_file_format=True)
    of_slices, of_frames = sphere.read(study_of(files)), sphere.read(study_of([path]))
    assert of_frames.outcome is Outcome.READ, of_frames.evidence
    assert of_frames.measurements[0].value == pytest.approx(of_slices.measurements[0].value, rel=1e-3)
    assert of_frames.findings[0].region is not None
    assert of_frames.findings[0].region.box == of_slices.findings[0].region.box  # type: ignore[union-attr]


def test_windows_give_what_the_whole_gives(home: ModelHome, sphere: BundleEngine, tmp_path: Path) -> None:
    metadata = sphere_metadata()
    metadata["version"] = "1.1.0"
    metadata["network_data_format"]["inputs"]["image"] |= {"spatial_shape": [40, 40, 32], "is_patch_data": True}
    metadata["network_data_format"]["outputs"]["mask"]["spatial_shape"] = [40, 40, 32]
    windowed = BundleEngine(plan_of(read_bundle(write_bundle(tmp_path, metadata, bright_parts()))))
    study = study_of(ct_series(tmp_path / "ct"))
    assert windowed.read(study).measurements == sphere.read(study).measurements


def test_of_several_series_the_original_one_of_most_slices_is_read(sphere: BundleEngine, tmp_path: Path) -> None:
    study = generate_uid()
    thin = ct_series(tmp_path / "thin", study=study, slice_mm=1.25, slices=80)
    thick = ct_series(tmp_path / "thick", study=study, slice_mm=5, slices=20)
    derived = ct_series(tmp_path / "derived", study=study, slice_mm=1, slices=100, ImageType=["DERIVED", "SECONDARY", "MPR"])
    planning = ct_series(tmp_path / "planning", study=study, slices=2, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    reading = sphere.read(study_of([*thick, *derived, *planning, *thin]))
    told = {one["slices"]: (one["outcome"], one["reason"]) for one in reading.evidence["series"]}
    assert told[80] == ("read", None)
    assert told[20] == told[100] == ("declined", "bundle_another_series_read")
    assert len(reading.measurements) == 1


def _gap(files: list[Path]) -> list[Path]:
    return files[:15] + files[16:]


def _twice(files: list[Path]) -> list[Path]:
    again = pydicom.dcmread(files[10])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    path = files[10].with_name("again.dcm")
    again.save_as(path)
    return [*files, path]


def _spoilt(files: list[Path]) -> list[Path]:
    whole = pydicom.dcmread(files[5])
    whole.PixelData = whole.PixelData[:100]
    whole.save_as(files[5])
    return files


@pytest.mark.parametrize(
    ("tags", "spoil", "reason"),
    [
        ({"BodyPartExamined": "HEAD"}, None, "bundle_other_body_part"),
        ({"BodyPartExamined": None}, None, "bundle_body_part_unstated"),
        ({"PatientAge": "011Y"}, None, "bundle_other_age"),
        ({"PatientAge": None, "PatientBirthDate": None}, None, "bundle_age_unstated"),
        ({"slices": 5}, None, "bundle_few_slices"),
        ({"slice_mm": 7.5, "slices": 14}, None, "bundle_slices_far_apart"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, None, "bundle_no_image"),
        ({"ImagePositionPatient": None}, None, "bundle_slices_do_not_fit"),
        ({}, _gap, "bundle_slices_do_not_fit"),
        ({}, _twice, "bundle_slices_do_not_fit"),
        ({}, _spoilt, "bundle_pixels_unreadable"),
    ],
)
def test_a_series_that_it_was_not_made_for_is_declined_with_its_reason(
    sphere: BundleEngine, tmp_path: Path, tags: dict[str, Any], spoil: Any, reason: str
) -> None:
    files = ct_series(tmp_path / "ct", **tags)
    reading = sphere.read(study_of(spoil(files) if spoil else files))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, reason), reading.evidence
    assert (reading.findings, reading.measurements, reading.models) == ((), (), ())
    assert reason in vocabulary().reasons


def test_a_body_part_in_chinese_bytes_is_understood(sphere: BundleEngine, tmp_path: Path) -> None:
    chinese = "腹部".encode("gb18030").decode("latin-1")
    reading = sphere.read(study_of(ct_series(tmp_path / "ct", BodyPartExamined=chinese)))
    assert reading.outcome is Outcome.READ, reading.reason


def test_the_county_may_narrow_the_rule_to_its_own_devices(home: ModelHome, sphere: BundleEngine, tmp_path: Path) -> None:
    files = ct_series(tmp_path / "ct")
    for devices, outcome in ((["generator"], Outcome.READ), (["SOMATOM"], Outcome.DECLINED)):
        narrowed = BundleEngine(plan_of(sphere.plan.bundle, {"devices": devices}))
        reading = narrowed.read(study_of(files))
        assert reading.outcome is outcome
        assert reading.evidence["county_rule"] == {"devices": devices}


def test_it_wants_images_of_its_modality_alone(sphere: BundleEngine) -> None:
    header = Dataset()
    header.SOPClassUID, header.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"
    assert sphere.wants(header)
    header.Modality = "MR"
    assert not sphere.wants(header)
    header.SOPClassUID, header.Modality = "1.2.840.10008.5.1.4.1.1.88.67", "CT"  # a dose report under the modality of its scanner
    assert not sphere.wants(header)


@pytest.mark.parametrize(("share", "code"), [(0.8, BRIGHT), (0.25, DARK), (0.5, PLAIN)])
def test_a_picture_is_classified_at_its_operating_points(grey: BundleEngine, tmp_path: Path, share: float, code: str) -> None:
    file = radiograph(tmp_path, half_bright(share))
    reading = grey.read(study_of([file]))
    (finding,) = reading.findings
    assert finding.code == code
    assert reading.evidence["probabilities"][BRIGHT] == pytest.approx(share, abs=0.02)
    assert reading.evidence["thresholds"] == {BRIGHT: 0.6, DARK: 0.6}
    if code != PLAIN:
        assert finding.region is not None
        assert finding.region.sop_instance_uid == pydicom.dcmread(file).SOPInstanceUID


def test_a_label_without_an_operating_point_is_never_spoken(home: ModelHome, tmp_path: Path) -> None:
    metadata = grey_metadata()
    del metadata["sumu"]["thresholds"][BRIGHT]
    engine = BundleEngine(plan_of(read_bundle(write_bundle(tmp_path, metadata, mean_grey(32)))))
    reading = engine.read(study_of([radiograph(tmp_path, half_bright(0.9))]))
    assert [finding.code for finding in reading.findings] == [PLAIN]
    assert reading.evidence["silent"] == [BRIGHT]


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ViewPosition": "LL"}, "bundle_other_view"),
        ({"ViewPosition": None}, "bundle_view_unstated"),
        ({"PhotometricInterpretation": "RGB"}, "bundle_coloured"),
        ({"NumberOfFrames": 3}, "bundle_loop"),
        ({"Columns": 640}, "bundle_pixels_unreadable"),
    ],
)
def test_a_picture_that_it_was_not_made_for_is_declined(
    grey: BundleEngine, tmp_path: Path, tags: dict[str, Any], reason: str
) -> None:
    reading = grey.read(study_of([radiograph(tmp_path, half_bright(0.8), **tags)]))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, reason)


def area_metadata() -> dict[str, Any]:
    """Return the metadata of a bundle that measures the bright area of a picture, on half of its pixels."""
    metadata = sphere_metadata("made_area")
    for part in (*metadata["network_data_format"]["inputs"].values(), *metadata["network_data_format"]["outputs"].values()):
        part["spatial_shape"] = [48, 32]
    metadata["sumu"] |= {
        "routing": {"modalities": ["DX"], "dimensions": 2},
        "steps": [
            {"name": "ScaleIntensityRangePercentiles", "lower": 0, "upper": 100, "b_min": 0, "b_max": 1},
            {"name": "Resize", "spatial_size": [48, 32]},
        ],
    }
    metadata["sumu"]["results"][0]["quantities"][0]["above"] = 0.9
    metadata["sumu"]["vocabulary"]["measurement"][VOLUME] |= {"unit": "cm2", "unit_meaning": "square centimeter"}
    return metadata


def test_an_area_of_a_picture_is_measured_in_the_plane_of_its_pixels(home: ModelHome, tmp_path: Path) -> None:
    metadata = area_metadata()
    home.keep_words("made_sphere", metadata["sumu"]["vocabulary"])
    engine = BundleEngine(plan_of(read_bundle(write_bundle(tmp_path, metadata, bright_parts("rows", "columns")))))
    file = radiograph(tmp_path, half_bright(0.5))  # 96 × 64 pixels of 0.2 mm: 19.2 × 12.8 mm
    reading = engine.read(study_of([file]))
    assert reading.measurements[0].value == pytest.approx(1.92 * 1.28 / 2, rel=0.02)
    (finding,) = reading.findings
    assert finding.region is not None
    assert finding.region.box == pytest.approx((0, 0, 64, 48), abs=1)
    silent = engine.read(study_of([radiograph(tmp_path, half_bright(0.5), PixelSpacing=None)]))
    assert (silent.outcome, silent.reason) == (Outcome.DECLINED, "bundle_size_unknown")


@pytest.mark.parametrize(("share", "found"), [(0.3, 1), (0.7, 0)])
def test_a_number_beyond_its_limit_makes_a_finding(home: ModelHome, tmp_path: Path, share: float, found: int) -> None:
    metadata = grey_metadata()
    quantity = {"channel": 0, "measurement": VOLUME, "finding": DARK, "below": 0.5}
    metadata["sumu"] |= {
        "labels": [],
        "thresholds": {},
        "results": [{"kind": "regression", "output": "probability", "quantities": [quantity]}],
    }
    engine = BundleEngine(plan_of(read_bundle(write_bundle(tmp_path, metadata, mean_grey(32)))))
    reading = engine.read(study_of([radiograph(tmp_path, half_bright(share))]))
    assert reading.measurements[0].value == pytest.approx(share, abs=0.02)
    assert [finding.code for finding in reading.findings] == [DARK] * found


@pytest.mark.parametrize(
    ("name", "outcome", "reason"),
    [
        ("examples_rgb_color.dcm", Outcome.READ, None),
        ("examples_palette.dcm", Outcome.READ, None),
        ("examples_ybr_color.dcm", Outcome.DECLINED, "bundle_loop"),
    ],
)
def test_a_coloured_picture_is_read_by_its_luminance_where_the_bundle_says_so(
    home: ModelHome, tmp_path: Path, name: str, outcome: Outcome, reason: str | None
) -> None:
    metadata = grey_metadata()
    metadata["sumu"] |= {"luminance": True, "routing": {"modalities": ["US"], "dimensions": 2}}
    engine = BundleEngine(plan_of(read_bundle(write_bundle(tmp_path, metadata, mean_grey(32)))))
    reading = engine.read(study_of([Path(str(get_testdata_file(name, download=False)))]))
    assert (reading.outcome, reading.reason) == (outcome, reason), reading.evidence
    if outcome is Outcome.READ:
        assert 0 < reading.evidence["probabilities"][BRIGHT] < 1


def test_weights_that_were_changed_since_are_not_run(sphere: BundleEngine, tmp_path: Path) -> None:
    from models.bundle import WeightsAltered

    sphere.plan.bundle.weights.write_bytes(sphere.plan.bundle.weights.read_bytes() + b"\0")
    with pytest.raises(WeightsAltered):
        sphere.read(study_of(ct_series(tmp_path / "ct")))
