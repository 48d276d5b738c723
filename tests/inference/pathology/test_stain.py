"""Stains are told by their colours: haematoxylin and eosin are known, another dye is not taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from inference.pathology.stain import Stain, glass_colour, measure_stain
from tests.pacs_bridge.slides.slide_files import draw_slide

_WHITE = np.array([243.0, 242.0, 244.0])


def measured(**how: float) -> Stain:
    found = measure_stain(draw_slide(512, **how)[100:400, 100:400].reshape(-1, 3), _WHITE)
    assert found is not None
    return found


def test_haematoxylin_and_eosin_are_known_by_their_directions() -> None:
    found = measured()
    assert found.looks_like_he
    assert found.vectors[0, 0] > found.vectors[1, 0]


def test_twice_the_stain_is_about_twice_the_density() -> None:
    weak, strong = measured(stain=0.6), measured(stain=1.2)
    assert strong.haematoxylin / weak.haematoxylin == pytest.approx(2, rel=0.35)
    assert strong.density > weak.density


def test_brown_immunohistochemistry_is_not_taken_for_it() -> None:
    from skimage.data import immunohistochemistry

    found = measure_stain(immunohistochemistry()[::3, ::3].reshape(-1, 3), np.array([255.0, 255.0, 255.0]))
    assert found is not None
    assert not found.looks_like_he


def test_glass_has_no_stain_to_measure() -> None:
    assert measure_stain(draw_slide(256, tissue=False).reshape(-1, 3), _WHITE) is None


def test_the_glass_is_what_lies_outside_the_tissue() -> None:
    overview = np.full((40, 40, 3), 200, np.uint8)
    tissue = np.zeros((40, 40), np.bool_)
    tissue[:20], overview[:20] = True, 90
    assert glass_colour(overview, tissue).tolist() == [200, 200, 200]
    assert glass_colour(overview, np.ones((40, 40), np.bool_)).tolist() == [255, 255, 255]
