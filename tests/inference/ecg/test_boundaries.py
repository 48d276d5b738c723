"""The QRS of the whole heart begins and ends where its vector moves, whatever one lead shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from inference.ecg.averaged_beat import averaged_beat
from inference.ecg.beats import Beat
from inference.ecg.boundaries import end_of_t, global_qrs, with_global_boundaries
from inference.ecg.delineation import RATE
from tests.inference.ecg.hearts import HEART, heart, regular

R_TIMES = regular(0.8)


def voted(onsets: list[float], *, too_early: float = 0.020, too_late: float = 0.020, qrs: float = 0.09) -> list[Beat]:
    """Beats whose QRS the leads have voted too wide."""
    return [
        Beat(qrs_on=at - too_early, r=at + 0.45 * qrs, qrs_off=at + qrs + too_late, p_on=at - 0.16, t_off=at + 0.38)
        for at in onsets
    ]


@pytest.mark.parametrize("qrs", [0.08, 0.12, 0.16])
def test_a_vote_that_is_too_wide_is_narrowed_to_the_heart(qrs: float) -> None:
    beats = with_global_boundaries(voted(R_TIMES[1:-1], qrs=qrs), heart(R_TIMES, qrs=qrs, qt=0.44))
    for beat, onset in zip(beats, R_TIMES[1:-1], strict=True):
        assert beat.qrs_on == pytest.approx(onset, abs=0.012)
        assert beat.qrs_off == pytest.approx(onset + qrs, abs=0.016)
        assert beat.qrs_on <= beat.r <= beat.qrs_off


def test_a_lead_whose_qrs_begins_earlier_counts() -> None:
    """The interval of the field begins with the first lead (AHA/ACCF/HRS 2007)."""
    early = {**HEART, "V1": (0.06, -0.6, 0.20, -0.90, -0.08), "V2": (0.07, -0.6, 0.35, -1.20, 0.30)}
    usual, with_early = (
        with_global_boundaries(voted(R_TIMES[1:-1], too_early=0.0), heart(R_TIMES, qrs=0.12, qt=0.42, shape=shape))
        for shape in (HEART, early)
    )
    assert with_early[0].qrs_on < usual[0].qrs_on


@pytest.mark.parametrize("leads", [("II",), ("V5",), ("I", "II", "III")])
def test_one_lead_is_enough_and_the_tip_of_a_q_is_not_taken_for_the_onset(leads: tuple[str, ...]) -> None:
    deep = {**HEART, "II": (0.15, -0.35, 1.00, -0.15, 0.32), "V5": (0.08, -0.35, 1.20, -0.15, 0.35)}
    signals = heart(R_TIMES, shape=deep, noise_uv=1.0)
    signals["III"] = signals["II"] - signals["I"]
    beats = with_global_boundaries(voted(R_TIMES[1:-1]), {name: signals[name] for name in leads})
    assert beats[3].qrs_on == pytest.approx(R_TIMES[4], abs=0.012)


def test_in_noise_the_vote_stays() -> None:
    random = np.random.default_rng(4)
    average = np.cumsum(random.normal(0, 60, (8, 400)), axis=1)
    onset, offset = global_qrs(average, 170, 230)
    assert abs(onset - 170) <= 20
    assert abs(offset - 230) <= 20


def test_a_beat_of_another_shape_keeps_its_own_boundaries() -> None:
    signals = heart(R_TIMES)
    other = heart(
        [R_TIMES[4]], qrs=0.16, p=False, shape={name: tuple(-2 * height for height in row) for name, row in HEART.items()}
    )  # type: ignore[misc]
    begin, end = round((R_TIMES[4] - 0.3) * RATE), round((R_TIMES[4] + 0.45) * RATE)
    for name, row in signals.items():
        row[begin:end] = other[name][begin:end]
    beats = voted(R_TIMES[1:-1])
    mended = with_global_boundaries(beats, signals)
    assert mended[3] == beats[3]
    assert mended[2] != beats[2]


@pytest.mark.parametrize("vote", [-0.050, -0.020, 0.0, 0.050])
def test_t_ends_where_the_vector_comes_to_rest_whatever_the_leads_voted(vote: float) -> None:
    beats = [replace(beat, t_off=(beat.t_off or 0) + vote) for beat in voted(R_TIMES[1:-1])]
    for beat, onset in zip(with_global_boundaries(beats, heart(R_TIMES)), R_TIMES[1:-1], strict=True):
        assert beat.t_off == pytest.approx(onset + 0.36, abs=0.02)


def test_a_lead_whose_t_ends_later_counts() -> None:
    signals, late = heart(R_TIMES), heart(R_TIMES, qt=0.42)
    usual, longer = (with_global_boundaries(voted(R_TIMES[1:-1]), {**signals, "V2": leads["V2"]}) for leads in (signals, late))
    assert all((other.t_off or 0) > (one.t_off or 0) + 0.015 for one, other in zip(usual, longer, strict=True))


@pytest.mark.parametrize("height", [0.0, 1e-6])
def test_where_there_is_no_t_the_vote_stays(height: float) -> None:
    average = np.random.default_rng(4).normal(0, 2000, (8, 600)) * height
    assert end_of_t(average, 240, 400) == pytest.approx(400, abs=round(0.060 * RATE))


def test_no_t_reaches_into_the_next_beat() -> None:
    fast = regular(0.42, first=0.5)
    beats = with_global_boundaries(voted(fast[1:-1]), heart(fast, qt=0.30, pr=0.12))
    assert all((one.t_off or 0) <= other.qrs_on for one, other in pairwise(beats))


def test_too_few_beats_cannot_be_averaged() -> None:
    rows = np.stack(list(heart([0.5], seconds=2).values()))
    assert averaged_beat(voted([0.5]), rows) is None
    assert with_global_boundaries(voted([0.5]), {"II": rows[1]}) == tuple(voted([0.5]))
