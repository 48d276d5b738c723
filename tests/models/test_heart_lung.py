"""The cardiothoracic ratio of outlines that are known, the failure detector, and the figures that the cards print."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.bundle import BUNDLES, read_bundle
from models.heart_lung.data import NotHeartLungData, device_of, heart_lung_cases, masks
from models.heart_lung.figures import ratio_figures
from models.heart_lung.measure import measure, to_image
from models.heart_lung.outlines import NotOutlined, mirrored, outlines_of
from models.heart_lung.preprocessing import OUT_SIDE
from models.heart_lung.trust import distrust

Array = NDArray[np.float32]
WHOLE = (0, 0, OUT_SIDE, OUT_SIDE)


def boxes(heart: tuple[float, float] = (44.25, 83.5), lungs: tuple[float, float] = (20.5, 105.75)) -> Array:
    """Return probabilities of a square heart and square lungs: a place counts by the share that is covered."""

    def covered(left: float, right: float) -> Array:
        columns = np.arange(OUT_SIDE, dtype=np.float32)
        return np.asarray(np.clip(np.minimum(columns + 1, right) - np.maximum(columns, left), 0, 1), np.float32)

    structures = np.zeros((3, OUT_SIDE, OUT_SIDE), np.float32)
    structures[0, 30:90] = covered(75, lungs[1])
    structures[1, 30:90] = covered(lungs[0], 55)
    structures[2, 60:95] = covered(*heart)
    return structures


def test_the_ratio_is_the_hearts_width_by_that_of_both_lungs_within_a_tenth_of_a_pixel() -> None:
    outlines = outlines_of(boxes(), WHOLE)
    assert outlines.heart.left == pytest.approx(44.25, abs=0.17)
    assert outlines.thorax.right == pytest.approx(105.75, abs=0.17)
    assert outlines.ratio == pytest.approx((83.5 - 44.25) / (105.75 - 20.5), abs=0.004)


def test_the_mirror_image_turned_back_is_the_image() -> None:
    """In the mirror image the lung at the right is outlined as a left lung, though it is the patient's right one."""
    seen_in_the_mirror = boxes()[[1, 0, 2], :, ::-1]
    assert np.array_equal(mirrored(seen_in_the_mirror), boxes())


def test_specks_beside_the_heart_do_not_widen_it() -> None:
    structures = boxes()
    structures[2, 10, 22] = 1
    assert outlines_of(structures, WHOLE).ratio == pytest.approx(outlines_of(boxes(), WHOLE).ratio)


@pytest.mark.parametrize("structure", [0, 1, 2])
def test_a_missing_structure_is_not_measured(structure: int) -> None:
    structures = boxes()
    structures[structure] = 0.4
    with pytest.raises(NotOutlined):
        outlines_of(structures, WHOLE)


def test_lungs_that_changed_sides_are_not_measured() -> None:
    with pytest.raises(NotOutlined):
        outlines_of(boxes()[[1, 0, 2]], WHOLE)


def test_plain_outlines_are_trusted() -> None:
    outlines = outlines_of(boxes(), WHOLE)
    assert distrust(outlines, outlines.ratio, outlines.ratio + 0.01) is None


def test_a_lung_at_the_edge_of_the_image_is_not_trusted() -> None:
    outlines = outlines_of(boxes(lungs=(0.0, 105.0)), WHOLE)
    assert distrust(outlines, outlines.ratio, outlines.ratio) == "cut_off"


def test_image_and_mirror_image_that_disagree_are_not_trusted() -> None:
    outlines = outlines_of(boxes(), WHOLE)
    assert distrust(outlines, outlines.ratio, outlines.ratio + 0.06) == "unsure"


def test_a_heart_in_pieces_and_a_tiny_lung_are_implausible() -> None:
    broken, tiny = boxes(), boxes()
    broken[2, 72:80] = 0
    tiny[0, 40:] = 0
    for structures in (broken, tiny):
        outlines = outlines_of(structures, WHOLE)
        assert distrust(outlines, outlines.ratio, outlines.ratio) == "implausible"


