"""Trains the chest network.

``python -m models.chest.train --data ../shared/data/chest --limbs ../shared/data/fracture --out run``

The number of epochs and every weight are fixed beforehand; the validation patients are not looked at while training.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.averaging import follow
from models.chest.bank import fill_bank
from models.chest.data import ChestCase, chest_cases, limb_files
from models.chest.findings import CODES
from models.chest.network import ChestNetwork
from models.chest.targets import soft_targets

BATCH = 32
#: Out-of-scope images beside each batch of chests.
STRANGERS_A_BATCH = 6
#: Highest learning rates of the trunk and of the heads.
TRUNK_RATE, HEAD_RATE = 5e-4, 2e-3
#: Share of the images with the shortcut and without a teacher that each epoch draws.
POOR_SHARE = 0.35


def train(data: Path, limbs: Path, out: Path, *, epochs: int, threads: int, seed: int) -> Path:
    """Train, write ``chest.pt`` (averaged weights) and ``training.json`` into ``out``; return the weights' path."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    chance = torch.Generator().manual_seed(seed)
    began = time.monotonic()
    cases = [case for case in chest_cases(data) if not case.validation]
    strangers = limb_files(limbs)[0]
    network = ChestNetwork().to(memory_format=torch.channels_last)
    bank = fill_bank(network, cases, strangers, threads, chance)
    filled = round(time.monotonic() - began)
    print(f"bank: {len(bank.chests)} views of chests, {len(bank.strangers)} out of scope, {filled} s", flush=True)
    targets, weights = (torch.from_numpy(array) for array in soft_targets(cases))
    sides = _side_targets(cases)
    average = copy.deepcopy(network).eval()
    heads = [*network.head.parameters(), *network.side_head.parameters()]
    trunk = [parameter for parameter in network.trunk.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW([{"params": trunk, "lr": TRUNK_RATE}, {"params": heads, "lr": HEAD_RATE}], weight_decay=0.05)
    batches = len(_epoch(cases, chance)) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=[TRUNK_RATE, HEAD_RATE], total_steps=epochs * batches, pct_start=0.15
    )
    history = []
    for epoch in range(epochs):
        network.train()
        order = _epoch(cases, chance)
        losses = []
        for batch in range(batches):
            # Epochs differ by a few images; the schedule needs the same number of batches in each.
            chosen = order[torch.arange(batch * BATCH, (batch + 1) * BATCH) % len(order)]
            strange = torch.randint(0, len(bank.strangers), (STRANGERS_A_BATCH,), generator=chance)
            early = torch.cat([bank.chest(chosen, chance), bank.strangers[strange].float()])
            logits, side = network(early.contiguous(memory_format=torch.channels_last))
            loss = _loss(logits, side, targets[chosen], weights[chosen], sides[chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            done = epoch * batches + batch + 1
            follow(average, network, min(0.98, done / (done + 9)))
            losses.append(loss.item())
        history.append(float(np.mean(losses)))
        print(f"epoch {epoch + 1}/{epochs}: loss {history[-1]:.4f}, {time.monotonic() - began:.0f} s", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    torch.save(average.state_dict(), out / "chest.pt")
    facts = {
        "images": len(cases),
        "patients": len({case.patient for case in cases}),
        "taught": sum(case.teacher is not None for case in cases),
        "limbs": len(strangers),
        "epochs": epochs,
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "loss": history,
    }
    (out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return out / "chest.pt"


def _epoch(cases: list[ChestCase], chance: torch.Generator) -> Tensor:
    """Return the images of one epoch in random order: all that a teacher or a careful source labelled, a share of the others."""
    poor = torch.tensor([case.shortcut and case.teacher is None for case in cases])
    drawn = torch.rand(len(cases), generator=chance) < POOR_SHARE
    chosen = torch.nonzero(~poor | drawn)[:, 0]
    return chosen[torch.randperm(len(chosen), generator=chance)]


def _side_targets(cases: list[ChestCase]) -> Tensor:
    return torch.tensor([[float(case.male), float(case.frontal_pa), (case.age - 50) / 20] for case in cases])


def _loss(logits: Tensor, side: Tensor, targets: Tensor, weights: Tensor, sides: Tensor) -> Tensor:
    """Findings on chests only; the gate on all; sex, view and age keep the trunk looking at the whole chest."""
    chests = len(targets)
    findings = functional.binary_cross_entropy_with_logits(logits[:chests, : len(CODES)], targets, weights)
    frontal = (torch.arange(len(logits)) < chests).float()
    gate = functional.binary_cross_entropy_with_logits(logits[:, -1], frontal)
    people = functional.binary_cross_entropy_with_logits(side[:chests, :2], sides[:, :2])
    age = functional.smooth_l1_loss(side[:chests, 2], sides[:, 2])
    return findings + 0.1 * gate + 0.1 * people + 0.1 * age


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the chest radiograph network.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nih_manifest.csv and nih384/")
    parser.add_argument("--limbs", type=Path, required=True, help="folder with manifest.csv and img384/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    weights = train(options.data, options.limbs, options.out, epochs=options.epochs, threads=options.threads, seed=options.seed)
    print(weights)


if __name__ == "__main__":
    main()
