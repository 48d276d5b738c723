"""``sumu evaluate chest``: how well the shipped network's findings agree with the labels of chest radiographs of one's own."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

if TYPE_CHECKING:
    from inference.radiograph.network import ChestRun
    from models.bundle import Bundle
    from models.chest.data import ChestCase
    from models.evaluation_page import Gallery

#: Images of each kind of failure on the page.
SHOWN = 8

Array = NDArray[np.float64]


def evaluate_chest(
    data: Annotated[Path, typer.Option("--data", help="Folder with manifest.csv or nih_manifest.csv, and the images.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write reliability diagrams and the worst failures to this HTML file.")
    ] = None,
) -> None:
    """Measure findings, abnormal or not, the gate and the maps on chest radiographs of your own."""
    measured = measure(data)
    found = figures_of(measured)
    if page is not None:
        page.write_text(page_of(measured, found), encoding="utf-8")
    typer.echo(json.dumps(found, indent=1) if as_json else in_words(found))


@dataclass(frozen=True, kw_only=True)
class MeasuredChests:
    """What the shipped network said of every image of a folder."""

    bundle: Bundle
    cases: Sequence[ChestCase]
    runs: Sequence[ChestRun]
    #: left, top, width, height of each image in the network's square.
    inside: Sequence[tuple[int, int, int, int]]
    seconds_an_image: float

    @property
    def probabilities(self) -> Array:
        """Return (images, outputs) probabilities."""
        return np.array([run.probabilities for run in self.runs], np.float64)

    @property
    def labels(self) -> Array:
        """Return (images, outputs), 0 or 1."""
        return np.array([case.labels for case in self.cases], np.float64)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Return which images the gate refused."""
        return np.array([run.frontal for run in self.runs]) < float(self.bundle.details["gate_threshold"])


def measure(data: Path) -> MeasuredChests:
    """Run the shipped network on every image, as in serving; images that the gate refuses are measured too.

    Raises
    ------
    NotChestData
        If the folder holds no manifest, or a column or an image is missing.
    """
    from inference.onnx_session import PROCESSOR
    from inference.radiograph.network import LoadedNetwork
    from models.bundle import BUNDLES
    from models.chest.data import chest_cases, grey_of
    from models.chest.preprocessing import prepare

    cases = chest_cases(data)
    network = LoadedNetwork(BUNDLES / "chest_radiograph", PROCESSOR)
    bundle = network.bundle
    runs, inside = [], []
    spent = 0.0
    for case in cases:
        grey = grey_of(case.file)
        began = time.perf_counter()
        square, place = prepare(grey)
        runs.append(network.run(square))
        spent += time.perf_counter() - began
        inside.append((place.left, place.top, place.width, place.height))
    return MeasuredChests(bundle=bundle, cases=cases, runs=runs, inside=inside, seconds_an_image=spent / len(cases))


def figures_of(measured: MeasuredChests) -> dict[str, Any]:
    """Return the figures; images that the bundle learned from flatter it, and its card says what it does on others."""
    from models.chest.figures import figures, subgroups
    from models.chest.pointing import peaks_of, pointing

    bundle, cases, labels, probabilities = measured.bundle, measured.cases, measured.labels, measured.probabilities
    patients = np.unique([case.patient for case in cases], return_inverse=True)[1]
    found = figures(probabilities, labels, patients)
    for index, code in enumerate(bundle.labels):
        if code in bundle.thresholds:
            found["findings"][code] |= _at(bundle.thresholds[code], probabilities[:, index], labels[:, index])
    peaks = [
        peak
        for case, run, inside in zip(cases, measured.runs, measured.inside, strict=True)
        for peak in peaks_of(case.boxes, run.activations, inside)
    ]
    return {
        "model": f"{bundle.name} {bundle.version}",
        "weights_sha256": bundle.weights_sha256,
        **found,
        "abnormal_auc": found["findings"][bundle.labels[-1]]["auc"],
        "subgroups": subgroups(probabilities, labels, _groups(cases)),
        "refused_by_gate": int(measured.refused.sum()),
        "pointing": pointing(peaks) if peaks else None,
        "seconds_an_image": round(measured.seconds_an_image, 4),
        "predictions": [
            {
                "image": case.file.name,
                "frontal": round(run.frontal, 4),
                **{code: round(float(value), 4) for code, value in zip(bundle.labels, run.probabilities, strict=True)},
            }
            for case, run in zip(cases, measured.runs, strict=True)
        ],
    }


def _at(threshold: float, given: Array, truth: Array) -> dict[str, float | None]:
    called = given >= threshold
    return {
        "threshold": threshold,
        "sensitivity": _share(called[truth == 1]),
        "specificity": _share(~called[truth == 0]),
    }


def _share(right: NDArray[np.bool_]) -> float | None:
    return round(float(right.mean()), 4) if len(right) else None


