"""Tissue is found where it was drawn, and nowhere on empty glass."""

from __future__ import annotations

import math

import numpy as np
import pytest

from inference.pathology.tissue import find_tissue, outlines
from tests.pacs_bridge.slides.slide_files import draw_slide


def overview(**how: float) -> np.ndarray:
    pixels = draw_slide(1024, **how)
    return pixels.reshape(64, 16, 64, 16, 3).mean(axis=(1, 3)).astype(np.uint8)


def test_the_area_of_a_disc_is_that_of_the_disc() -> None:
    found = find_tissue(overview(), 8.0)
    radius_mm = 0.42 * 1024 * 0.5 / 1000
    assert found.area_mm2 == pytest.approx(math.pi * radius_mm**2, rel=0.08)
    assert found.fraction == pytest.approx(math.pi * 0.42**2, rel=0.08)


def test_pale_tissue_is_tissue_too() -> None:
    assert find_tissue(overview(stain=0.3), 8.0).fraction == pytest.approx(math.pi * 0.42**2, rel=0.15)


def test_empty_glass_holds_none_though_it_is_not_quite_white() -> None:
    assert find_tissue(overview(tissue=False), 8.0).area_mm2 == 0


def test_the_black_edge_of_the_scan_is_no_tissue() -> None:
    glass = overview(tissue=False)
    glass[:10] = (3, 0, 2)
    assert find_tissue(glass, 8.0).area_mm2 == 0


def test_an_image_of_one_colour_is_no_error() -> None:
    assert find_tissue(np.full((40, 40, 3), 255, np.uint8), 8.0).fraction == 0


def test_outlines_are_shares_of_the_image_and_go_around_the_tissue() -> None:
    polygons = outlines(find_tissue(overview(), 8.0))
    assert len(polygons) == 1
    xs, ys = zip(*polygons[0], strict=True)
    assert (min(xs), max(xs)) == pytest.approx((0.08, 0.92), abs=0.03)
    assert (min(ys), max(ys)) == pytest.approx((0.08, 0.92), abs=0.03)


def test_tissue_that_leaves_the_image_is_closed_at_its_edge() -> None:
    glass = overview(tissue=False)
    glass[20:40, 50:] = (200, 120, 180)
    (polygon,) = outlines(find_tissue(glass, 8.0))
    assert max(x for x, _ in polygon) == 1.0
    assert polygon[0] == polygon[-1]
