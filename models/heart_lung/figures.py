"""How well cardiothoracic ratios agree with those of people, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
#: A heart wider than this share of the thorax is called enlarged.
ENLARGED = 0.5

Array = NDArray[np.float64]


def ratio_figures(found: Sequence[float | None], true: Sequence[float], groups: Sequence[str]) -> dict[str, Any]:
    """Return mean absolute error, bias, share on the same side of 0.5 and the same by device.

    ``found`` holds None where the failure detector withheld the number. Intervals are 95 %, bootstrap over images.
    """
    answered = np.array([value is not None for value in found])
    ratios = np.array([np.nan if value is None else value for value in found], float)
    truth = np.array(true, float)
    kept, asked = ratios[answered], truth[answered]
    figures: dict[str, Any] = {"images": len(truth), "withheld": int((~answered).sum())}
    if not len(kept):
        return figures
    figures |= _agreement(kept, asked)
    labels = np.array(groups)
    figures["devices"] = {
        str(group): {
            "images": int((labels == group).sum()),
            "withheld": int((~answered & (labels == group)).sum()),
            **(_agreement(ratios[chosen], truth[chosen]) if (chosen := answered & (labels == group)).any() else {}),
        }
        for group in sorted(set(groups))
    }
    return figures


def _agreement(found: Array, true: Array) -> dict[str, Any]:
    error = found - true
    same = ((found > ENLARGED) == (true > ENLARGED)).astype(float)
    return {
        "mean_absolute_error": _interval(np.abs(error), np.mean),
        "median_absolute_error": _interval(np.abs(error), np.median),
        "bias": _interval(error, np.mean),
        "same_side_of_half": _interval(same, np.mean),
    }


def _interval(values: Array, statistic: Callable[..., Any]) -> list[float]:
    drawn = np.random.default_rng(1).integers(0, len(values), (DRAWS, len(values)))
    low, high = np.percentile(statistic(values[drawn], axis=1), (2.5, 97.5))
    return [round(float(value), 5) for value in (statistic(values), low, high)]
