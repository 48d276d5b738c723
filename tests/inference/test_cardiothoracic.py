"""The engine measures heart and lungs on chests alone, draws lines that are the ratio, and says why where it does not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from inference.engine import InstanceFile, Outcome, StudyFiles
from inference.onnx_session import PROCESSOR
from inference.radiograph import RadiographEngine
from inference.radiograph.cardiothoracic import (
    AP_ENLARGES,
    HeartLungModel,
    length_mm,
    lines_of,
    measurements_of,
    pixels_long,
    projection_of,
    told,
)
from inference.radiograph.cautions import cautions_of, limits
from inference.radiograph.contours import polygons_of
from inference.radiograph.spacing import spacing_of
from inference.vocabulary.terms import vocabulary
from models.bundle import BUNDLES
from models.heart_lung.measure import Measured, measure
from models.heart_lung.preprocessing import OUT_SIDE


@pytest.fixture(scope="module")
def model() -> HeartLungModel:
    """The bundle as it is shipped."""
    return HeartLungModel(BUNDLES / "heart_lung", PROCESSOR)


def outlined(rows: int = 1000, columns: int = 1000, heart: tuple[int, int] = (45, 83)) -> Measured:
    """Return what a network that outlines boxes makes of an image."""
    structures = np.zeros((3, OUT_SIDE, OUT_SIDE), np.float32)
    structures[0, 30:90, 75:106], structures[1, 30:90, 20:55], structures[2, 60:95, heart[0] : heart[1]] = 1, 1, 1
    swapped = structures[[1, 0, 2], :, ::-1]
    return measure(np.random.default_rng(1).random((rows, columns)), lambda squares: np.stack([structures, swapped]))


def instance(**tags: Any) -> InstanceFile:
    """Return a header as the worker hands it over."""
    header = Dataset()
    header.SOPInstanceUID = generate_uid()
    for name, value in tags.items():
        setattr(header, name, value)
    return InstanceFile(path=Path("nowhere"), header=header)


def chest(folder: Path, **tags: Any) -> InstanceFile:
    """Write a DX image that resembles a chest."""
    y, x = np.mgrid[0:1:600j, 0:1:500j]
    pixels = 2400 + 500 * np.cos((x - 0.5) * 3) + 120 * np.sin(y * 60)
    for centre in (0.28, 0.72):
        pixels[((x - centre) / 0.17) ** 2 + ((y - 0.45) / 0.33) ** 2 < 1] = 900
    pixels[((x - 0.55) / 0.15) ** 2 + ((y - 0.62) / 0.16) ** 2 < 1] = 2900
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.BodyPartExamined, image.PatientAge, image.ViewPosition = "DX", "CHEST", "050Y", "PA"
    image.PresentationIntentType = "FOR PRESENTATION"
    image.Rows, image.Columns = pixels.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.PixelData = pixels.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(image, name, value)
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    return InstanceFile(path=path, header=dcmread(path, stop_before_pixels=True))


def study(*instances: InstanceFile) -> StudyFiles:
    """Return a study of these instances."""
    return StudyFiles(study_instance_uid="1.2.3", instances=instances)


@pytest.mark.parametrize("shape", [(1000, 1000), (3000, 2400), (700, 900)])
def test_the_lines_are_level_and_their_lengths_are_the_ratio(shape: tuple[int, int]) -> None:
    measured = outlined(*shape)
    assert measured.trusted
    lines = lines_of(measured.trusted, measured.placement)
    assert set(lines) == {"heart_right", "heart_left", "thorax"}
    length = {name: abs(end[0] - start[0]) for name, (start, end) in lines.items()}
    assert all(start[1] == end[1] for start, end in lines.values())
    assert (length["heart_right"] + length["heart_left"]) / length["thorax"] == pytest.approx(measured.trusted.ratio, abs=0.001)
    assert all(0 <= y <= shape[0] for line in lines.values() for _, y in line)


def test_the_lines_stand_where_the_structures_are_in_the_stored_image() -> None:
    measured = outlined(1000, 1000)
    assert measured.trusted
    (left, _), (right, _) = lines_of(measured.trusted, measured.placement)["thorax"]
    assert (left, right) == pytest.approx((20 / 128 * 1000, 106 / 128 * 1000), abs=0.1)


def test_a_heart_on_one_side_of_the_midline_is_measured_whole() -> None:
    measured = outlined(heart=(66, 100))
    assert measured.trusted
    lines = lines_of(measured.trusted, measured.placement)
    assert lines["heart_right"][0][0] == lines["heart_right"][1][0]


def test_the_postero_anterior_image_speaks_for_the_study() -> None:
    images = [told(instance(ViewPosition=view), outlined()) for view in ("AP", "", "PA")]
    numbers = measurements_of(images)
    assert {number.code for number in numbers} == {"cardiothoracic_ratio", "right_lung_share"}
    assert {number.sop_instance_uid for number in numbers} == {images[2]["sop_instance_uid"]}


def test_an_image_in_doubt_gives_no_number_and_a_reason_of_the_word_list() -> None:
    said = told(instance(), outlined(heart=(0, 128)))
    assert said["doubt"] == "heart_lung_not_outlined"
    assert said["doubt"] in vocabulary().reasons
    assert "ratio" not in said
    assert measurements_of([said]) == ()


def test_every_number_and_every_doubt_has_words_in_both_languages() -> None:
    words = vocabulary()
    for code in ("cardiothoracic_ratio", "right_lung_share"):
        assert words.measurements[code].zh
        assert words.measurements[code].en
    for doubt in ("not_outlined", "cut_off", "implausible", "unsure"):
        assert f"heart_lung_{doubt}" in words.reasons
    assert AP_ENLARGES in words.reasons


def test_the_projection_is_read_from_the_tag_or_the_view_code() -> None:
    coded = Dataset()
    coded.CodeMeaning = "antero-posterior"
    assert projection_of(instance(ViewPosition="PA").header) == "PA"
    assert projection_of(instance(ViewCodeSequence=[coded]).header) == "AP"
    assert projection_of(instance().header) == ""


def test_an_empty_square_is_no_chest(model: HeartLungModel) -> None:
    noise = np.random.default_rng(2).random((400, 400))
    assert model.outline(noise).trusted is None


def engine_without_gate(folder: Path) -> RadiographEngine:
    """The shipped networks, the gate open: for images that are no real chests."""
    copy = shutil.copytree(BUNDLES / "chest_radiograph", folder / "chest_radiograph")
    file = copy / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["sumu"]["details"]["gate_threshold"] = 0
    file.write_text(json.dumps(metadata), encoding="utf-8")
    return RadiographEngine(copy, heart_lung=BUNDLES / "heart_lung")


def test_the_engine_names_both_models_and_keeps_each_images_outlines(tmp_path: Path) -> None:
    reading = engine_without_gate(tmp_path).read(study(chest(tmp_path, ViewPosition="AP")))
    assert [model.name for model in reading.models] == ["chest_radiograph", "heart_lung"]
    (image,) = reading.evidence["cardiothoracic"]
    json.dumps(reading.evidence)
    assert image["projection"] == "AP"
    # An AP image with a number is read with a caution; one without says why.
    assert reading.evidence["images"][0]["cautions"] == [image["doubt"] or AP_ENLARGES]
    assert bool(reading.measurements) is (image["doubt"] is None)


def test_what_the_gate_refuses_is_not_measured(tmp_path: Path) -> None:
    engine = RadiographEngine(BUNDLES / "chest_radiograph", heart_lung=BUNDLES / "heart_lung")
    reading = engine.read(study(chest(tmp_path, BodyPartExamined="HAND"), chest(tmp_path, ViewPosition="LL")))
    assert reading.outcome is not Outcome.READ
    assert not reading.measurements
    assert "cardiothoracic" not in reading.evidence


def test_the_outlines_are_those_of_the_structures_in_pixels_of_the_stored_image() -> None:
    said = told(instance(), outlined(1000, 1000))
    assert said["size"] == [1000, 1000]
    heart = np.asarray(said["outlines"]["heart"])
    assert heart.min(axis=0).tolist() == pytest.approx([45 / 128 * 1000, 60 / 128 * 1000], abs=1)
    assert heart.max(axis=0).tolist() == pytest.approx([83 / 128 * 1000, 95 / 128 * 1000], abs=1)
    for name, area in said["areas"].items():
        x, y = np.asarray(said["outlines"][name], float).T
        enclosed = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
        assert enclosed / 1e6 == pytest.approx(area, rel=0.02), name
        assert len(x) < 60, "a page draws it, a row keeps it"


def test_a_structure_that_fills_the_image_has_a_closed_outline_inside_it() -> None:
    probabilities = np.ones((3, OUT_SIDE, OUT_SIDE), np.float32)
    [x, y] = np.asarray(polygons_of(probabilities, outlined(700, 900).placement)["heart"]).T
    assert (x.min(), x.max(), y.min(), y.max()) == (0, 900, 0, 700)
    assert polygons_of(0 * probabilities, outlined().placement) == {}


def lung(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


@pytest.mark.parametrize(
    ("top", "bottom", "share", "said"),
    [
        (200, 700, 0.55, []),
        (20, 700, 0.55, ["chest_apex_cut_off"]),
        (200, 980, 0.55, ["chest_base_cut_off"]),
        (200, 560, 0.55, ["chest_shallow_breath"]),
        (2, 350, 0.55, ["chest_apex_cut_off"]),  # a field that is cut off makes low lungs: no word of the breath
        (200, 700, 0.63, ["chest_lungs_unequal_left_small"]),
        (200, 700, 0.44, ["chest_lungs_unequal_right_small"]),
    ],
)
def test_cautions_of_the_field_the_breath_and_unequal_lungs(top: int, bottom: int, share: float, said: list[str]) -> None:
    outlines = {"right_lung": lung(100, top, 400, bottom), "left_lung": lung(500, top, 800, bottom)}
    assert cautions_of(outlines, [1000, 1000], share) == said


def test_every_caution_has_words_in_both_languages() -> None:
    for limit in limits():
        assert vocabulary().reasons[limit.reason].zh
        assert vocabulary().reasons[limit.reason].en


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({}, None),
        ({"PixelSpacing": [0.0, 0.0]}, None),
        ({"ImagerPixelSpacing": [0.15, 0.14]}, (0.14, True)),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.15, 0.15]}, (0.15, True)),
        ({"ImagerPixelSpacing": [0.15, 0.15], "PixelSpacing": [0.13, 0.13]}, (0.13, False)),
        ({"PixelSpacing": [0.15, 0.15]}, (0.15, True)),
        ({"PixelSpacing": [0.15, 0.15], "PixelSpacingCalibrationType": "FIDUCIAL"}, (0.15, False)),
    ],
)
def test_the_spacing_says_of_which_plane_it_is(tags: dict[str, Any], spacing: tuple[float, bool] | None) -> None:
    found = spacing_of(instance(**tags).header)
    assert (found and (found["column_mm"], found["at_detector"])) == spacing


def test_evidence_is_json_and_small() -> None:
    said = told(instance(ImagerPixelSpacing=[0.15, 0.15]), outlined(3000, 2400))
    assert len(json.dumps(said)) < 6000
    assert length_mm(said["lines"]["thorax"], said["spacing"]) == pytest.approx(0.15 * pixels_long(said["lines"]["thorax"]))
