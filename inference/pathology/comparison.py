"""Compares the network with the focus rule on held-out tiles: ``python -m inference.pathology.comparison --tiles run/tiles.npz``.

It runs what serving runs: the bundle through onnxruntime, and ``focus_score``. The rule's threshold is set on tiles of the
training band, as the network's weights were.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.onnx_session import PROCESSOR
from inference.pathology.focus import focus_score
from inference.pathology.tiles import TileClassifier
from models.bundle import BUNDLES
from models.slide_tiles.classes import CLASSES

_SETS = ("test", "test_varied", "test_motion", "test_doubled", "other_stain", "between")
_SHARP, _BLURRED, _BACKGROUND = (CLASSES.index(name) for name in ("tissue_sharp", "tissue_blurred", "background"))
#: Edges of the blur's standard deviation, micrometres, by which the misses are told apart; below 0.7 lie tiles that training
#: never labelled.
_STRENGTHS = (0.2, 0.35, 0.5, 0.7, 1.0, 1.5, 3.01)


def discrimination(sharp: NDArray[np.float64], blurred: NDArray[np.float64]) -> float:
    """Return the area under the ROC curve: how often a sharp tile scores above a blurred one (Mann and Whitney)."""
    order = np.sort(blurred)
    below, ties = np.searchsorted(order, sharp, "left"), np.searchsorted(order, sharp, "right")
    return float((below + ties).sum() / 2 / (len(sharp) * len(blurred)))


def best_threshold(sharp: NDArray[np.float64], blurred: NDArray[np.float64]) -> float:
    """Return the score at which the mean of sensitivity and specificity is greatest."""
    candidates = np.unique(np.concatenate([sharp, blurred]))
    right = [(np.mean(sharp >= one) + np.mean(blurred < one)) / 2 for one in candidates]
    return float(candidates[int(np.argmax(right))])


def compare(tiles: Path, bundle: Path) -> list[str]:
    """Return the table, one line a set and a method."""
    classifier = TileClassifier(bundle, PROCESSOR)
    lines = []
    with np.load(tiles) as kept:
        rule, rule_labels = _scores(kept["rule.tiles"]), kept["rule.labels"]
        threshold = best_threshold(rule[rule_labels == _SHARP], rule[rule_labels == _BLURRED])
        lines.append(f"rule's threshold, set on the training band: {threshold:.3f}")
        for name in _SETS:
            images, labels, blurs = kept[f"{name}.tiles"], kept[f"{name}.labels"], kept[f"{name}.blurs"]
            said = classifier.probabilities(images).astype(np.float64)
            network = said[:, _SHARP] / np.maximum(said[:, _SHARP] + said[:, _BLURRED], 1e-9)
            cut = classifier.bundle.thresholds["tissue_sharp"]
            for method, scores, at in (("network", network, cut), ("rule", _scores(images), threshold)):
                lines.append(f"{name:12} {method:8} {_line(scores, labels, blurs, at)}")
            glass = labels == _BACKGROUND
            right = f"three classes right {np.mean(said.argmax(1) == labels):.3f}"
            lines.append(f"{name:12} network  n {len(labels)}, background {int(glass.sum())}, {right}")
    return lines


def _scores(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.array([focus_score(image) for image in images])


def _line(scores: NDArray[np.float64], labels: NDArray[np.int64], blurs: NDArray[np.float64], at: float) -> str:
    sharp, blurred = scores[labels == _SHARP], scores[labels == _BLURRED]
    strengths = blurs[labels == _BLURRED]
    seen = [
        f"{low:g}-{high:.2g} µm {np.mean(blurred[(strengths >= low) & (strengths < high)] < at):.3f}"
        for low, high in pairwise(_STRENGTHS)
        if ((strengths >= low) & (strengths < high)).any()
    ]
    kept = f"sharp kept {np.mean(sharp >= at):.3f}, blurred seen {np.mean(blurred < at):.3f} ({', '.join(seen)})"
    return f"AUC {discrimination(sharp, blurred):.4f}, {kept}"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, default=BUNDLES / "slide_tiles")
    given = parser.parse_args()
    print("\n".join(compare(given.tiles, given.bundle)))


if __name__ == "__main__":
    _main()
