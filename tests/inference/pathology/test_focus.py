"""The blurred twin of a tile always scores worse, whatever the strength of its stain."""

from __future__ import annotations

import numpy as np
import pytest

from inference.pathology.focus import focus_score
from tests.pacs_bridge.slides.slide_files import draw_slide


def middle(**how: float) -> np.ndarray:
    return draw_slide(512, **how)[192:320, 192:320]


def test_focus_falls_as_blur_grows() -> None:
    scores = [focus_score(middle(blur_um=blur)) for blur in (0.0, 0.5, 1.0, 2.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1] + 0.2


@pytest.mark.parametrize("stain", [0.4, 1.0, 1.6])
def test_a_blurred_twin_scores_worse_in_pale_and_in_dark_stain(stain: float) -> None:
    assert focus_score(middle(stain=stain)) > focus_score(middle(stain=stain, blur_um=1.5)) + 0.15


def test_the_strength_of_the_stain_changes_little() -> None:
    assert focus_score(middle(stain=0.5)) == pytest.approx(focus_score(middle(stain=1.5)), abs=0.12)


def test_a_tile_without_structure_is_not_sharp() -> None:
    assert focus_score(np.full((128, 128, 3), 240, np.uint8)) == 0.0