def test_blurred_outlines_are_unsure() -> None:
    outlines = outlines_of(boxes() * 0.7, WHOLE)
    assert distrust(outlines, outlines.ratio, outlines.ratio) == "unsure"


def test_a_place_in_the_outlines_finds_its_way_back_to_the_stored_image() -> None:
    """An image twice as high as wide is centred in the square."""
    structures = boxes()
    measured = measure(np.random.default_rng(1).random((2000, 1000)), lambda squares: np.stack([structures, structures]))
    assert to_image((32, 0), measured.placement) == pytest.approx((0, 0))
    assert to_image((96, 128), measured.placement) == pytest.approx((1000, 2000))


def test_a_network_that_says_another_thing_of_the_mirror_image_gets_no_number() -> None:
    wide = boxes(heart=(30, 95))
    measured = measure(
        np.random.default_rng(1).random((500, 500)),
        lambda squares: np.stack([boxes(), mirrored(wide)]),
    )
    assert measured.doubt == "unsure"
    assert measured.outlines
    assert measured.trusted is None


def folder(place: Path, rows: list[dict[str, str]]) -> Path:
    """Write a manifest, and for each row an even image and a mask of three bars."""
    for name in ("img512", "mask512"):
        (place / name).mkdir()
    with (place / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["id", "ctr_published", "ctr_from_masks"])
        writer.writeheader()
        writer.writerows(rows)
    bits = np.zeros((512, 512), np.uint8)
    bits[:, 100:200] |= 2
    bits[:, 150:300] |= 4
    bits[:, 300:400] |= 1
    for row in rows:
        Image.fromarray(bits * 30).save(place / "img512" / row["id"].replace(".png", ".jpg"))
        Image.fromarray(bits).save(place / "mask512" / row["id"])
    return place


def test_a_case_knows_its_device_its_masks_and_its_ratio(tmp_path: Path) -> None:
    name = "1.2.840.113619.2.1.png"
    (case,) = heart_lung_cases(folder(tmp_path, [{"id": name, "ctr_published": "0.6", "ctr_from_masks": "0.5"}]))
    assert (case.device, case.ratio) == ("1.2.840.113619", 0.5)
    left, right, heart = (np.flatnonzero(mask.any(axis=0)) for mask in masks(case))
    assert (left[0], right[0], heart[0], heart[-1]) == (300, 100, 150, 299)


def test_a_name_without_a_uid_is_a_device_of_its_own() -> None:
    assert device_of("10.11.1247.175.png") == "10.11"


def test_a_folder_that_lacks_something_says_what(tmp_path: Path) -> None:
    with pytest.raises(NotHeartLungData, match=r"manifest\.csv is missing"):
        heart_lung_cases(tmp_path)
    folder(tmp_path, [{"id": "1.2.3.4.5.png", "ctr_published": "", "ctr_from_masks": ""}])
    with pytest.raises(NotHeartLungData, match="no cardiothoracic ratio"):
        heart_lung_cases(tmp_path)


def test_figures_count_what_was_withheld_and_average_the_rest() -> None:
    figures = ratio_figures([0.52, None, 0.48, 0.53], [0.50, 0.7, 0.49, 0.49], ["a", "a", "b", "b"])
    assert (figures["images"], figures["withheld"]) == (4, 1)
    assert figures["mean_absolute_error"][0] == pytest.approx(0.02333, abs=1e-4)
    assert figures["bias"][0] == pytest.approx(0.01667, abs=1e-4)
    assert figures["same_side_of_half"][0] == pytest.approx(1 / 3, abs=1e-4)
    assert figures["devices"]["a"]["withheld"] == 1
    low, high = figures["mean_absolute_error"][1:]
    assert low <= 0.02333 <= high


def test_figures_of_nothing_measured_are_counts_alone() -> None:
    assert "bias" not in ratio_figures([None], [0.5], ["a"])


def test_the_shipped_bundle_is_whole_and_small_and_its_card_names_its_weights() -> None:
    bundle = read_bundle(BUNDLES / "heart_lung")
    assert bundle.engine == "radiograph"
    assert bundle.weights.stat().st_size < 20_000_000
    assert bundle.weights_sha256 in bundle.card.read_text(encoding="utf-8")
