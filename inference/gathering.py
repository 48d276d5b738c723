"""Micro-batches: images that several studies bring at once go through a network in one run.

It pays where a run of many costs little more than a run of one, on a graphics card. On a processor it does not: see
``docs/bench.md``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

#: A batch in (N, ...), one array an output, each with N first.
Run = Callable[[NDArray[np.float32]], Sequence[NDArray[np.float32]]]


class _Waiting:
    """One caller's images, and what came of them."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images = images
        self.outputs: list[NDArray[np.float32]] | None = None
        self.error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None


class Gatherer:
    """Runs what its callers bring together. The first of them waits a little for others, and runs for all."""

    def __init__(self, run: Run, *, most: int, seconds: float) -> None:
        """Gather at most ``most`` images, and wait at most ``seconds`` for them."""
        self._run, self._most, self._seconds = run, most, seconds
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._gathering = False

    def __call__(self, images: NDArray[np.float32]) -> Sequence[NDArray[np.float32]]:
        """Return the outputs for ``images`` (N, ...); an error of the run is raised in each of its callers."""
        mine = _Waiting(images)
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
        while not mine.done:
            batch = self._gather(mine)
            if batch:
                self._run_together(batch)
        if mine.error:
            raise mine.error
        assert mine.outputs is not None
        return mine.outputs

    def _gather(self, mine: _Waiting) -> list[_Waiting]:
        """Return the next batch, or nothing when another caller has done ours meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: mine.done or not self._gathering)
            if mine.done:
                return []
            self._gathering = True
            self._changed.wait_for(lambda: len(self._together()) < len(self._waiting) or self._full(), self._seconds)
            batch = self._together()
            self._waiting = [one for one in self._waiting if one not in batch]
            self._gathering = False
            self._changed.notify_all()
            return batch

    def _full(self) -> bool:
        return sum(len(one.images) for one in self._waiting) >= self._most

    def _together(self) -> list[_Waiting]:
        """Return from the first on those that fit into one run: of one shape, and not too many."""
        batch: list[_Waiting] = []
        count = 0
        for one in self._waiting:
            count += len(one.images)
            if batch and (one.images.shape[1:] != batch[0].images.shape[1:] or count > self._most):
                break
            batch.append(one)
        return batch

    def _run_together(self, batch: list[_Waiting]) -> None:
        ends = np.cumsum([len(one.images) for one in batch])[:-1]
        try:
            outputs = self._run(np.concatenate([one.images for one in batch]))
            parts = [np.split(output, ends) for output in outputs]
        except Exception as error:
            for one in batch:
                one.error = error
        else:
            for one, pieces in zip(batch, zip(*parts, strict=True), strict=True):
                one.outputs = list(pieces)
        with self._changed:
            self._changed.notify_all()
