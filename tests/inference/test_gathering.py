"""Micro-batches: what several callers bring at once runs together, and everybody gets what is theirs."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.gathering import Gatherer


class Network:
    """Sums and doubles each image, slowly, and notes the size of each run."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        self.sizes.append(len(images))
        time.sleep(0.05)
        if images.max() > 100:
            raise RuntimeError("too bright")
        return [images.sum(axis=(1, 2)), images * 2]


def image(value: float, count: int = 1, side: int = 2) -> NDArray[np.float32]:
    return np.full((count, side, side), value, np.float32)


def together(gatherer: Gatherer, batches: Sequence[NDArray[np.float32]]) -> list[Sequence[NDArray[np.float32]]]:
    """Bring all of them at the same moment."""
    start = threading.Barrier(len(batches))

    def bring(images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        start.wait()
        return gatherer(images)

    with ThreadPoolExecutor(len(batches)) as callers:
        return list(callers.map(bring, batches))


def test_images_of_several_callers_go_through_in_one_run_and_each_gets_its_own() -> None:
    network = Network()
    answers = together(Gatherer(network, most=4, seconds=5), [image(value) for value in range(4)])
    assert network.sizes == [4]
    for value, (total, doubled) in enumerate(answers):
        assert total.tolist() == [4.0 * value]
        assert np.array_equal(doubled, image(2.0 * value))


def test_a_caller_with_two_images_keeps_them_together() -> None:
    network = Network()
    answers = together(Gatherer(network, most=4, seconds=5), [image(1, 2), image(2, 2)])
    assert network.sizes == [4]
    assert [answer[0].tolist() for answer in answers] == [[4.0, 4.0], [8.0, 8.0]]


def test_no_run_is_larger_than_allowed() -> None:
    network = Network()
    together(Gatherer(network, most=2, seconds=0.2), [image(value) for value in range(5)])
    assert sum(network.sizes) == 5
    assert max(network.sizes) == 2


def test_a_lonely_image_waits_no_longer_than_it_may() -> None:
    network = Network()
    began = time.monotonic()
    Gatherer(network, most=8, seconds=0.1)(image(1))
    assert 0.1 < time.monotonic() - began < 2
    assert network.sizes == [1]


def test_images_of_another_size_run_by_themselves() -> None:
    network = Network()
    answers = together(Gatherer(network, most=4, seconds=0.3), [image(1, side=2), image(1, side=3)])
    assert sorted(network.sizes) == [1, 1]
    assert [answer[0].tolist() for answer in answers] == [[4.0], [9.0]]


def test_an_error_of_the_run_is_told_to_each_of_its_callers_and_the_next_run_is_well() -> None:
    network = Network()
    gatherer = Gatherer(network, most=2, seconds=5)
    start, told = threading.Barrier(2), []

    def bring(value: float) -> None:
        start.wait()
        with pytest.raises(RuntimeError, match="too bright"):
            gatherer(image(value))
        told.append(value)

    with ThreadPoolExecutor(2) as callers:
        list(callers.map(bring, (1.0, 101.0)))
    assert sorted(told) == [1.0, 101.0]
    assert Gatherer(network, most=1, seconds=0)(image(3))[0].tolist() == [12.0]
