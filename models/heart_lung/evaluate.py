"""Measures the networks of the cross-validation, each on the devices that it never saw, and tries the failure detector.

``python -m models.heart_lung.evaluate --data ../shared/data/heart_lung --limbs ../shared/data/fracture --run run``
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from PIL import Image

from models.heart_lung.agreement import mean_dice
from models.heart_lung.bank import trunk_session
from models.heart_lung.data import greys, heart_lung_cases
from models.heart_lung.figures import ratio_figures
from models.heart_lung.measure import Measured, Network, measure
from models.heart_lung.network import Decoder

#: Limb radiographs, turned chests and inverted chests on which the failure detector is tried, about so many of each.
LIMBS = 20


def network_of(session: onnxruntime.InferenceSession, weights: Path) -> Network:
    """Return the trunk with a decoder that was trained with some devices held out."""
    decoder = Decoder().eval()
    decoder.load_state_dict(torch.load(weights, weights_only=True))

    def run(squares: NDArray[np.float32]) -> NDArray[np.float32]:
        features = tuple(torch.from_numpy(part) for part in session.run(None, {"image": squares}))
        with torch.inference_mode():
            return np.asarray(torch.sigmoid(decoder(features)).numpy(), np.float32)

    return run


def evaluate(data: Path, limbs: Path, run: Path, threads: int) -> dict[str, Any]:
    """Return the figures; the predictions are written beside them by ``main``."""
    session = trunk_session(threads)
    cases = heart_lung_cases(data)
    networks = {group: network_of(session, run / f"decoder_without_{group}.pt") for group in {case.group for case in cases}}
    images = greys(cases)
    seen = [measure(grey, networks[case.group]) for case, grey in zip(cases, images, strict=True)]
    devices, truth = [case.device for case in cases], [case.ratio for case in cases]
    trusted = [one.trusted.ratio if one.trusted else None for one in seen]
    spoiled = [rotated for grey in images[:: max(1, len(images) // LIMBS)] for rotated in (np.rot90(grey), 255 - grey)]
    files = sorted((limbs / "img384").iterdir())
    strangers = [np.asarray(Image.open(file).convert("L")) for file in files[:: len(files) // LIMBS][:LIMBS]]
    whole = network_of(session, run / "decoder_without_none.pt")
    return {
        **ratio_figures(trusted, truth, devices),
        "without_failure_detector": ratio_figures([one.outlines.ratio if one.outlines else None for one in seen], truth, devices),
        "dice": mean_dice(seen, cases),
        "withheld_because": dict(Counter(one.doubt for one in seen if one.doubt)),
        "detector": {
            "turned_chests": _withheld([measure(grey, whole) for grey in spoiled[::2]]),
            "inverted_chests": _withheld([measure(grey, whole) for grey in spoiled[1::2]]),
            "limbs": _withheld([measure(grey, whole) for grey in strangers]),
        },
        "predictions": [
            {
                "image": case.image.stem,
                "found": round(one.outlines.ratio, 4) if one.outlines else None,
                "true": case.ratio,
                "doubt": one.doubt,
            }
            for case, one in zip(cases, seen, strict=True)
        ],
    }


def _withheld(seen: Sequence[Measured]) -> list[float]:
    return [round(float(np.mean([one.trusted is None for one in seen])), 3), len(seen)]


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the heart and lung network with devices held out.")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, img512/ and mask512/")
    parser.add_argument("--limbs", type=Path, required=True, help="folder with img384/, out of scope")
    parser.add_argument("--run", type=Path, required=True, help="folder with decoder_without_*.pt")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = evaluate(options.data, options.limbs, options.run, options.threads)
    predictions = figures.pop("predictions")
    (options.run / "predictions.json").write_text(json.dumps(predictions, indent=1) + "\n", encoding="utf-8")
    (options.run / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
