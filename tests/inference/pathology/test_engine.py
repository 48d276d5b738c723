"""What the engine says of a slide, and what it does not: a diagnosis."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset

from inference.engine import Outcome, Reading, StudyFiles
from inference.pathology import PathologyEngine
from inference.pathology.slide import SLIDE_SOP_CLASS
from inference.vocabulary.terms import vocabulary
from tests.inference.pathology.conftest import Draw, study_of
from tests.pacs_bridge.slides.conftest import real_slide as real_slide
from tests.pacs_bridge.slides.slide_files import draw_slide, write_svs


def codes(reading: Reading) -> set[str]:
    return {finding.code for finding in reading.findings}


def numbers(reading: Reading) -> dict[str, float]:
    return {number.code: number.value for number in reading.measurements}


@pytest.fixture(scope="module")
def sharp(engine: PathologyEngine, sharp_study: StudyFiles) -> Reading:
    return engine.read(sharp_study)


def test_a_sharp_slide_is_fit_and_the_reader_is_told_that_nothing_was_diagnosed(sharp: Reading) -> None:
    assert sharp.outcome is Outcome.READ
    assert sharp.reason == "slide_technical_quality_only"
    assert codes(sharp) == {"slide_ready"}
    assert all(finding.probability is None for finding in sharp.findings)


def test_every_word_is_in_the_vocabulary(sharp: Reading) -> None:
    words = vocabulary()
    assert codes(sharp) <= set(words.findings)
    assert set(numbers(sharp)) <= set(words.measurements)
    assert sharp.reason in words.reasons


def test_the_models_are_named_with_their_hash(sharp: Reading) -> None:
    network = sharp.models[0]
    assert (network.name, len(network.weights_sha256 or "")) == ("slide_tiles", 64)
    assert "µm/px" in network.preprocessing


def test_the_evidence_is_json_and_its_grid_covers_the_slide(sharp: Reading) -> None:
    evidence = json.loads(json.dumps(sharp.evidence))
    (slide,) = evidence["slides"]
    grid = slide["tile_grid"]
    assert (len(grid["focus"]), len(grid["focus"][0])) == (grid["rows"], grid["columns"]) == (8, 8)
    assert set(grid["probabilities"]) == {"tissue_sharp", "tissue_blurred", "background"}
    assert grid["focus"][0][0] is None
    assert grid["focus"][4][4] is not None
    assert slide["level_um_per_px"] == 0.5
    assert all(0 <= value <= 1 for polygon in slide["tissue_outline"] for point in polygon for value in point)
    assert slide["stain"]["looks_like_he"] is True


def test_a_blurred_twin_is_sent_back_to_the_scanner(engine: PathologyEngine, drawn: Draw, sharp: Reading) -> None:
    blurred = engine.read(drawn(blur_um=1.6))
    assert "slide_out_of_focus" in codes(blurred)
    assert "slide_ready" not in codes(blurred)
    assert numbers(blurred)["slide_sharp_share"] < numbers(sharp)["slide_sharp_share"]
    assert focus_of(blurred) < focus_of(sharp)


def focus_of(reading: Reading) -> float:
    scores = [score for row in reading.evidence["slides"][0]["tile_grid"]["focus"] for score in row if score is not None]
    return float(sum(scores) / len(scores))


def test_pale_stain_is_called_pale(engine: PathologyEngine, drawn: Draw, sharp: Reading) -> None:
    pale = engine.read(drawn(stain=0.35))
    assert "slide_pale_stain" in codes(pale)
    assert numbers(pale)["slide_stain_density"] < numbers(sharp)["slide_stain_density"]


def test_empty_glass_is_declined(engine: PathologyEngine, drawn: Draw) -> None:
    reading = engine.read(drawn(tissue=False))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "slide_without_tissue")
    assert reading.findings == ()


def test_a_scan_too_coarse_to_judge_focus_is_declined(engine: PathologyEngine, drawn: Draw) -> None:
    reading = engine.read(drawn(um_per_px=1.0))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "slide_too_coarse")


def test_two_slides_of_a_study_are_told_apart(engine: PathologyEngine, tmp_path: Path) -> None:
    with_tissue = write_svs(tmp_path / "a.svs", draw_slide(1024))
    empty = write_svs(tmp_path / "b.svs", draw_slide(1024, tissue=False))
    reading = engine.read(study_of(with_tissue, empty, folder=tmp_path / "dicom"))
    containers = {slide["sop_instance_uid"]: slide["container"] for slide in reading.evidence["slides"]}
    said = {
        (containers[finding.region.sop_instance_uid], finding.code) for finding in reading.findings if finding.region is not None
    }
    assert reading.outcome is Outcome.READ
    assert said == {("B2026-0002-1", "slide_ready"), ("B2026-0002-2", "slide_empty")}


def test_a_study_of_thumbnails_alone_is_declined(engine: PathologyEngine, sharp_study: StudyFiles) -> None:
    thumbnails = tuple(one for one in sharp_study.instances if one.header.ImageType[2] == "THUMBNAIL")
    reading = engine.read(replace(sharp_study, instances=thumbnails))
    assert (reading.outcome, reading.reason) == (Outcome.DECLINED, "slide_without_levels")


@pytest.mark.parametrize(
    ("sop_class", "flavour", "wanted"),
    [
        (SLIDE_SOP_CLASS, "VOLUME", True),
        (SLIDE_SOP_CLASS, "THUMBNAIL", True),
        (SLIDE_SOP_CLASS, "LABEL", False),
        (SLIDE_SOP_CLASS, "OVERVIEW", False),
        (SLIDE_SOP_CLASS, None, True),
        ("1.2.840.10008.5.1.4.1.1.2", "VOLUME", False),
    ],
)
def test_labels_and_other_images_are_not_wanted(
    engine: PathologyEngine, sop_class: str, flavour: str | None, wanted: bool
) -> None:
    header = Dataset()
    header.SOPClassUID = sop_class
    if flavour:
        header.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    assert engine.wants(header) is wanted


def test_a_real_slide_is_fit(engine: PathologyEngine, real_slide: Path, tmp_path: Path) -> None:
    reading = engine.read(study_of(real_slide, folder=tmp_path))
    assert codes(reading) == {"slide_ready"}
    assert numbers(reading)["slide_tissue_area"] == pytest.approx(0.555, abs=0.03)
