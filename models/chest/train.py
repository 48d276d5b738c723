"""Looks at every training image once, fits the linear readings and the gate, and keeps what evaluation and export need.

``python -m models.chest.train --data CHESTS --limbs LIMBS --other-chests OTHER --out run``; the card gives it with its folders.

Looking takes all the time; what was seen is kept in the run's folder set by set, so that a run that was stopped goes on where
it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from models.bundle import BUNDLES
from models.chest.augmentation import spoil, vary
from models.chest.bank import Seen, kept, look
from models.chest.crossvalidation import OutOfFold, out_of_fold
from models.chest.data import ChestCase, chest_cases, limb_files, load
from models.chest.fits import Fits
from models.chest.gate import Gate, everything, fit_gate
from models.chest.graph import features_graph, opened
from models.chest.opacity import fit_local
from models.chest.readings import Lesson, Linear, Standard, combined, company, fit, standard_of
from models.chest.strangers import strangers
from models.chest.targets import lesson_of, patients_of

#: Out-of-scope images that teach the gate, and chests that were varied for it.
SPOILED, LIMBS, STRANGERS, VARIED = 300, 300, 150, 250

GRAPH, FACTS = "features.onnx", "training.json"


class Studied:
    """A run's images after the untrained part looked at them; sets are looked at when they are first asked for."""

    def __init__(self, data: Path, limbs: Path, other_chests: Path, run: Path, *, threads: int, seed: int) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.cases = chest_cases(data)
        self.run, self.seed = run, seed
        self.limbs_to_learn, self.limbs_to_measure = limb_files(limbs)
        self.other_files = sorted(other_chests.glob("*.jpg"))
        if not (run / GRAPH).is_file():
            onnx.save(features_graph(BUNDLES / "heart_lung"), run / GRAPH)
        self.session = opened(onnx.load(run / GRAPH), threads)

    def chests(self) -> Seen:
        """Return what was seen of the chests."""
        return self._seen("chests", lambda: load([case.file for case in self.cases]))

    def strange(self) -> tuple[dict[str, Seen], NDArray[np.int64]]:
        """Return what was seen of other chests and of strangers by set, and the chests that were spoiled, then varied."""
        order = np.random.default_rng(self.seed).permutation(len(self.cases))[: SPOILED + VARIED]

        def changed(
            which: NDArray[np.int64], change: Callable[[torch.Tensor, torch.Generator], torch.Tensor]
        ) -> NDArray[np.float32]:
            images = torch.from_numpy(load([self.cases[index].file for index in which]))[:, None]
            return np.asarray(change(images, torch.Generator().manual_seed(self.seed))[:, 0].numpy(), np.float32)

        limbs = np.random.default_rng(self.seed).permutation(len(self.limbs_to_learn))[:LIMBS]
        return {
            "spoiled": self._seen("spoiled", lambda: changed(order[:SPOILED], spoil)),
            "varied": self._seen("varied", lambda: changed(order[SPOILED:], vary)),
            "limbs": self._seen("limbs", lambda: load([self.limbs_to_learn[index] for index in limbs])),
            "strangers": self._seen("strangers", lambda: strangers(STRANGERS, self.seed)),
            "other_chests": self._seen("other_chests", lambda: load(self.other_files)),
        }, order

    def _seen(self, name: str, squares: Callable[[], Iterable[NDArray[np.float32]]]) -> Seen:
        began = time.monotonic()
        seen = kept(self.run / f"{name}.npz", lambda: look(self.session, squares()))
        print(f"{name}: {len(seen.features)} images, {time.monotonic() - began:.0f} s", flush=True)
        return seen


def learn_readings(features: NDArray[np.floating], cases: list[ChestCase]) -> tuple[Standard, Linear, OutOfFold]:
    """Return the standard, the reading fitted on every image, and what the cross-validation says of each."""
    lesson, patients = lesson_of(cases), patients_of(cases)
    careful = lesson.groups == 0
    standard = standard_of(features[careful])
    standardised = standard.of(features)
    apart = out_of_fold(standardised, lesson, patients)
    fitted = fit(standardised, lesson, np.ones(len(cases), bool))
    return (standard, combined(fitted, apart.scales, company(lesson.labels[careful])), apart)


