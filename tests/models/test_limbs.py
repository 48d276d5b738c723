"""The limb network's canvas, its data, what is read from its outputs, and the figures that the card prints."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.bundle import BUNDLES, read_bundle
from models.limbs.data import LimbCase, NotLimbData, folds_of, limb_cases
from models.limbs.figures import Scored, fracture_figures, placed
from models.limbs.preprocessing import CELL, COLUMNS, ROWS, prepared
from models.limbs.reading import KINDS, PROJECTIONS, output_of, overlap, peaks

COLUMNS_OF_MANIFEST = (
    "image_id,hand,leg,hip,shoulder,hardware,multiscan,fractured,frontal,width,height,dup_group,index_block,boxes_xyxy"
)


def spot(rows: int, columns: int, top: int, left: int) -> np.ndarray:
    """Return a grey image with one bright square of 20 pixels."""
    image = np.random.default_rng(1).uniform(0, 60, (rows, columns)).astype(np.float32)
    image[top : top + 20, left : left + 20] = 255
    return image


@pytest.mark.parametrize("size", [(454, 373), (373, 454), (300, 300), (900, 200), (200, 900), (3000, 2400)])
def test_a_place_on_the_canvas_finds_its_way_back_to_the_image(size: tuple[int, int]) -> None:
    rows, columns = size
    image = spot(rows, columns, rows // 3, columns // 4)
    square, canvas = prepared(image)
    assert square.shape == (ROWS, COLUMNS)
    box = (columns // 4 / columns, rows // 3 / rows, 20 / columns, 20 / rows)
    x, y, width, height = canvas.to_canvas(box)
    inside = square[round(y) : round(y + height), round(x) : round(x + width)]
    assert inside.size == 0 or inside.mean() > square.mean() + 0.3 or max(size) > 2000
    assert canvas.to_source((x, y, width, height)) == pytest.approx((columns // 4, rows // 3, 20, 20), abs=0.01)


def test_an_image_wider_than_high_is_turned_and_fills_the_canvas() -> None:
    square, canvas = prepared(np.random.default_rng(2).uniform(0, 255, (373, 454)))
    assert canvas.turned
    assert (square > 0).mean() > 0.9


def folder(place: Path, rows: list[str]) -> Path:
    """Write a manifest, and an even image for each row."""
    (place / "img384").mkdir()
    (place / "manifest.csv").write_text("\n".join([COLUMNS_OF_MANIFEST, *rows]) + "\n", encoding="utf-8")
    for row in csv.DictReader([COLUMNS_OF_MANIFEST, *rows]):
        Image.fromarray(np.full((100, 80), 90, np.uint8)).save(place / "img384" / row["image_id"])
    return place


def test_a_case_knows_its_parts_and_its_boxes_in_shares_of_the_image(tmp_path: Path) -> None:
    row = 'a.jpg,1,0,0,1,0,0,1,1,800,1000,a,1,"80,100,160,300;0,0,8,10"'
    (case,) = limb_cases(folder(tmp_path, [row]))
    assert case.parts == {"hand", "shoulder"}
    assert case.projections == {"frontal"}
    assert np.allclose(case.boxes, [(0.1, 0.1, 0.1, 0.2), (0, 0, 0.01, 0.01)])


def test_images_that_share_a_duplicate_or_a_block_share_a_group_and_a_fold(tmp_path: Path) -> None:
    rows = [
        "a.jpg,1,0,0,0,0,0,0,1,80,100,a,1,",
        "b.jpg,1,0,0,0,0,0,0,1,80,100,b,1,",
        "c.jpg,1,0,0,0,0,0,0,1,80,100,b,2,",
        "d.jpg,1,0,0,0,0,0,0,1,80,100,d,3,",
    ]
    cases = limb_cases(folder(tmp_path, rows))
    assert cases[0].group == cases[1].group == cases[2].group != cases[3].group
    folds = folds_of(cases)
    assert folds[0] == folds[1] == folds[2] != folds[3]


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (None, r"manifest\.csv is missing"),
        ("image_id,fractured\na.jpg,1\n", "lacks the column hand"),
        (COLUMNS_OF_MANIFEST + "\nb.jpg,1,0,0,0,0,0,0,1,80,100,a,1,\n", r"b\.jpg is not in img384"),
        (COLUMNS_OF_MANIFEST + "\na.jpg,1,0,0,0,0,0,yes,1,80,100,a,1,\n", r"row of a\.jpg cannot be read"),
    ],
)
def test_a_folder_that_lacks_something_says_what(tmp_path: Path, manifest: str | None, problem: str) -> None:
    (tmp_path / "img384").mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "img384" / "a.jpg")
    if manifest:
        (tmp_path / "manifest.csv").write_text(manifest, encoding="utf-8")
    with pytest.raises(NotLimbData, match=problem):
        limb_cases(tmp_path)


def said(row: int, column: int) -> dict[str, np.ndarray]:
    """Return outputs with one suspicious place, whose box reaches 10 pixels to each side."""
    places = np.full((ROWS // CELL, COLUMNS // CELL), 0.01, np.float32)
    places[row, column] = 0.9
    return {
        "probability": np.array([0.8], np.float32),
        "places": places,
        "sides": np.full((4, *places.shape), 10, np.float32),
        "kind": np.linspace(0, 1, len(KINDS), dtype=np.float32),
        "projection": np.zeros(len(PROJECTIONS), np.float32),
        "hardware": np.zeros(1, np.float32),
    }


def test_the_box_is_around_the_most_suspicious_place_in_pixels_of_the_image() -> None:
    """At twice the canvas' size each pixel of the canvas is two of the image."""
    canvas = prepared(np.random.default_rng(1).random((2 * ROWS, 2 * COLUMNS)))[1]
    output = output_of(said(10, 20), canvas)
    (place,) = output.places
    assert place.centre == pytest.approx(((20.5 * CELL) * 2, (10.5 * CELL) * 2))
    assert place.box == pytest.approx((20.5 * 16 - 20, 10.5 * 16 - 20, 40, 40))
    assert output.part == "shoulder"


