"""Measures the limb network out of fold: every image by the network that saw nothing of its group.

``python -m models.limbs.evaluate --data ../shared/data/fracture --run run --others pictures``

Calibration and operating points are fitted on the same out-of-fold scores; what is told of an operating point is measured
with the one that the other folds chose.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.chest.calibration import at_sensitivity, at_specificity, auc, fit_platt
from models.limbs.bank import Bank, bank_of
from models.limbs.data import FOLDS, LimbCase, folds_of, greys, limb_cases
from models.limbs.figures import Scored, fracture_figures, placed
from models.limbs.network import Deployed, Late, averaged, new_network
from models.limbs.preprocessing import CELL, prepared
from models.limbs.reading import KINDS, PARTS, PROJECTIONS, output_of
from models.limbs.strangers import StrangerBank, stranger_bank_of

#: Share of the fractured limbs of a part that its operating point finds.
SENSITIVITY = 0.9
#: Share of the limbs without metal that get no caution about it.
SPECIFICITY_OF_METAL = 0.95
#: Share of the limbs that the gate may refuse; chests and drawn pictures are few in a batch, so that 0.5 would be too lenient.
LIMBS_REFUSED = 0.01
#: Failures that are told, of each kind.
FAILURES = 12

Array = NDArray[np.float64]


def late_of(file: Path) -> Late:
    """Return the trained part with the weights of a file."""
    late = new_network()[1]
    late.load_state_dict(torch.load(file, weights_only=True))
    return late.to(memory_format=torch.channels_last).eval()


def members(run: Path) -> list[Late]:
    """Return the networks of all folds."""
    return [late_of(run / f"limbs_without_{fold}.pt") for fold in range(FOLDS)]


def both_views(late: Late, plain: Tensor, mirrored: Tensor) -> dict[str, Tensor]:
    """Return the averaged logits of images and their mirror images from what the frozen part saw, in bfloat16 as in training."""
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for one, other in zip(plain.split(16), mirrored.split(16), strict=True):
            ready = (value.contiguous(memory_format=torch.channels_last) for value in (one, other))
            said = [{name: value.float() for name, value in late(value).items()} for value in ready]
            parts.append(averaged(*said))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def out_of_fold(run: Path, bank: Bank, strangers: StrangerBank, folds: NDArray[np.int64]) -> tuple[dict[str, Tensor], Tensor]:
    """Return the logits of every image, and ``what`` of every stranger, by the network that did not learn from it."""
    said: dict[str, Tensor] = {}
    strange = torch.empty(len(strangers.fold), len(KINDS) + len(PROJECTIONS) + 1)
    for fold in range(FOLDS):
        limbs, others = of_fold(run, fold, bank, strangers, folds)
        for name, value in limbs.items():
            said.setdefault(name, torch.empty(len(folds), *value.shape[1:]))[torch.from_numpy(folds == fold)] = value
        strange[strangers.fold == fold] = others
    return said, strange


def of_fold(
    run: Path, fold: int, bank: Bank, strangers: StrangerBank, folds: NDArray[np.int64]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the logits of a fold's images and ``what`` of its strangers; they are kept beside the weights."""
    weights, file = run / f"limbs_without_{fold}.pt", run / f"said_without_{fold}.pt"
    if not file.is_file() or file.stat().st_mtime < weights.stat().st_mtime:
        late = late_of(weights)
        held = bank.first[torch.from_numpy(folds == fold)]
        plain = strangers.plain[strangers.fold == fold]
        said = both_views(late, bank.features[held], bank.features[held + 1])
        torch.save({"limbs": said, "strangers": both_views(late, plain, plain)["what"]}, file)
    kept = torch.load(file, weights_only=True)
    return kept["limbs"], kept["strangers"]


def evaluate(data: Path, run: Path, others: Path | None) -> dict[str, Any]:
    """Return the figures, with ``predictions`` for ``main`` to write beside them."""
    cases, bank, strangers = limb_cases(data), bank_of(run / "bank.pt"), stranger_bank_of(run / "strangers.pt")
    folds = folds_of(cases)
    said, strange = out_of_fold(run, bank, strangers, folds)
    logits = said["fracture"].double().numpy()
    truth = np.array([case.fractured for case in cases], float)
    plain = np.array([not case.hardware for case in cases])
    slope, intercepts = fit_platt(logits[plain, None], truth[plain, None])
    probability = 1 / (1 + np.exp(-(slope * logits + intercepts[0])))
    thresholds = _thresholds(cases, probability, np.ones(len(cases), bool))
    elsewhere = {fold: _thresholds(cases, probability, folds != fold) for fold in range(FOLDS)}
    places, sides = torch.sigmoid(said["places"]).numpy(), (torch.exp(said["sides"]) * CELL).numpy()
    scored = [
        Scored(
            case=case,
            probability=float(probability[index]),
            threshold=threshold_of(case.parts, elsewhere[int(folds[index])]),
            **_placed(case, places[index], sides[index]),
        )
        for index, case in enumerate(cases)
    ]
    what = torch.sigmoid(said["what"]).double().numpy()
    gate = _gate(what[:, KINDS.index("limb")], torch.sigmoid(strange).numpy(), strangers)
    return {
        **fracture_figures(scored),
        "calibration": {"slope": slope, "intercept": float(intercepts[0])},
        "reliability": _reliability(probability[plain], truth[plain]),
        "thresholds": thresholds,
        "what": _what_figures(cases, what),
        "gate": gate,
        "others": _other_figures(others, run, gate["threshold"]) if others else {},
        "failures": _failures(scored),
        "predictions": [
            {
                "image": one.case.file.name,
                "fractured": one.case.fractured,
                "hardware": one.case.hardware,
                "probability": round(one.probability, 4),
                "fold": int(fold),
                "hit": one.hit,
            }
            for one, fold in zip(scored, folds, strict=True)
        ],
    }