def learn_gate(studied: Studied) -> tuple[Gate, dict[str, NDArray[np.float64]]]:
    """Return the gate and, for each set, the logits of gates that saw nothing of the same patient, device or limb."""
    chests = studied.chests()
    strange, order = studied.strange()
    patients = patients_of(studied.cases)
    devices = {device: number for number, device in enumerate(sorted({_device(file) for file in studied.other_files}))}
    groups = {
        "chests": patients,
        "spoiled": patients[order[:SPOILED]],
        "varied": patients[order[SPOILED:]],
        "limbs": np.arange(LIMBS),
        "strangers": np.arange(STRANGERS),
        "other_chests": np.array([devices[_device(file)] for file in studied.other_files], np.int64),
    }
    sets = {"chests": chests, **strange}
    chest = np.concatenate(
        [np.full(len(one.features), name in ("chests", "varied", "other_chests")) for name, one in sets.items()]
    )
    gate, logits = fit_gate(
        np.concatenate([everything(one) for one in sets.values()]), chest, np.concatenate([groups[name] for name in sets])
    )
    ends = np.cumsum([len(one.features) for one in sets.values()])
    return gate, dict(zip(sets, np.split(logits, ends[:-1]), strict=True))


def _device(file: Path) -> str:
    """Return the UID root of the device's maker, with which the name begins."""
    return ".".join(file.name.split(".")[:4])


def train(data: Path, limbs: Path, other_chests: Path, out: Path, *, threads: int = 2, seed: int = 1) -> Path:
    """Look at everything, fit, and write ``fits.npz`` and ``training.json`` into ``out``; return the latter's path."""
    began = time.monotonic()
    studied = Studied(data, limbs, other_chests, out, threads=threads, seed=seed)
    lesson = lesson_of(studied.cases)
    chests = studied.chests()
    standard, reading, apart = learn_readings(chests.features, studied.cases)
    gate, gate_logits = learn_gate(studied)
    first = [(split, fitted) for split, fitted in apart.fits if split.repeat == 0]
    Fits(
        standard=standard,
        reading=reading,
        gate=gate,
        scores=apart.scores,
        learned=np.stack([split.learn for split, _ in first]),
        readings=tuple(fitted for _, fitted in first),
        local=fit_local(chests, studied.cases, np.ones(len(studied.cases), bool)),
        locals=tuple(fit_local(chests, studied.cases, split.learn) for split, _ in first),
        gate_logits=gate_logits,
    ).save(out)
    facts = _facts(studied.cases, lesson) | {"limbs": LIMBS, "spoiled": SPOILED, "varied": VARIED, "strangers": STRANGERS}
    before = json.loads((out / FACTS).read_text(encoding="utf-8"))["seconds"] if (out / FACTS).is_file() else 0
    facts |= {"other_chests": len(studied.other_files), "seed": seed, "seconds": before + round(time.monotonic() - began)}
    (out / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return out / FACTS


def _facts(cases: list[ChestCase], lesson: Lesson) -> dict[str, int]:
    return {
        "images": len(cases),
        "patients": len({case.patient for case in cases}),
        "careful": int((lesson.groups == 0).sum()),
        "taught": int(lesson.taught.sum()),
    }


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the chest radiograph network.")
    add_folders(parser)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(train(options.data, options.limbs, options.other_chests, options.out, threads=options.threads, seed=options.seed))


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Add what training, evaluation and export all ask for."""
    parser.add_argument("--data", type=Path, required=True, help="folder with nih_manifest.csv and nih384/")
    parser.add_argument("--limbs", type=Path, required=True, help="folder with manifest.csv and img384/")
    parser.add_argument(
        "--other-chests", type=Path, required=True, help="folder of frontal chests of other devices (JPEG), for the gate"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)


if __name__ == "__main__":
    main()
