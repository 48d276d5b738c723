"""The radiograph engine on limbs: which images go to which network, what is said of them, and what a reader is warned of."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine import Outcome
from inference.radiograph import RadiographEngine
from inference.radiograph.limbs import FRACTURE, NO_FRACTURE
from inference.radiograph.scope import named_part
from inference.vocabulary.terms import Urgency, vocabulary
from models.bundle import BUNDLES, read_bundle
from tests.inference.test_radiograph import instance, phantom, study

LIMBS = BUNDLES / "limb_radiograph"
SHARED = Path(__file__).parents[3] / "shared" / "data"
HAND = {"BodyPartExamined": "HAND"}

MakeEngine = Callable[..., RadiographEngine]


@pytest.fixture(scope="module")
def engine() -> RadiographEngine:
    """The engine with the shipped networks."""
    return RadiographEngine(BUNDLES / "chest_radiograph", limbs=LIMBS)


@pytest.fixture
def altered(tmp_path: Path) -> MakeEngine:
    """Return a function that makes an engine whose limb network has other operating points: generated images are no limbs."""

    def make(*, limb: float = 0.0, fracture: float = 0.0, hardware: float = 2.0) -> RadiographEngine:
        folder = shutil.copytree(LIMBS, tmp_path / "limb_radiograph")
        file = folder / "configs" / "metadata.json"
        metadata = json.loads(file.read_text(encoding="utf-8"))
        points = dict.fromkeys(metadata["sumu"]["details"]["part_thresholds"], fracture)
        metadata["sumu"]["details"] |= {"limb_threshold": limb, "part_thresholds": points, "hardware_threshold": hardware}
        file.write_text(json.dumps(metadata), encoding="utf-8")
        return RadiographEngine(BUNDLES / "chest_radiograph", limbs=folder)

    return make


def bone(rows: int = 500, columns: int = 300) -> NDArray[np.uint16]:
    """Return a bright shaft in grey flesh on black with a dark gap in its middle, 12 bits."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    image = np.where(np.abs(x - 0.5) < 0.3, 900.0, 60.0)
    image[(np.abs(x - 0.5) < 0.1) & (np.abs(y - 0.5) > 0.01)] = 2600
    return np.asarray(image + 60 * np.sin(y * 40) * (image > 100), np.uint16)


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("HAND", {"hand"}),
        ("Wrist", {"hand"}),
        ("KNEE", {"leg"}),
        ("FEMUR", {"leg", "hip"}),
        ("HUMERUS", {"hand", "shoulder"}),
        ("EXTREMITY", set()),
        ("锁骨".encode("gb18030").decode("latin-1"), {"shoulder"}),
        ("CHEST", set()),
        ("SKULL", set()),
    ],
)
def test_the_tags_name_the_parts_that_they_may_mean(tmp_path: Path, said: str, parts: set[str]) -> None:
    assert named_part(instance(tmp_path, bone(), BodyPartExamined=said).header).parts == parts


def test_a_limb_is_read_with_a_box_inside_the_stored_image(altered: MakeEngine, tmp_path: Path) -> None:
    image = instance(tmp_path, bone(500, 300), **HAND)
    reading = altered().read(study(image))
    assert reading.outcome is Outcome.READ
    assert [model.name for model in reading.models] == ["limb_radiograph"]
    (finding,) = reading.findings
    assert finding.code == FRACTURE
    assert finding.region is not None
    assert finding.region.sop_instance_uid == image.sop_instance_uid
    assert finding.region.box is not None
    x, y, width, height = finding.region.box
    assert min(x, y) >= 0
    assert min(width, height) > 0
    assert x + width <= 300.01
    assert y + height <= 500.01
    (said,) = reading.evidence["limbs"]
    assert said["probability"] == pytest.approx(finding.probability, abs=1e-4)
    assert said["places"][0]["box"] == pytest.approx(finding.region.box, abs=0.06)
    assert reading.evidence["images"][0]["outcome"] == "read"
    json.dumps(reading.evidence)


