"""The radiograph engine on generated images, pydicom's own files and the shipped bundle; on real limbs where they are at hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from inference.engine import InstanceFile, Outcome, StudyFiles
from inference.radiograph import RadiographEngine
from inference.radiograph.localisation import peak_box
from inference.radiograph.rendering import UnreadablePixels, displayed
from models.bundle import BUNDLES, WeightsAltered
from models.chest.preprocessing import BlankImage, prepare

CHEST = BUNDLES / "chest_radiograph"
SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="module")
def engine() -> RadiographEngine:
    """The engine as it is shipped."""
    return RadiographEngine(CHEST)


@pytest.fixture(scope="module")
def open_engine(tmp_path_factory: pytest.TempPathFactory) -> RadiographEngine:
    """The shipped network without a gate, with every label spoken and boxed: for images that are no real chests."""
    folder = shutil.copytree(CHEST, tmp_path_factory.mktemp("open") / "chest_radiograph")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["sumu"]["details"] |= {"gate_threshold": 0, "localises": True}
    metadata["sumu"]["thresholds"] = dict.fromkeys(metadata["sumu"]["labels"], 0.0)
    file.write_text(json.dumps(metadata), encoding="utf-8")
    return RadiographEngine(folder)


def phantom(rows: int = 600, columns: int = 500) -> NDArray[np.uint16]:
    """Return a bright trunk with two dark lungs, 12 bits, as displayed."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    image = 2400 + 500 * np.cos((x - 0.5) * 3)
    for centre in (0.28, 0.72):
        image[((x - centre) / 0.17) ** 2 + ((y - 0.45) / 0.33) ** 2 < 1] = 900
    image[((x - 0.55) / 0.15) ** 2 + ((y - 0.62) / 0.16) ** 2 < 1] = 2900
    image += 120 * np.sin(y * 60)
    return image.astype(np.uint16)