def _groups(cases: Sequence[ChestCase]) -> dict[str, NDArray[np.bool_]]:
    male, frontal_pa = np.array([case.male for case in cases]), np.array([case.frontal_pa for case in cases])
    age = np.array([case.age for case in cases])
    return {
        "men": male,
        "women": ~male,
        "under 50 years": age < 50,
        "50 years and over": age >= 50,
        "PA": frontal_pa,
        "AP or unknown": ~frontal_pa,
    }


def in_words(found: dict[str, Any]) -> str:
    """Return the figures as lines to read."""
    lines = [
        f"{found['model']}: {found['images']} images of {found['patients']} patients, "
        f"{found['refused_by_gate']} refused by the gate",
        f"mean area over thirteen findings: {_bounded(found['mean_auc_13'])}",
        f"abnormal or not: {_bounded(found['abnormal_auc'])}",
    ]
    lines += [
        f"{code}: {one['positives']} positives, area {_bounded(one['auc'])}, Brier {one['brier']:.3f} "
        f"(prevalence alone {one['brier_of_prevalence']:.3f})"
        for code, one in found["findings"].items()
    ]
    lines += [
        f"{name}: {one['images']} images, mean {_number(one['mean_auc_13'])}, abnormal {_number(one['abnormal_auc'])}"
        for name, one in found["subgroups"].items()
    ]
    if pointing := found["pointing"]:
        lines.append(
            f"maps: peak in {pointing['hit']:.2f} of {pointing['boxes']} boxes, "
            f"which cover {pointing['mean_box_area']:.3f} of an image"
        )
    return "\n".join([*lines, f"seconds an image: {found['seconds_an_image']:.3f}"])


def _bounded(values: Sequence[float | None]) -> str:
    value, low, high = values
    return "not to be said" if value is None else f"{value:.3f} (95 % {low:.3f} to {high:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def page_of(measured: MeasuredChests, found: dict[str, Any]) -> str:
    """Return the page with reliability diagrams and the images that were got most wrong."""
    from models.evaluation_page import Reliability, Table, evaluation_page

    facts = in_words(found).splitlines()
    header = ("output", "positives", "area (95 %)", "Brier", "prevalence alone", "sensitivity / specificity")
    rows = [
        (
            code,
            str(one["positives"]),
            _bounded(one["auc"]),
            f"{one['brier']:.3f}",
            f"{one['brier_of_prevalence']:.3f}",
            f"{_number(one['sensitivity'])} / {_number(one['specificity'])} at {one['threshold']:.2f}"
            if "threshold" in one
            else "silent",
        )
        for code, one in found["findings"].items()
    ]
    groups = [
        (name, str(one["images"]), _number(one["mean_auc_13"]), _number(one["abnormal_auc"]))
        for name, one in found["subgroups"].items()
    ]
    return evaluation_page(
        f"Evaluation of {found['model']}",
        (*facts[:3], facts[-1], f"Weights: {found['weights_sha256']}"),
        (
            Table(name="Findings", rows=(header, *rows)),
            Table(name="Groups", rows=(("group", "images", "mean area", "abnormal"), *groups)),
        ),
        [
            Reliability(name=code, groups=tuple((one["given"], one["found"], one["images"]) for one in figures["reliability"]))
            for code, figures in found["findings"].items()
            if figures["positives"]
        ],
        _galleries(measured),
    )


def _galleries(measured: MeasuredChests) -> list[Gallery]:
    """Return for each spoken output the images without it that scored highest and those with it that scored lowest."""
    from models.chest.data import grey_of
    from models.evaluation_page import Failure, Gallery

    galleries = []
    for index, code in enumerate(measured.bundle.labels):
        threshold = measured.bundle.thresholds.get(code)
        if threshold is None:
            continue
        given, truth = measured.probabilities[:, index], measured.labels[:, index]
        invented = [row for row in np.argsort(-given) if truth[row] == 0 and given[row] >= threshold]
        missed = [row for row in np.argsort(given) if truth[row] == 1 and given[row] < threshold]
        for kind, rows in (("said, not in the labels", invented), ("in the labels, not said", missed)):
            failures = tuple(
                Failure(
                    grey=grey_of(measured.cases[row].file),
                    caption=f"{measured.cases[row].file.name}: {given[row]:.2f}, operating point {threshold:.2f}",
                )
                for row in rows[:SHOWN]
            )
            if failures:
                galleries.append(Gallery(name=f"{code}: {kind}, {len(rows)}", failures=failures))
    if refused := np.flatnonzero(measured.refused).tolist():
        shown = tuple(
            Failure(
                grey=grey_of(measured.cases[row].file),
                caption=f"{measured.cases[row].file.name}: frontal chest {measured.runs[row].frontal:.2f}",
            )
            for row in refused[:SHOWN]
        )
        galleries.append(Gallery(name=f"Refused by the gate, {len(refused)}", failures=shown))
    return galleries