def test_below_the_operating_point_the_model_points_to_no_fracture(altered: MakeEngine, tmp_path: Path) -> None:
    reading = altered(fracture=1.0).read(study(instance(tmp_path, bone(), **HAND)))
    (finding,) = reading.findings
    assert finding.code == NO_FRACTURE
    assert finding.probability == pytest.approx(1 - reading.evidence["limbs"][0]["probability"], abs=1e-4)
    assert vocabulary().findings[finding.code].normal


def test_each_broken_view_has_a_box_of_its_own(altered: MakeEngine, tmp_path: Path) -> None:
    views = [instance(tmp_path, bone(), **HAND), instance(tmp_path, bone(400, 380), **HAND)]
    reading = altered().read(study(*views))
    assert [finding.region and finding.region.sop_instance_uid for finding in reading.findings] == [
        view.sop_instance_uid for view in views
    ]


def test_a_lying_image_has_its_box_and_its_map_in_its_own_pixels(altered: MakeEngine, tmp_path: Path) -> None:
    """The network sees it turned a quarter; what it says must be turned back."""
    engine = altered()
    upright, lying = instance(tmp_path, bone(), **HAND), instance(tmp_path, np.rot90(bone(), -1).copy(), **HAND)
    one, other = (engine.read(study(image)).evidence["limbs"][0] for image in (upright, lying))
    x, y = one["places"][0]["centre"]
    # A quarter clockwise: the column is counted from where the last row was.
    assert other["places"][0]["centre"] == pytest.approx([500 - y, x], abs=0.2)
    assert np.shape(other["heatmap"]["grid"]) == np.shape(np.transpose(one["heatmap"]["grid"]))
    left, top, width, height = other["heatmap"]["area"]
    assert left <= 0.1
    assert top <= 0.1
    assert left + width >= 499.9
    assert top + height >= 299.9


@pytest.mark.parametrize(
    ("tags", "caution"),
    [
        ({"PatientAge": None, **HAND}, "limb_age_unknown"),
        ({"BodyPartExamined": ""}, "limb_part_untagged"),
    ],
)
def test_what_the_tags_leave_open_is_read_with_a_caution(
    altered: MakeEngine, tmp_path: Path, tags: dict[str, Any], caution: str
) -> None:
    reading = altered().read(study(instance(tmp_path, bone(), **tags)))
    assert reading.outcome is Outcome.READ
    assert caution in reading.evidence["images"][0]["cautions"]


def test_metal_is_a_caution(altered: MakeEngine, tmp_path: Path) -> None:
    reading = altered(hardware=0.0).read(study(instance(tmp_path, bone(), **HAND)))
    assert "limb_hardware" in reading.evidence["images"][0]["cautions"]


def test_a_part_that_the_pixels_contradict_is_a_caution(altered: MakeEngine, tmp_path: Path) -> None:
    engine = altered()
    names = {"hand": "HAND", "leg": "FOOT", "hip": "HIP", "shoulder": "SHOULDER"}
    seen = engine.read(study(instance(tmp_path, bone(), **HAND))).evidence["limbs"][0]
    unlike = min(seen["parts"], key=lambda part: seen["parts"][part])
    assert seen["parts"][unlike] < 0.5
    contradicted = engine.read(study(instance(tmp_path, bone(), BodyPartExamined=names[unlike])))
    assert "limb_part_differs" in contradicted.evidence["images"][0]["cautions"]
    agreed = engine.read(study(instance(tmp_path, bone(), BodyPartExamined=names[seen["part"]])))
    assert "limb_part_differs" not in agreed.evidence["images"][0]["cautions"]


@pytest.mark.parametrize(
    ("tags", "outcome", "reason"),
    [
        ({"PatientAge": "009Y", **HAND}, Outcome.DECLINED, "limb_not_grown"),
        (
            {"PatientAge": None, "PatientBirthDate": "20150301", "StudyDate": "20240301", **HAND},
            Outcome.DECLINED,
            "limb_not_grown",
        ),
        ({"PatientAge": "009Y", "BodyPartExamined": ""}, Outcome.DECLINED, "chest_not_adult"),
        ({"PresentationIntentType": "FOR PROCESSING", **HAND}, Outcome.DECLINED, "chest_for_processing"),
        ({"BodyPartExamined": "SKULL"}, Outcome.NO_MODEL, "chest_no_model_for_body_part"),
        ({"ViewPosition": "LL"}, Outcome.DECLINED, "chest_not_frontal"),
    ],
)
def test_what_the_tags_exclude_is_never_shown_to_the_limb_network(
    altered: MakeEngine, tmp_path: Path, tags: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    reading = altered().read(study(instance(tmp_path, bone(), **tags)))
    assert (reading.outcome, reading.reason, reading.findings) == (outcome, reason, ())


def test_an_image_called_a_chest_that_looks_like_a_limb_is_declined_and_the_tags_are_doubted(
    altered: MakeEngine, tmp_path: Path
) -> None:
    reading = altered().read(study(instance(tmp_path, bone())))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "chest_not_frontal_chest")
    assert "limb_tagged_chest" in reading.evidence["images"][0]["cautions"]


