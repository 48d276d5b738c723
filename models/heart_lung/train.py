"""Trains the heart and lung network, and one network for each group of devices that is held out.

``python -m models.heart_lung.train --data ../shared/data/heart_lung --out run``

The second cycle was added after the first had been measured with devices held out; nothing else was.
A network that measures a device never saw an image of it.
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
from models.heart_lung.bank import VIEWS, Bank, fill_bank
from models.heart_lung.data import heart_lung_cases
from models.heart_lung.network import Decoder

BATCH = 12
#: Steps of each rise and fall of the learning rate; the second begins with the averaged weights of the first.
CYCLES = (160, 240)
RATE = 4e-3


def train_decoder(bank: Bank, cases: Tensor, *, seed: int) -> tuple[Decoder, float]:
    """Train a decoder on some cases of the bank; return its averaged weights and the mean loss of its last steps."""
    torch.manual_seed(seed)
    decoder, loss = Decoder(), float("nan")
    for cycle, steps in enumerate(CYCLES):
        decoder, loss = train_cycle(bank, cases, decoder, steps=steps, seed=seed + cycle)
    return decoder, loss


def train_cycle(bank: Bank, cases: Tensor, start: Decoder, *, steps: int, seed: int) -> tuple[Decoder, float]:
    """Train on from ``start`` through one rise and fall of the learning rate; return averaged weights and the last loss."""
    chance = torch.Generator().manual_seed(seed)
    decoder = start.to(memory_format=torch.channels_last).train()
    average = copy.deepcopy(decoder).eval()
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps, pct_start=0.2)
    losses = []
    for step in range(steps):
        drawn = cases[torch.randint(0, len(cases), (BATCH,), generator=chance)]
        views = drawn * (VIEWS + 1) + torch.randint(0, VIEWS + 1, (BATCH,), generator=chance)
        features, targets = bank.views(views)
        loss = outline_loss(decoder(tuple(part.contiguous(memory_format=torch.channels_last) for part in features)), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        follow(average, decoder, min(0.97, (step + 1) / (step + 10)))
        losses.append(loss.item())
        if step % 25 == 24:
            print(f"step {step + 1}/{steps}: loss {np.mean(losses[-25:]):.4f}", flush=True)
    return average, float(np.mean(losses[-25:]))


def outline_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy and soft Dice of the areas, and cross-entropy of each structure's reach from side to side.

    The ratio is measured between the outermost columns that a structure reaches: the third term is about nothing else.
    """
    probability = torch.sigmoid(logits)
    both = (probability * targets).sum(dim=(2, 3))
    dice = 1 - (2 * both + 1) / ((probability**2).sum(dim=(2, 3)) + (targets**2).sum(dim=(2, 3)) + 1)
    reach = functional.binary_cross_entropy_with_logits(logits.amax(dim=2), targets.amax(dim=2))
    return functional.binary_cross_entropy_with_logits(logits, targets) + 0.5 * dice.mean() + 0.5 * reach


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the heart and lung network.")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv, img512/ and mask512/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    cases = heart_lung_cases(options.data)
    bank = fill_bank(cases, options.threads, torch.Generator().manual_seed(options.seed))
    print(f"bank: {len(bank.targets)} views, {time.monotonic() - began:.0f} s", flush=True)
    groups = [case.group for case in cases]
    losses = {}
    for held_out in ("none", *sorted(set(groups))):
        chosen = torch.tensor([index for index, group in enumerate(groups) if group != held_out])
        decoder, losses[held_out] = train_decoder(bank, chosen, seed=options.seed)
        torch.save(decoder.state_dict(), options.out / f"decoder_without_{held_out}.pt")
        print(f"without {held_out}: {len(chosen)} images, {time.monotonic() - began:.0f} s", flush=True)
    facts = {
        "images": len(cases),
        "views": VIEWS + 1,
        "steps": list(CYCLES),
        "batch": BATCH,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "loss": losses,
    }
    (options.out / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
