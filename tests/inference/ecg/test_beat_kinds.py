"""Usual beats, early ones and ventricular ones are told apart by shape, time and width."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from inference.ecg.beat_kinds import with_kinds
from inference.ecg.beats import Beat
from tests.inference.ecg.hearts import HEART, heart, regular

#: A wide complex the other way round, as from the ventricles.
VENTRICULAR = {name: (0.0, 0.0, -1.3 * r - 0.2, -1.5 * s, -t) for name, (_, _, r, s, t) in HEART.items()}
RHYTHM = regular(0.8)


def kinds(usual: list[float], ventricular: list[float] = [], *, p: bool = True, noise_uv: float = 4.0, wide: float = 0.15) -> str:  # noqa: B006
    """Return the kinds of the beats, in order of time."""
    signals = heart(usual, p=p, noise_uv=noise_uv)
    if ventricular:
        others = heart(ventricular, qrs=wide, qt=0.42, p=False, shape=VENTRICULAR, noise_uv=0.0)
        signals = {name: row + others[name] for name, row in signals.items()}
    beats = sorted(
        [beat_at(at, 0.09, p) for at in usual] + [beat_at(at, wide, False) for at in ventricular], key=lambda beat: beat.r
    )
    return "".join(beat.kind for beat in with_kinds(beats, signals))


def beat_at(onset: float, qrs: float, p: bool) -> Beat:
    return Beat(
        qrs_on=onset, r=onset + 0.48 * qrs, qrs_off=onset + qrs, p_on=onset - 0.16 if p else None, p_off=None, t_off=onset + 0.38
    )


def without(rhythm: list[float], *numbers: int) -> list[float]:
    return [at for number, at in enumerate(rhythm) if number not in numbers]


def test_a_regular_heart_has_usual_beats_only() -> None:
    assert kinds(RHYTHM) == "N" * len(RHYTHM)
    assert kinds(RHYTHM, noise_uv=60.0) == "N" * len(RHYTHM)


def test_an_early_wide_beat_of_another_shape_with_its_pause_is_ventricular() -> None:
    assert kinds(without(RHYTHM, 5), [RHYTHM[5] - 0.25]) == "NNNNNVNNNNNN"


def test_the_usual_beat_behind_an_interpolated_one_is_no_early_beat() -> None:
    slow = regular(1.1)
    assert kinds(slow, [slow[3] + 0.5]) == "NNNNVNNNNN"[: len(slow) + 1]


def test_an_escape_after_a_pause_is_ventricular() -> None:
    assert kinds(without(RHYTHM, 5, 6), [RHYTHM[5] + 0.35])[5] == "V"


def test_in_bigeminy_every_second_beat_is_ventricular() -> None:
    sinus = regular(1.4, first=0.4)
    coupled = [at + 0.5 for at in sinus[:-1]]
    assert kinds(sinus, coupled) == "NV" * (len(sinus) - 1) + "N"


def test_an_early_beat_of_the_usual_shape_with_a_pause_is_supraventricular() -> None:
    early = [*RHYTHM[:5], RHYTHM[5] - 0.25, *(at - 0.1 for at in RHYTHM[6:])]
    assert kinds(early) == "NNNNNSNNNNNN"


def test_a_sinus_that_becomes_faster_has_no_early_beats() -> None:
    steps = np.concatenate([np.full(5, 0.9), np.linspace(0.85, 0.55, 7)])
    assert set(kinds([float(at) for at in 0.4 + np.cumsum(steps)])) == {"N"}


def test_without_p_waves_and_with_changing_distances_early_says_nothing() -> None:
    steps = np.random.default_rng(3).permutation([0.5, 0.9, 0.6, 1.1, 0.7, 0.55, 1.0, 0.8, 0.6, 0.95])
    assert set(kinds([float(at) for at in 0.4 + np.cumsum(steps)], p=False)) == {"N"}


def test_a_narrow_beat_of_another_shape_is_not_decided() -> None:
    assert kinds(without(RHYTHM, 5), [RHYTHM[5] - 0.25], wide=0.06)[5] == "?"


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_beats_are_not_decided(count: int) -> None:
    assert kinds(RHYTHM[:count]) == "?" * count


def test_noise_has_no_kinds() -> None:
    random = np.random.default_rng(5)
    signals: dict[str, npt.NDArray[np.float64]] = {name: random.normal(0, 300, 5000) for name in HEART}
    found = with_kinds([beat_at(at, 0.09, False) for at in RHYTHM], signals)
    assert {beat.kind for beat in found} == {"?"}
    assert all(one.r < other.r for one, other in pairwise(found))