def instance(folder: Path, pixels: NDArray[Any], **tags: Any) -> InstanceFile:
    """Write a DX image and return it as the worker would hand it over; ``tags`` set or, with None, remove elements."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = DigitalXRayImageStorageForPresentation
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.Modality, image.BodyPartExamined, image.ViewPosition, image.PatientAge = "DX", "CHEST", "PA", "045Y"
    image.PresentationIntentType = "FOR PRESENTATION"
    image.Rows, image.Columns = pixels.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = pixels.dtype.itemsize * 8
    image.BitsStored, image.HighBit, image.PixelRepresentation = image.BitsAllocated, image.BitsAllocated - 1, 0
    image.PixelData = pixels.tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(image, name)
        else:
            setattr(image, name, value)
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path, enforce_file_format=True)
    return InstanceFile(path=path, header=dcmread(path, stop_before_pixels=True))


def study(*instances: InstanceFile) -> StudyFiles:
    """Return a study of these instances."""
    return StudyFiles(study_instance_uid="1.2.3", instances=instances)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ({"Modality": "DX"}, True),
        ({"Modality": "CR"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"}, True),
        ({"Modality": "RG", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"Modality": "CT"}, False),
        ({"Modality": "MG"}, False),
        ({"Modality": "DX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, False),
        ({"Modality": "DX", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, False),
        ({}, False),
    ],
)
def test_it_wants_plain_radiographs_only(engine: RadiographEngine, tags: dict[str, str], wanted: bool) -> None:
    header = Dataset()
    for name, value in tags.items():
        setattr(header, name, value)
    assert engine.wants(header) is wanted


@pytest.mark.parametrize(
    ("tags", "outcome", "reason"),
    [
        ({"BodyPartExamined": "HAND"}, Outcome.NO_MODEL, "chest_no_model_for_body_part"),
        ({"BodyPartExamined": "L-SPINE"}, Outcome.NO_MODEL, "chest_no_model_for_body_part"),
        ({"BodyPartExamined": "手".encode("gb18030").decode("latin-1")}, Outcome.NO_MODEL, "chest_no_model_for_body_part"),
        ({"PatientAge": "017Y"}, Outcome.DECLINED, "chest_not_adult"),
        ({"PatientAge": "030M"}, Outcome.DECLINED, "chest_not_adult"),
        ({"PatientAge": None, "PatientBirthDate": "20150301", "StudyDate": "20240301"}, Outcome.DECLINED, "chest_not_adult"),
        ({"ViewPosition": "LL"}, Outcome.DECLINED, "chest_not_frontal"),
        ({"PresentationIntentType": "FOR PROCESSING"}, Outcome.DECLINED, "chest_for_processing"),
    ],
)
def test_what_the_tags_exclude_is_declined_with_its_reason(
    engine: RadiographEngine, tmp_path: Path, tags: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    reading = engine.read(study(instance(tmp_path, phantom(), **tags)))
    assert (reading.outcome, reading.reason) == (outcome, reason)
    assert reading.findings == ()
    assert reading.models == ()


@pytest.mark.parametrize("part", ["胸部".encode("gb18030").decode("latin-1"), "Chest", "CHEST PA", "", "UNKNOWN"])
def test_a_chest_by_any_of_its_names_reaches_the_network(open_engine: RadiographEngine, tmp_path: Path, part: str) -> None:
    image = instance(tmp_path, phantom(), BodyPartExamined=part)
    assert open_engine.read(study(image)).outcome is Outcome.READ


def test_an_unknown_age_is_read_with_a_caution(open_engine: RadiographEngine, tmp_path: Path) -> None:
    reading = open_engine.read(study(instance(tmp_path, phantom(), PatientAge=None)))
    assert reading.outcome is Outcome.READ
    assert reading.evidence["images"][0]["cautions"] == ["chest_age_unknown"]


def test_a_study_without_radiographs_says_so(engine: RadiographEngine) -> None:
    assert engine.read(study()).reason == "chest_none_in_study"


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_picture_that_is_no_chest_is_declined_by_the_gate(engine: RadiographEngine, tmp_path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 4096, (300, 300), np.uint16)
    reading = engine.read(study(instance(tmp_path, noise)))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "chest_not_frontal_chest")
    assert reading.evidence["images"][0]["frontal"] < 0.5


def test_hands_are_declined_even_when_the_tags_call_them_chests(engine: RadiographEngine, tmp_path: Path) -> None:
    folder = SHARED / "fracture" / "img384"
    if not folder.is_dir():
        pytest.skip("needs limb radiographs in ../shared/data/fracture")
    from PIL import Image

    hands = [instance(tmp_path, np.asarray(Image.open(file).convert("L"))) for file in sorted(folder.glob("*.jpg"))[:10]]
    readings = [engine.read(study(hand)) for hand in hands]
    assert [reading.reason for reading in readings] == ["chest_not_frontal_chest"] * len(hands)


def test_a_real_chest_is_read_and_its_negative_is_declined(engine: RadiographEngine, tmp_path: Path) -> None:
    folder = SHARED / "chest"
    if not folder.is_dir():
        pytest.skip("needs chest radiographs in ../shared/data/chest")
    from PIL import Image

    from models.chest.data import chest_cases

    case = next(case for case in chest_cases(folder) if case.validation)
    pixels = np.asarray(Image.open(case.file).convert("L"))
    reading = engine.read(study(instance(tmp_path, pixels)))
    assert reading.outcome is Outcome.READ
    assert reading.findings
    assert {finding.code for finding in reading.findings} <= {*reading.evidence["thresholds"], "chest_no_finding"}
    negative = engine.read(study(instance(tmp_path, 255 - pixels)))
    assert negative.reason == "chest_not_frontal_chest"


def test_a_blank_image_is_unreadable(engine: RadiographEngine, tmp_path: Path) -> None:
    reading = engine.read(study(instance(tmp_path, np.full((200, 200), 7, np.uint16))))
    assert reading.reason == "chest_unreadable_pixels"


def probabilities(engine: RadiographEngine, image: InstanceFile) -> dict[str, float]:
    """Return what the network said of one image."""
    return dict(engine.read(study(image)).evidence["probabilities"])


def test_monochrome1_and_its_inverted_twin_give_the_same_probabilities(open_engine: RadiographEngine, tmp_path: Path) -> None:
    picture = phantom()
    plain = probabilities(open_engine, instance(tmp_path, picture))
    twin = {"PhotometricInterpretation": "MONOCHROME1", "BitsStored": 12, "HighBit": 11}
    assert probabilities(open_engine, instance(tmp_path, 4095 - picture, **twin)) == pytest.approx(plain, abs=1e-3)
    inverse = twin | {"PresentationLUTShape": "INVERSE"}
    assert probabilities(open_engine, instance(tmp_path, 4095 - picture, **inverse)) == pytest.approx(plain, abs=1e-3)
    assert probabilities(open_engine, instance(tmp_path, 4095 - picture)) != pytest.approx(plain, abs=1e-2)


def test_the_window_of_the_device_is_applied(tmp_path: Path) -> None:
    picture = phantom()
    shown = displayed(instance(tmp_path, picture, WindowCenter=2900, WindowWidth=200, BitsStored=12, HighBit=11).path)
    assert len(np.unique(shown[picture < 2700])) == 1
    assert shown.max() > shown.min()


def test_a_window_that_no_device_should_write_is_passed_over(tmp_path: Path) -> None:
    picture = phantom()
    shown = displayed(instance(tmp_path, picture, WindowCenter=0, WindowWidth=0).path)
    assert np.array_equal(shown, picture)


def test_rescaling_is_applied_before_the_window(tmp_path: Path) -> None:
    picture = phantom()
    rescaled = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 2 * 2000 - 1000, "WindowWidth": 4000}
    shown = displayed(instance(tmp_path, picture, BitsStored=12, HighBit=11, **rescaled).path)
    plain = displayed(instance(tmp_path, picture, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=2000).path)
    assert np.corrcoef(shown.ravel(), plain.ravel())[0, 1] > 0.999


def test_padding_does_not_set_the_contrast(tmp_path: Path) -> None:
    picture = phantom()
    picture[:, :120] = 4095
    padded = displayed(instance(tmp_path, picture, PixelPaddingValue=4095).path)
    assert padded[:, :120].max() == padded[:, 120:].min()


def test_colour_is_refused_by_name(engine: RadiographEngine, tmp_path: Path) -> None:
    tags = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    colour = instance(tmp_path, np.zeros((50, 50, 3), np.uint8), **tags)
    with pytest.raises(UnreadablePixels, match="RGB"):
        displayed(colour.path)
    reading = engine.read(study(colour))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "chest_unreadable_pixels")
    assert "RGB" in reading.evidence["images"][0]["problem"]


def test_pixels_cut_short_are_refused(tmp_path: Path) -> None:
    cut = instance(tmp_path, phantom(), PixelData=b"\0" * 100)
    with pytest.raises(UnreadablePixels, match="Explicit VR Little Endian"):
        displayed(cut.path)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "MR_small_bigendian.dcm"])
def test_compressed_and_signed_pixels_of_pydicoms_own_files_are_rendered(name: str) -> None:
    shown = displayed(Path(str(get_testdata_file(name))))
    assert shown.ndim == 2
    assert shown.max() > shown.min()


def test_a_reading_names_its_model_and_places_each_finding_in_the_image(open_engine: RadiographEngine, tmp_path: Path) -> None:
    image = instance(tmp_path, phantom(600, 500))
    reading = open_engine.read(study(image))
    model = reading.models[0]
    assert model.name == "chest_radiograph"
    assert model.weights_sha256
    assert model.preprocessing
    assert len(reading.findings) == 14
    for finding in reading.findings:
        assert finding.region is not None
        assert finding.region.sop_instance_uid == image.sop_instance_uid
        assert finding.region.box is not None
        x, y, width, height = finding.region.box
        assert x >= 0
        assert y >= 0
        assert x + width <= 500.01
        assert y + height <= 600.01
    json.dumps(reading.evidence)
    assert set(reading.evidence["heatmaps"]) == {finding.code for finding in reading.findings}


def test_maps_that_point_no_better_than_chance_give_no_boxes(tmp_path: Path) -> None:
    folder = shutil.copytree(CHEST, tmp_path / "chest_radiograph")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["sumu"]["details"] |= {"gate_threshold": 0, "localises": False}
    metadata["sumu"]["thresholds"] = {"chest_effusion": 0.0}
    file.write_text(json.dumps(metadata), encoding="utf-8")
    reading = RadiographEngine(folder).read(study(instance(tmp_path, phantom())))
    assert [finding.code for finding in reading.findings] == ["chest_effusion"]
    assert reading.findings[0].region is not None
    assert reading.findings[0].region.box is None
    assert reading.evidence["localises"] is False


def test_of_two_images_each_finding_names_the_more_probable_one(open_engine: RadiographEngine, tmp_path: Path) -> None:
    one, other = instance(tmp_path, phantom()), instance(tmp_path, phantom()[::-1].copy())
    alone = {image.sop_instance_uid: probabilities(open_engine, image) for image in (one, other)}
    for finding in open_engine.read(study(one, other)).findings:
        assert finding.region is not None
        code = finding.code
        assert alone[finding.region.sop_instance_uid][code] == max(said[code] for said in alone.values())
        assert finding.probability == pytest.approx(max(said[code] for said in alone.values()), abs=1e-4)


def test_a_hand_beside_a_chest_does_not_silence_the_chest(open_engine: RadiographEngine, tmp_path: Path) -> None:
    chest, hand = instance(tmp_path, phantom()), instance(tmp_path, phantom(), BodyPartExamined="HAND")
    reading = open_engine.read(study(hand, chest))
    assert reading.outcome is Outcome.READ
    assert [image["outcome"] for image in reading.evidence["images"]] == ["no_model", "read"]


def test_altered_weights_are_never_run(tmp_path: Path) -> None:
    folder = shutil.copytree(CHEST, tmp_path / "chest_radiograph")
    weights = folder / "models" / "model.onnx"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(WeightsAltered):
        RadiographEngine(folder).read(study(instance(tmp_path, phantom())))


def test_preprocessing_keeps_proportions_and_finds_the_way_back() -> None:
    picture = np.zeros((1000, 500), np.float32)
    picture[400:600, 100:200] = 1
    square, placement = prepare(picture)
    assert square.shape == (384, 384)
    rows, columns = np.nonzero(square > 0.5)
    box = (float(columns.min()), float(rows.min()), float(np.ptp(columns) + 1), float(np.ptp(rows) + 1))
    assert placement.to_source(box) == pytest.approx((100, 400, 100, 200), abs=6)


def test_preprocessing_forgets_brightness_and_contrast() -> None:
    picture = phantom().astype(np.float32)
    assert np.allclose(prepare(picture)[0], prepare(picture * 3 + 500)[0], atol=1e-4)


def test_an_even_image_has_no_contrast_to_stretch() -> None:
    with pytest.raises(BlankImage):
        prepare(np.ones((10, 10), np.uint8))


def test_the_box_surrounds_the_peak_of_the_map() -> None:
    grid = np.zeros((7, 7), np.float32)
    grid[5, 1] = 1
    x, y, width, height = peak_box(grid, prepare(phantom(700, 700))[1])
    assert x <= 150 <= x + width
    assert y <= 550 <= y + height
    assert width < 250
