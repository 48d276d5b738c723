"""Everything that training fits, in one file: what evaluation measures and what export writes into the bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.chest.gate import Gate
from models.chest.opacity import Local
from models.chest.readings import Array, Linear, Rows, Standard

FILE = "fits.npz"


@dataclass(frozen=True, kw_only=True)
class Fits:
    """The readings and the gate, and what fits that did not see an image say of it."""

    standard: Standard
    #: Fitted on every image.
    reading: Linear
    gate: Gate
    #: (repeats, images, outputs); nan for images of the shortcut source, which never measure.
    scores: Array
    #: The folds of the first repetition: (folds, images), whether the image taught, and the reading of each.
    learned: Rows
    readings: tuple[Linear, ...]
    #: Where the boxed finding lies: fitted on every image, and for each of the folds.
    local: Local
    locals: tuple[Local, ...]
    #: Set of images -> logits of gates that saw nothing of the same patient, device or picture.
    gate_logits: dict[str, Array]

    def save(self, run: Path) -> None:
        """Write the fits into the run's folder."""
        parts: dict[str, NDArray[np.generic]] = {
            "centre": self.standard.centre,
            "spread": self.standard.spread,
            "scale": self.standard.scale,
            "weight": self.reading.weight,
            "bias": self.reading.bias,
            "gate_centre": self.gate.centre,
            "gate_spread": self.gate.spread,
            "gate_weight": self.gate.weight,
            "gate_bias": np.array(self.gate.bias),
            "scores": self.scores,
            "learned": self.learned,
            "fold_weights": np.stack([one.weight for one in self.readings]),
            "fold_biases": np.stack([one.bias for one in self.readings]),
        }
        for name in ("centre", "spread", "weight", "against_mirror"):
            parts[f"local_{name}"] = np.stack([getattr(one, name) for one in (self.local, *self.locals)])
        parts |= {f"logits_{name}": values for name, values in self.gate_logits.items()}
        np.savez(run / FILE, allow_pickle=False, **parts)


def load_fits(run: Path) -> Fits:
    """Read what ``models.chest.train`` wrote into the run's folder."""
    with np.load(run / FILE) as held:
        local, *others = (
            Local(centre=centre, spread=spread, weight=weight, against_mirror=against)
            for centre, spread, weight, against in zip(
                held["local_centre"], held["local_spread"], held["local_weight"], held["local_against_mirror"], strict=True
            )
        )
        return Fits(
            local=local,
            locals=tuple(others),
            standard=Standard(centre=held["centre"], spread=held["spread"], scale=held["scale"]),
            reading=Linear(weight=held["weight"], bias=held["bias"]),
            gate=Gate(
                centre=held["gate_centre"], spread=held["gate_spread"], weight=held["gate_weight"], bias=float(held["gate_bias"])
            ),
            scores=held["scores"],
            learned=held["learned"],
            readings=tuple(
                Linear(weight=weight, bias=bias) for weight, bias in zip(held["fold_weights"], held["fold_biases"], strict=True)
            ),
            gate_logits={name.removeprefix("logits_"): held[name] for name in held.files if name.startswith("logits_")},
        )
