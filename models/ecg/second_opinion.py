"""Fits the panel's second opinion on folds 1 to 8, after its members are trained.

``python -m models.ecg.second_opinion --data ../shared/data/ecg/ptbxl --run run``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.ecg.data import read_folds
from models.ecg.discriminant import Array, discriminant
from models.ecg.panel import DISCRIMINANT, Panel, load_members
from models.ecg.preprocessing import millivolts
from models.ecg.train import TRAINING_FOLDS, all_labels


@torch.inference_mode()
def described(panel: Panel, microvolts: npt.NDArray[np.int16], batch: int = 128) -> tuple[Array, Array]:
    """Return logits and features of whole recordings."""
    starts = range(0, len(microvolts), batch)
    pieces = [panel.described(torch.from_numpy(millivolts(microvolts[at : at + batch]))) for at in starts]
    logits, seen = (torch.cat(parts).numpy() for parts in zip(*pieces, strict=True))
    return logits, seen


def main() -> None:
    """Read the command line and fit."""
    parser = argparse.ArgumentParser(description="Fit the discriminant of the twelve-lead ECG panel.")
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv and foldNN.xz")
    parser.add_argument("--run", type=Path, required=True, help="folder of models.ecg.train")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    learn = read_folds(options.data, TRAINING_FOLDS)
    panel = load_members(options.run, len(learn.statements))
    logits, seen = described(panel, learn.microvolts)
    weight, bias = discriminant(seen, all_labels(learn), logits)
    members = np.array(panel.names)
    np.savez(options.run / DISCRIMINANT, weight=weight.astype(np.float32), bias=bias.astype(np.float32), members=members)
    print(f"{options.run / DISCRIMINANT}: {weight.shape[1]} features of {', '.join(panel.names)}")


if __name__ == "__main__":
    main()
