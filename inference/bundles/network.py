"""A bundle's network: loaded at its first reading, run on a whole image or window by window."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from core.errors import SumuError
from inference.onnx_session import Hardware, open_session
from models.bundle import read_bundle
from models.bundle_plan import Plan


class StrangeAnswer(SumuError):
    """A network answered something that is no number."""

    def __init__(self, name: str, output: str) -> None:
        super().__init__(
            f"The model '{name}' gave values in '{output}' that are not finite.",
            remedy=f"Take it out of use (sumu model use {name} none) and send its maker the study's description, without names.",
        )


class BundleNetwork:
    """A session, shared by threads."""

    def __init__(self, plan: Plan, hardware: Hardware) -> None:
        self._plan, self._hardware = plan, hardware
        self._lock = threading.Lock()
        self._session: onnxruntime.InferenceSession | None = None

    def run(self, image: NDArray[Any]) -> Mapping[str, NDArray[np.float32]]:
        """Return each declared output of ``image`` (1, channels, axes) without its batch, as 32-bit floating point.

        Raises
        ------
        BundleIncomplete, WeightsAltered
            If the weights cannot be trusted or are not there.
        StrangeAnswer
            If an output is not finite.
        """
        entry = self._plan.bundle.inputs[0]
        roi = [side for side in entry.shape[1:] if isinstance(side, int)]
        if entry.patch and len(roi) == image.ndim - 2:
            return self._by_windows(image, roi)
        return self._whole(image)

    def warm(self) -> None:
        """Load the network, and run it once where its input has one size."""
        entry = self._plan.bundle.inputs[0]
        sides = [side for side in entry.shape if isinstance(side, int)]
        if len(sides) == len(entry.shape):
            self._whole(np.zeros((1, *sides), entry.dtype))
        else:
            self._loaded()

    def _whole(self, image: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        bundle = self._plan.bundle
        names = list(dict.fromkeys(result.output.name for result in self._plan.results))
        answers = self._loaded().run(names, {bundle.inputs[0].name: image})
        for name, answer in zip(names, answers, strict=True):
            if not np.isfinite(answer).all():
                raise StrangeAnswer(bundle.name, name)
        return {name: np.asarray(answer[0], np.float32) for name, answer in zip(names, answers, strict=True)}

    def _by_windows(self, image: NDArray[Any], roi: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        """Average over windows that overlap, as MONAI's ``sliding_window_inference`` does with its defaults."""
        missing = [max(0, side - had) for side, had in zip(roi, image.shape[2:], strict=True)]
        padded = np.pad(image, [(0, 0), (0, 0), *((one // 2, one - one // 2) for one in missing)])
        sums: dict[str, NDArray[np.float32]] = {}
        seen = np.zeros(padded.shape[2:], np.float32)
        for window in windows(padded.shape[2:], roi, self._plan.overlap):
            place: Any = (slice(None), *window)
            seen[window] += 1
            for name, answer in self._whole(np.ascontiguousarray(padded[:, *place])).items():
                whole = sums.setdefault(name, np.zeros((answer.shape[0], *seen.shape), np.float32))
                whole[place] += answer
        inner: Any = (
            slice(None),
            *(slice(one // 2, one // 2 + had) for one, had in zip(missing, image.shape[2:], strict=True)),
        )
        return {name: (whole / seen)[inner] for name, whole in sums.items()}

    def _loaded(self) -> onnxruntime.InferenceSession:
        with self._lock:
            if self._session is None:
                self._session = open_session(read_bundle(self._plan.bundle.folder).weights, self._hardware)
            return self._session


def windows(size: Sequence[int], roi: Sequence[int], overlap: float) -> Iterator[tuple[slice, ...]]:
    """Yield the windows that cover an image, the last of each axis at its end."""
    starts = []
    for had, side in zip(size, roi, strict=True):
        step = max(1, side if side == had else int(side * (1 - overlap)))
        count = max(0, math.ceil((had - side) / step)) + 1
        starts.append([min(number * step, had - side) for number in range(count)])
    for corner in itertools.product(*starts):
        yield tuple(slice(first, first + side) for first, side in zip(corner, roi, strict=True))