def test_further_places_stand_apart_and_are_nearly_as_suspicious() -> None:
    grid = np.zeros((48, 40), np.float32)
    grid[5, 5], grid[6, 6], grid[30, 30], grid[40, 10] = 0.8, 0.7, 0.5, 0.3
    assert peaks(grid) == [(5, 5), (30, 30)]


def test_boxes_that_share_half_their_area_overlap_by_a_third() -> None:
    assert overlap((0, 0, 10, 10), (0, 5, 10, 10)) == pytest.approx(1 / 3)
    assert overlap((0, 0, 10, 10), (20, 0, 10, 10)) == 0


def case(name: str, *, fractured: bool, part: str = "hand", hardware: bool = False, group: int = 0) -> LimbCase:
    """Return a case with a box in the middle where it is fractured."""
    return LimbCase(
        file=Path(name),
        fractured=fractured,
        parts=frozenset({part}),
        projections=frozenset({"frontal"}),
        hardware=hardware,
        multiscan=False,
        boxes=((0.4, 0.4, 0.2, 0.2),) if fractured else (),
        group=group,
    )


def test_a_hit_is_a_place_inside_a_drawn_box() -> None:
    canvas = prepared(np.random.default_rng(1).random((ROWS, COLUMNS)))[1]
    broken = case("a", fractured=True)
    assert placed(broken, output_of(said(24, 20), canvas))["hit"] is True
    assert placed(broken, output_of(said(24, 30), canvas))["hit"] is False
    assert placed(case("b", fractured=False), output_of(said(24, 20), canvas)) == {"hit": None, "overlap": None}


def test_figures_leave_metal_out_and_count_hits_in_true_positives() -> None:
    scored = [
        Scored(case=case("a", fractured=True, group=1), probability=0.9, threshold=0.5, hit=True, overlap=0.5),
        Scored(case=case("b", fractured=True, group=2), probability=0.6, threshold=0.5, hit=False, overlap=0.0),
        Scored(case=case("c", fractured=True, group=3), probability=0.2, threshold=0.5, hit=True, overlap=0.3),
        Scored(case=case("d", fractured=False, group=4), probability=0.3, threshold=0.5, hit=None, overlap=None),
        Scored(case=case("e", fractured=False, part="leg", group=5), probability=0.1, threshold=0.5, hit=None, overlap=None),
        Scored(case=case("f", fractured=True, hardware=True, group=6), probability=0.0, threshold=0.5, hit=False, overlap=0.0),
    ]
    figures = fracture_figures(scored)
    assert (figures["images"], figures["fractured"]) == (5, 3)
    assert figures["auc"][0] == pytest.approx(5 / 6, abs=1e-4)
    assert figures["sensitivity"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["specificity"][0] == 1
    assert figures["boxes_hit_in_true_positives"][0] == 0.5
    assert figures["boxes_hit_in_all_fractured"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["mean_overlap_in_true_positives"][0] == 0.25
    assert figures["subgroups"]["leg"] == {"images": 1, "fractured": 0, "specificity": [1.0]}
    assert figures["with_hardware"]["sensitivity"] == [0.0]
    low, high = figures["auc"][1:]
    assert low <= 5 / 6 <= high


def test_the_shipped_bundle_is_whole_and_small_and_its_card_names_its_weights() -> None:
    bundle = read_bundle(BUNDLES / "limb_radiograph")
    assert bundle.engine == "radiograph"
    assert bundle.weights.stat().st_size < 20_000_000
    assert bundle.weights_sha256 in bundle.card.read_text(encoding="utf-8")
    assert set(bundle.details["part_thresholds"]) == {"hand", "leg", "hip", "shoulder"}
    assert bundle.thresholds["limb_fracture"] == min(bundle.details["part_thresholds"].values())
