"""Measures the network by cross-validation; chooses calibration and operating points on scores of patients that did not teach.

``python -m models.chest.evaluate --data CHESTS --limbs LIMBS --other-chests OTHER --run run``

Only the careful source measures: every score of an image comes from a fit that never saw its patient. The numbers of the
patients that the manifest sets aside for validation are given beside those of all.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.chest import calibration
from models.chest.anatomy import put_back
from models.chest.bank import Seen, kept, look
from models.chest.crossvalidation import FOLDS, REPEATS
from models.chest.data import ChestCase, grey_of, load
from models.chest.deployed import Readings
from models.chest.figures import mean_auc, reliability, subgroups
from models.chest.findings import ABNORMAL, CODES
from models.chest.fits import Fits, load_fits
from models.chest.gate import THRESHOLD, Gate
from models.chest.pointing import ACTIVATION_CELLS, Peak, peaks_of, pointing
from models.chest.preprocessing import BlankImage, prepare
from models.chest.readings import Lesson
from models.chest.targets import lesson_of, patients_of
from models.chest.train import Studied, add_folders
from models.heart_lung.data import heart_lung_cases
from models.heart_lung.figures import ENLARGED

#: A finding speaks where nine of ten patients without it stay silent; triage keeps nine of ten abnormal ones.
SPECIFICITY, SENSITIVITY = 0.9, 0.9
#: A finding speaks only where the whole interval of its area lies above this, and so many images have it.
LEAST_AREA, FEWEST_POSITIVES = 0.6, 5
#: Draws of a bootstrap.
DRAWS = 500

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


class Measured:
    """Cross-validated scores of the careful source, one row an image of it."""

    def __init__(self, cases: list[ChestCase], lesson: Lesson, scores: Array) -> None:
        self.rows = np.flatnonzero(lesson.groups == 0)
        self.cases = [cases[row] for row in self.rows]
        self.labels = lesson.labels[self.rows]
        self.patients = patients_of(self.cases)
        #: (repeats, images, outputs).
        self.scores = scores[:, self.rows]
        self.teacher = lesson.teacher[self.rows]
        self.validation = np.flatnonzero([case.validation for case in self.cases])

    @property
    def mean(self) -> Array:
        """Return the mean score of each image over the repetitions."""
        return np.asarray(self.scores.mean(axis=0))

    def area(self, index: int, rows: Rows) -> float:
        """Return the area of one output on some images, averaged over the repetitions."""
        truth = self.labels[rows, index]
        return float(np.mean([calibration.auc(scores[rows, index], truth) for scores in self.scores]))

    def mean_area(self, rows: Rows) -> float:
        """Return the mean area of the findings without hernia, averaged over the repetitions."""
        return float(np.mean([mean_auc(scores, self.labels, rows) for scores in self.scores]))


def evaluate(studied: Studied, others: Path | None) -> dict[str, Any]:
    """Write ``evaluation.json`` into the run's folder: calibration, thresholds, figures; return it."""
    lesson = lesson_of(studied.cases)
    chests = studied.chests()
    fits = load_fits(studied.run)
    measured = Measured(studied.cases, lesson, fits.scores)
    repeated = np.tile(measured.labels, (len(measured.scores), 1))
    slope, intercepts = calibration.fit_platt(measured.scores.reshape(-1, len(CODES)), repeated)
    probabilities = 1 / (1 + np.exp(-(slope * measured.mean + intercepts)))
    thresholds, table = operating_points(probabilities, measured)
    everyone = np.arange(len(measured.rows))
    result = {
        "images": len(everyone),
        "patients": len(np.unique(measured.patients)),
        "validation_images": len(measured.validation),
        "folds": FOLDS,
        "repeats": REPEATS,
        "least_area": LEAST_AREA,
        "mean_auc_13": {name: _interval(measured.mean_area, measured, rows) for name, rows in _parts(measured).items()},
        "abnormal_auc": {
            name: _interval(partial(measured.area, len(CODES) - 1), measured, rows) for name, rows in _parts(measured).items()
        },
        "teacher": {
            name: {
                "mean_auc_13": mean_auc(measured.teacher, measured.labels, rows),
                "abnormal_auc": _teacher_abnormal(measured, rows),
            }
            for name, rows in _parts(measured).items()
        },
        "calibration": {"slope": slope, "intercepts": intercepts.tolist()},
        "brier": _brier(measured),
        "reliability": {
            code: reliability(probabilities[:, index], measured.labels[:, index]) for index, code in enumerate(CODES)
        },
        "thresholds": thresholds,
        "findings": table,
        "calls": _calls(probabilities, measured.labels, thresholds),
        "subgroups": subgroups(measured.mean, measured.labels, _groups(measured.cases)),
        "gate": _gate(studied, fits, lesson, others),
        "other_devices": _other_devices(studied, fits, (slope, intercepts), thresholds),
        "pointing": pointing(list(_peaks(studied.cases, chests, fits))),
    }
    (studied.run / "evaluation.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def _parts(measured: Measured) -> dict[str, Rows]:
    return {"all": np.arange(len(measured.rows)), "validation": measured.validation}


def _interval(statistic: Any, measured: Measured, rows: Rows) -> list[float]:
    value = statistic(rows)
    low, high = calibration.interval(lambda drawn: statistic(rows[drawn]), measured.patients[rows], DRAWS)
    return [value, low, high]


def _teacher_abnormal(measured: Measured, rows: Rows) -> float:
    return calibration.auc(measured.teacher[rows, -1], measured.labels[rows, -1])


def operating_points(probabilities: Array, measured: Measured) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Choose a threshold for each output that the cross-validation tells from chance."""
    thresholds: dict[str, float] = {}
    table: dict[str, dict[str, Any]] = {}
    for index, code in enumerate(CODES):
        scores, truth = probabilities[:, index], measured.labels[:, index]
        area = _interval(partial(measured.area, index), measured, np.arange(len(truth)))
        choose = (
            partial(calibration.at_sensitivity, sensitivity=SENSITIVITY)
            if code == ABNORMAL
            else partial(calibration.at_specificity, specificity=SPECIFICITY)
        )
        threshold = choose(scores, truth)
        sensitivity, specificity = calibration.out_of_fold(scores, truth, choose)
        speaks = area[1] > LEAST_AREA and truth.sum() >= FEWEST_POSITIVES
        if speaks:
            thresholds[code] = threshold
        table[code] = {
            "positives": int(truth.sum()),
            "auc": area,
            "auc_validation": measured.area(index, measured.validation),
            "auc_teacher": calibration.auc(measured.teacher[:, index], truth),
            "speaks": bool(speaks),
            "threshold": threshold,
            "sensitivity_out_of_fold": sensitivity,
            "specificity_out_of_fold": specificity,
        }
    return thresholds, table


def _brier(measured: Measured) -> dict[str, float]:
    """Brier score of probabilities whose calibration did not see the case, and of the bare prevalence."""
    scores, labels = measured.mean, measured.labels
    fold = measured.patients % 5
    calibrated, bare = np.empty_like(labels), np.empty_like(labels)
    for number in range(5):
        inside = fold == number
        slope, intercepts = calibration.fit_platt(scores[~inside], labels[~inside])
        calibrated[inside] = 1 / (1 + np.exp(-(slope * scores[inside] + intercepts)))
        bare[inside] = labels[~inside].mean(axis=0)
    return {"calibrated": float(((calibrated - labels) ** 2).mean()), "prevalence": float(((bare - labels) ** 2).mean())}


def _calls(probabilities: Array, labels: Array, thresholds: dict[str, float]) -> dict[str, float]:
    """How often the reader would be told something, and how often rightly."""
    spoken = [index for index, code in enumerate(CODES[:-1]) if code in thresholds]
    limits = np.array([thresholds[CODES[index]] for index in spoken])
    called = probabilities[:, spoken] >= limits
    right = called & (labels[:, spoken] == 1)
    normal = labels[:, -1] == 0
    return {
        "findings_an_image": float(called.sum(axis=1).mean()),
        "right": float(right.sum() / max(called.sum(), 1)),
        "normals_without_any": float((~called[normal].any(axis=1)).mean()),
        "normals": int(normal.sum()),
    }


def _groups(cases: list[ChestCase]) -> dict[str, NDArray[np.bool_]]:
    age, male, frontal_pa = (np.array([getattr(case, name) for case in cases]) for name in ("age", "male", "frontal_pa"))
    return {
        "men": male,
        "women": ~male,
        "under 50 years": age < 50,
        "50 years and over": age >= 50,
        "PA": frontal_pa,
        "AP": ~frontal_pa,
    }


def _gate(studied: Studied, fits: Fits, lesson: Lesson, others: Path | None) -> dict[str, list[float]]:
    """Shares refused; the gate never saw what it is measured on."""
    gate, apart = fits.gate, fits.gate_logits
    limbs = kept(studied.run / "limbs_measured.npz", lambda: look(studied.session, load(studied.limbs_to_measure)))
    shares = {
        "adult frontal chests, careful source": apart["chests"][lesson.groups == 0],
        "adult frontal chests, other source": apart["chests"][lesson.groups > 0],
        "adult frontal chests of other devices": apart["other_chests"],
        "varied chests": apart["varied"],
        "limbs": gate.of(limbs),
        "spoiled chests": apart["spoiled"],
        "generated pictures": apart["strangers"],
        **_other_pictures(studied, gate, others),
    }
    limit = np.log(THRESHOLD / (1 - THRESHOLD))
    return {name: [float((logits < limit).mean()), len(logits)] for name, logits in shares.items()}


def _other_pictures(studied: Studied, gate: Gate, others: Path | None) -> dict[str, Array]:
    """Return the gate's logits of pictures in PNG, by the folder that they lie in."""
    kinds: dict[str, list[NDArray[np.float32]]] = defaultdict(list)
    for file in sorted(others.glob("*/*.png")) if others else ():
        # Serving declines a blank picture before the gate.
        with suppress(BlankImage):
            square = prepare(grey_of(file))[0]
            kinds[file.parent.name].append(square)
    return {kind: gate.of(look(studied.session, squares)) for kind, squares in sorted(kinds.items())}


def _other_devices(studied: Studied, fits: Fits, calibrated: tuple[float, Array], thresholds: dict[str, float]) -> dict[str, Any]:
    """Return what is said of chests of other devices, whose diseases nobody named; their cardiothoracic ratios are known."""
    seen = studied.strange()[0]["other_chests"]
    slope, intercepts = calibrated
    probabilities = 1 / (1 + np.exp(-(slope * fits.reading.of(fits.standard.of(seen.features)) + intercepts)))
    ratios = {case.image.name: case.ratio for case in heart_lung_cases(studied.other_files[0].parent.parent)}
    wide = np.array([ratios[file.name] > ENLARGED for file in studied.other_files], np.float64)
    return {
        "images": len(wide),
        "wide_hearts": int(wide.sum()),
        "cardiomegaly_auc": calibration.auc(probabilities[:, CODES.index("chest_cardiomegaly")], wide),
        "spoken": {code: float((probabilities[:, CODES.index(code)] >= limit).mean()) for code, limit in thresholds.items()},
    }


def _peaks(cases: list[ChestCase], chests: Seen, fits: Fits) -> Iterator[Peak]:
    """Yield each box with the map of a reading that did not see its patient."""
    boxed = np.flatnonzero([bool(case.boxes) for case in cases])
    for learned, reading, local in zip(fits.learned, fits.readings, fits.locals, strict=True):
        asked = boxed[~learned[boxed]]
        if not len(asked):
            continue
        grids = maps_of(Readings(fits.standard, reading, (1.0, [0.0] * len(CODES)), fits.gate, local), chests.chosen(asked))
        for index, grid in zip(asked, grids, strict=True):
            place = prepare(grey_of(cases[index].file))[1]
            yield from peaks_of(cases[index].boxes, grid, (place.left, place.top, place.width, place.height))


def maps_of(readings: Readings, seen: Seen) -> NDArray[np.float32]:
    """Return (images, outputs, 24, 24) maps of the evidence."""
    with torch.inference_mode():
        evidence = readings.evidence(torch.from_numpy(seen.finest.astype(np.float32)))
        return np.asarray(put_back(evidence, torch.from_numpy(seen.box), ACTIVATION_CELLS).numpy())


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure the chest radiograph network.")
    add_folders(parser)
    parser.add_argument("--run", type=Path, required=True, help="folder of models.chest.train")
    parser.add_argument("--others", type=Path, help="folder of folders of pictures in PNG that are no chests, for the gate")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    studied = Studied(options.data, options.limbs, options.other_chests, options.run, threads=options.threads, seed=options.seed)
    print(json.dumps(evaluate(studied, options.others), indent=1))


if __name__ == "__main__":
    main()