def threshold_of(parts: frozenset[str], thresholds: dict[str, float]) -> float:
    """Return the operating point of an image: the lowest of the parts that it shows, or of all where none is known."""
    return min(thresholds[part] for part in parts or PARTS)


def _placed(case: LimbCase, places: NDArray[np.float32], sides: NDArray[np.float32]) -> dict[str, Any]:
    if not case.boxes:
        return {"hit": None, "overlap": None}
    unused = {"probability": 1, "kind": len(KINDS), "projection": len(PROJECTIONS), "hardware": 1}
    nothing = {name: np.zeros(size, np.float32) for name, size in unused.items()}
    return placed(case, output_of({**nothing, "places": places, "sides": sides}, prepared(greys(case))[1]))


def _thresholds(cases: Sequence[LimbCase], probability: Array, chosen: NDArray[np.bool_]) -> dict[str, float]:
    points = {}
    for part in PARTS:
        inside = chosen & np.array([part in case.parts and not case.hardware for case in cases])
        truth = np.array([case.fractured for case in cases], int)
        points[part] = round(at_sensitivity(probability[inside], truth[inside], SENSITIVITY), 4)
    return points


def _reliability(probability: Array, truth: Array) -> list[list[float]]:
    """Return for tenths of the images by probability: number, mean probability, share that is fractured."""
    tenths = np.array_split(np.argsort(probability, kind="stable"), 10)
    return [[len(one), round(float(probability[one].mean()), 3), round(float(truth[one].mean()), 3)] for one in tenths]


def _what_figures(cases: Sequence[LimbCase], what: Array) -> dict[str, Any]:
    """Return how often the most probable part and projection are right (images that show one), and the AUC of metal."""
    figures: dict[str, Any] = {}
    for title, names, first, of in (
        ("part", PARTS, 0, lambda case: case.parts),
        ("projection", PROJECTIONS, len(KINDS), lambda case: case.projections),
    ):
        single = [index for index, case in enumerate(cases) if len(of(case)) == 1]
        true = np.array([names.index(next(iter(of(cases[index])))) for index in single])
        found = what[single, first : first + len(names)].argmax(1)
        figures[title] = {
            "images": len(single),
            "right": round(float((found == true).mean()), 4),
            "by_name": {
                name: [int((true == at).sum()), round(float((found[true == at] == at).mean()), 4)]
                for at, name in enumerate(names)
                if (true == at).any()
            },
        }
    metal = np.array([case.hardware for case in cases], int)
    figures["hardware"] = {"images": int(metal.sum()), "auc": round(auc(what[:, -1], metal), 4)}
    figures["hardware"]["threshold"] = limit = round(at_specificity(what[:, -1], metal, SPECIFICITY_OF_METAL), 4)
    figures["hardware"]["false"] = round(float((what[metal == 0, -1] >= limit).mean()), 4)
    figures["hardware"]["found"] = round(float((what[metal == 1, -1] >= limit).mean()), 4)
    return figures


def _gate(limbs: Array, strange: NDArray[np.float32], strangers: StrangerBank) -> dict[str, Any]:
    """Return the share of limbs refused, and for each kind of stranger number and share refused, out of fold."""
    gate, threshold = strange[:, KINDS.index("limb")], round(float(np.quantile(limbs, LIMBS_REFUSED)), 4)
    names = np.array(strangers.names)
    return {
        "threshold": threshold,
        "limbs_refused": [len(limbs), round(float((limbs < threshold).mean()), 4)],
        "strangers_refused": {
            str(name): [int((names == name).sum()), round(float((gate[names == name] < threshold).mean()), 4)]
            for name in sorted(set(strangers.names))
        },
    }


def _other_figures(folder: Path, run: Path, threshold: float) -> dict[str, list[float]]:
    """Return for each subfolder of pictures that nothing was learned from: number and share refused."""
    network = Deployed(new_network()[0], members(run), 1.0, 0.0).eval()
    refused = {}
    for place in sorted(one for one in folder.iterdir() if one.is_dir()):
        gates = []
        for file in sorted(place.iterdir()):
            with Image.open(file) as image:
                square = prepared(np.asarray(image.convert("L")))[0]
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
                gates.append(float(network(torch.from_numpy(square)[None, None])[3][0, KINDS.index("limb")]))
        refused[place.name] = [len(gates), round(float(np.mean(np.array(gates) < threshold)), 4)]
    return refused


def _failures(scored: Sequence[Scored]) -> dict[str, list[list[Any]]]:
    """Return the fractures without metal with the lowest probabilities, and the whole limbs with the highest."""
    by_probability = sorted((one for one in scored if not one.case.hardware), key=lambda one: one.probability)
    missed = [one for one in by_probability if one.case.fractured][:FAILURES]
    alarmed = [one for one in reversed(by_probability) if not one.case.fractured][:FAILURES]
    return {
        name: [[one.case.file.name, "+".join(sorted(one.case.parts)), round(one.probability, 3)] for one in some]
        for name, some in (("missed", missed), ("false_alarms", alarmed))
    }


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the limb network out of fold.")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv and img384/")
    parser.add_argument("--run", type=Path, required=True, help="folder that models.limbs.train wrote")
    parser.add_argument("--others", type=Path, help="folder with a subfolder of pictures for each kind that is out of scope")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    figures = evaluate(options.data, options.run, options.others)
    predictions = figures.pop("predictions")
    (options.run / "predictions.json").write_text(json.dumps(predictions, indent=1) + "\n", encoding="utf-8")
    (options.run / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