def test_pixels_that_are_no_limb_are_declined_whatever_the_tags_say(altered: MakeEngine, tmp_path: Path) -> None:
    reading = altered(limb=1.01).read(study(instance(tmp_path, bone(), **HAND)))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "limb_not_a_limb")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_called_a_hand_is_declined(engine: RadiographEngine, tmp_path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 4096, (300, 300), np.uint16)
    assert engine.read(study(instance(tmp_path, noise, **HAND))).reason == "limb_not_a_limb"


def test_a_chest_called_a_hand_is_declined(engine: RadiographEngine, tmp_path: Path) -> None:
    folder = SHARED / "heart_lung" / "img512"
    if not folder.is_dir():
        pytest.skip("needs chest radiographs in ../shared/data/heart_lung")
    from PIL import Image

    chests = [np.asarray(Image.open(file).convert("L")) for file in sorted(folder.iterdir())[::40]]
    reasons = [engine.read(study(instance(tmp_path, chest, **HAND))).reason for chest in chests]
    assert reasons == ["limb_not_a_limb"] * len(chests)


def test_limbs_with_and_without_a_tag_are_read(engine: RadiographEngine, tmp_path: Path) -> None:
    folder = SHARED / "fracture"
    if not folder.is_dir():
        pytest.skip("needs limb radiographs in ../shared/data/fracture")
    from models.limbs.data import greys, limb_cases

    for case in [case for case in limb_cases(folder) if case.parts == {"leg"}][::300]:
        tagged = engine.read(study(instance(tmp_path, greys(case), BodyPartExamined="ANKLE")))
        untagged = engine.read(study(instance(tmp_path, greys(case), BodyPartExamined="", ViewPosition="")))
        assert (tagged.outcome, untagged.outcome) == (Outcome.READ, Outcome.READ)
        assert tagged.findings[0].probability == pytest.approx(untagged.findings[0].probability)


def test_a_hand_beside_a_chest_is_read_beside_it(altered: MakeEngine, tmp_path: Path) -> None:
    """The chest's own gate is left as it is; a phantom does not pass it, so the study tells of the hand alone."""
    reading = altered().read(study(instance(tmp_path, phantom()), instance(tmp_path, bone(), **HAND)))
    assert [image["outcome"] for image in reading.evidence["images"]] == ["declined", "read"]
    assert [finding.code for finding in reading.findings] == [FRACTURE]


def test_without_a_limb_network_limbs_have_no_model(tmp_path: Path) -> None:
    reading = RadiographEngine(BUNDLES / "chest_radiograph").read(study(instance(tmp_path, bone(), **HAND)))
    assert (reading.outcome, reading.reason) == (Outcome.NO_MODEL, "chest_no_model_for_body_part")


def test_every_word_of_the_limb_network_is_in_the_word_list_and_a_fracture_is_urgent() -> None:
    import re

    import inference.radiograph

    sources = Path(inference.radiograph.__file__).parent.glob("*.py")
    said = set(re.findall(r'"(limb_[a-z_]+)"', "".join(file.read_text(encoding="utf-8") for file in sources)))
    known = set(vocabulary().findings) | set(vocabulary().reasons)
    details = {"limb_threshold", "limb_radiograph"}
    assert said - details <= known
    assert set(read_bundle(LIMBS).labels) <= set(vocabulary().findings)
    assert vocabulary().findings[FRACTURE].urgency is Urgency.URGENT
    assert vocabulary().findings[FRACTURE].sentence_zh.endswith("。")
