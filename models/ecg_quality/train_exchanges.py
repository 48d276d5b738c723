"""Trains the network that suspects exchanged electrodes, on beats of PTB-XL whose leads are exchanged by arithmetic.

``python -m models.ecg_quality.train_exchanges --data ../shared/data/ecg/ptbxl --out run``

Folds 1 to 7 teach, fold 8 chooses the thresholds, fold 9 measures. Writes ``exchanges.pt`` and ``exchanges.json`` into the run.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.averaging import follow
from models.ecg.data import Recordings, read_folds
from models.ecg.preprocessing import LEADS
from models.ecg_quality.beat_shape import EXCHANGES, LENGTH, NONE, RATE, beat_shape, exchange_matrix

TEACHING, CHOOSING, MEASURING = (1, 2, 3, 4, 5, 6, 7), (8,), (9,)
EPOCHS, BATCH, RATE_OF_LEARNING = 40, 256, 2e-3
AVERAGE_KEEPS = 0.995
#: Half of the beats are left as they are.
LEFT_ALONE = 0.5
#: False alarms in a hundred recordings that each exchange may cause.
FALSE_ALARMS = 0.1
CLASSES = (NONE, *EXCHANGES)


class ExchangeNetwork(nn.Module):
    """Three convolutions over the averaged beat and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(len(LEADS), 48, 7, stride=2, padding=3),
            nn.ReLU(),
            nn.Conv1d(48, 64, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(64, 64, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(64 * LENGTH // 8, 96),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(96, len(CLASSES)),
        )

    def forward(self, beat: Tensor) -> Tensor:
        """Return (N, classes) logits of (N, 8, 80) averaged beats."""
        return self.layers(beat)


def beats_of(recordings: Recordings) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return the averaged beats of the recordings that have one, and which of them are called normal."""
    shapes = [beat_shape(one, RATE) for one in recordings.microvolts]
    normal = recordings.labels[:, recordings.statements.index("NORM")] == 1
    kept = np.array([shape is not None for shape in shapes])
    return np.stack([shape for shape in shapes if shape is not None]), normal[kept]


def exchanged(beats: Tensor, classes: Tensor, matrices: Tensor) -> Tensor:
    """Exchange the leads of each beat by its class, in units of its new root mean square."""
    moved = torch.einsum("nij,njt->nit", matrices[classes], beats)
    return moved / moved.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(1e-3)


def train(data: Path, out: Path) -> dict[str, Any]:
    """Train, choose thresholds, measure; write the run."""
    torch.manual_seed(4)
    matrices = torch.from_numpy(np.stack([exchange_matrix(name) for name in CLASSES]))
    taught = torch.from_numpy(beats_of(read_folds(data, TEACHING))[0])
    network = ExchangeNetwork()
    averaged = copy.deepcopy(network)
    steps = EPOCHS * (len(taught) // BATCH)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE_OF_LEARNING, total_steps=steps)
    prior = torch.tensor([LEFT_ALONE, *[(1 - LEFT_ALONE) / len(EXCHANGES)] * len(EXCHANGES)])
    for _ in range(EPOCHS):
        network.train()
        for chosen in torch.randperm(len(taught))[: len(taught) // BATCH * BATCH].view(-1, BATCH):
            classes = torch.multinomial(prior, BATCH, replacement=True)
            beats = exchanged(_varied(taught[chosen]), classes, matrices)
            loss = nn.functional.cross_entropy(network(beats), classes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            follow(averaged, network, AVERAGE_KEEPS)
    final = averaged.eval()
    thresholds = _thresholds(final, beats_of(read_folds(data, CHOOSING))[0])
    evaluation = {
        "classes": list(CLASSES),
        "taught": len(taught),
        "thresholds": thresholds,
        **_measure(final, data, thresholds, matrices),
    }
    out.mkdir(parents=True, exist_ok=True)
    torch.save(final.state_dict(), out / "exchanges.pt")
    (out / "exchanges.json").write_text(json.dumps(evaluation, indent=1) + "\n", encoding="utf-8")
    return evaluation


def _varied(beats: Tensor) -> Tensor:
    """Move by a few samples, change the gain of each lead a little, add noise: other machines, other beat finders."""
    shift = int(torch.randint(-3, 4, ()))
    gain = 1 + 0.1 * torch.randn(len(beats), beats.shape[1], 1)
    return torch.roll(beats, shift, dims=2) * gain + 0.05 * torch.randn_like(beats)


def _probabilities(network: nn.Module, beats: Tensor) -> npt.NDArray[np.float64]:
    with torch.inference_mode():
        return np.asarray(torch.softmax(network(beats), dim=1), dtype=np.float64)


def _thresholds(network: nn.Module, beats: npt.NDArray[np.float32]) -> dict[str, float]:
    found = _probabilities(network, torch.from_numpy(beats))
    return {
        name: float(max(0.5, np.quantile(found[:, place], 1 - FALSE_ALARMS / 100))) for place, name in enumerate(CLASSES) if place
    }


def suspicion(found: npt.NDArray[np.float64], thresholds: dict[str, float]) -> npt.NDArray[np.int64]:
    """Return the class that is suspected of each beat: the likeliest exchange where it reaches its threshold, else 0."""
    likeliest = found[:, 1:].argmax(axis=1) + 1
    points = np.array([np.inf, *(thresholds[name] for name in EXCHANGES)])
    return np.where(found[np.arange(len(found)), likeliest] >= points[likeliest], likeliest, 0)


def _measure(network: nn.Module, data: Path, thresholds: dict[str, float], matrices: Tensor) -> dict[str, Any]:
    beats, normal = beats_of(read_folds(data, MEASURING))
    rows: dict[str, Any] = {}
    for place, name in enumerate(CLASSES):
        moved = exchanged(torch.from_numpy(beats), torch.full((len(beats),), place), matrices)
        said = suspicion(_probabilities(network, moved), thresholds)
        if place == 0:
            rows["false_alarms_per_100"] = float((said > 0).mean() * 100)
            rows["false_alarms_per_100_normal"] = float((said[normal] > 0).mean() * 100)
        else:
            rows[name] = {"suspected": float((said > 0).mean()), "named": float((said == place).mean())}
    limbs = [rows[name]["suspected"] for name in EXCHANGES[:4]]
    return {"records": len(beats), "normal": int(normal.sum()), "measured": rows, "limb_sensitivity": float(np.mean(limbs))}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the network that suspects exchanged electrodes.")
    parser.add_argument("--data", type=Path, required=True, help="folder of PTB-XL")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(json.dumps(train(options.data, options.out), indent=1))


if __name__ == "__main__":
    main()
