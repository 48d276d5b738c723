"""Trains the limb network once for each fold that is held out; the mean of the five is shipped.

``python -m models.limbs.train --data ../shared/data/fracture --chests ../shared/data/chest --out run``

An interrupted training goes on where it stood: the bank and each finished network are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.averaging import follow
from models.limbs.augmentation import shifted
from models.limbs.bank import Bank, bank_of, fill_bank, kept
from models.limbs.data import FOLDS, LimbCase, folds_of, limb_cases
from models.limbs.heads import refit
from models.limbs.network import new_network
from models.limbs.strangers import StrangerBank, fill_strangers, kept_strangers, stranger_bank_of
from models.limbs.targets import loss_of, what_targets

#: Fractured limbs, whole limbs and strangers of a batch.
BROKEN, WHOLE, STRANGERS = 12, 10, 2
#: Steps of each rise and fall of the learning rate.
CYCLES = (160, 100)
#: Highest learning rates of the trunk and of what was not trained before.
TRUNK_RATE, HEAD_RATE = 6e-4, 2e-3
DECAY = 0.02
#: Share that stays of the averaged weights in a step.
KEEP = 0.985


def fit(
    bank: Bank,
    strangers: StrangerBank,
    cases: Sequence[LimbCase],
    chosen: NDArray[np.int64],
    fold: int,
    *,
    start: dict[str, Tensor] | None,
    steps: int,
    seed: int,
) -> tuple[dict[str, Tensor], list[float]]:
    """Return the averaged weights after one rise and fall of the learning rate on the chosen cases, and the losses."""
    torch.manual_seed(seed)
    chance = np.random.default_rng(seed)
    network = new_network()[1].to(memory_format=torch.channels_last)
    if start:
        network.load_state_dict(start)
    average = copy.deepcopy(network).eval()
    trunk = list(network.blocks.parameters())
    known = {id(parameter) for parameter in trunk}
    heads = [one for one in network.parameters() if id(one) not in known and one.requires_grad]
    optimiser = torch.optim.AdamW([{"params": trunk}, {"params": heads}], lr=HEAD_RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=[TRUNK_RATE, HEAD_RATE], total_steps=steps, pct_start=0.15)
    fractured = torch.tensor([float(case.fractured) for case in cases])
    hardware = torch.tensor([float(case.hardware) for case in cases])
    what = what_targets(cases)
    broken = _drawn(chosen[fractured[chosen].numpy() > 0], BROKEN, chance)
    whole = _drawn(chosen[fractured[chosen].numpy() == 0], WHOLE, chance)
    others = _drawn(strangers.learned_with(fold), STRANGERS, chance)
    network.train()
    losses: list[float] = []
    for step in range(steps):
        limbs = torch.from_numpy(np.concatenate([next(broken), next(whole)]))
        views = bank.first[limbs] + torch.from_numpy(chance.integers(0, bank.count[limbs].numpy()))
        strange = torch.from_numpy(next(others))
        moved, boxes = shifted(bank.features[views], [bank.boxes[view] for view in views.tolist()], chance)
        early = torch.cat([moved, strangers.features[strange]])
        with torch.autocast("cpu", torch.bfloat16):
            said = network(early.contiguous(memory_format=torch.channels_last))
        said = {name: value.float() for name, value in said.items()}
        loss = loss_of(said, boxes, fractured[limbs], hardware[limbs], what[limbs], strangers.kinds[strange])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 3.0)
        optimiser.step()
        schedule.step()
        follow(average, network, min(KEEP, (step + 1) / (step + 10)))
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{steps}: loss {np.mean(losses[-50:]):.4f}, {time.process_time():.0f} s of a core", flush=True)
    return average.state_dict(), [round(float(np.mean(losses[at : at + 50])), 4) for at in range(0, steps, 50)]


def _drawn(members: NDArray[np.int64], count: int, chance: np.random.Generator) -> Any:
    """Yield batches without end: every member once before any comes again."""
    waiting = np.empty(0, np.int64)
    while True:
        while len(waiting) < count:
            waiting = np.concatenate([waiting, chance.permutation(members)])
        yield waiting[:count]
        waiting = waiting[count:]


def banks(data: Path, chests: Path, out: Path) -> tuple[list[LimbCase], Bank, StrangerBank]:
    """Return the cases and what the frozen part sees of them, from ``out`` where it is kept there."""
    cases = limb_cases(data)
    early = new_network()[0].to(memory_format=torch.channels_last)
    if not (out / "bank.pt").is_file():
        kept(fill_bank(early, cases), out / "bank.pt")
    if not (out / "strangers.pt").is_file():
        kept_strangers(fill_strangers(early, chests, cases, folds_of(cases)), out / "strangers.pt")
    return cases, bank_of(out / "bank.pt"), stranger_bank_of(out / "strangers.pt")


def train(data: Path, chests: Path, out: Path, *, cycles: Sequence[int], seed: int) -> None:
    """Train what is not there yet: ``limbs_without_0.pt`` to ``limbs_without_4.pt``, each with its facts in JSON beside it.

    A cycle is one rise and fall of the learning rate, of so many steps; it begins with the averaged weights of the one before
    (``last_without_...``). What is kept is the mean of the cycles' weights, with the answers to "what is it" fitted anew. A
    network that has had as many steps already is left as it is.
    """
    out.mkdir(parents=True, exist_ok=True)
    cases, bank, strangers = banks(data, chests, out)
    folds = folds_of(cases)
    for number in range(len(cycles)):
        for fold in range(FOLDS):
            file, last = out / f"limbs_without_{fold}.pt", out / f"last_without_{fold}.pt"
            known = json.loads(file.with_suffix(".json").read_text(encoding="utf-8")) if file.is_file() else None
            done = known["steps"] if known else []
            if sum(done) >= sum(cycles[: number + 1]):
                continue
            began, core = time.monotonic(), time.process_time()
            chosen = np.flatnonzero(folds != fold)
            start = torch.load(last, weights_only=True) if known else None
            state, losses = fit(bank, strangers, cases, chosen, fold, start=start, steps=cycles[number], seed=seed + number)
            facts = {
                "images": len(chosen),
                "fractured": sum(cases[index].fractured for index in chosen),
                "views": len(bank.boxes),
                "strangers": len(strangers.names),
                "steps": [*done, cycles[number]],
                "batch": [BROKEN, WHOLE, STRANGERS],
                "seed": seed,
                "seconds": round(time.monotonic() - began) + (known["seconds"] if known else 0),
                "seconds_of_a_core": round(time.process_time() - core) + (known["seconds_of_a_core"] if known else 0),
                "loss": [*(known["loss"] if known else []), *losses],
            }
            torch.save(state, last)
            mean = {name: value.float() for name, value in state.items()}
            if known:
                before = torch.load(file, weights_only=True)
                mean = {name: before[name] + (value - before[name]) / (number + 1) for name, value in mean.items()}
            late = new_network()[1].to(memory_format=torch.channels_last).eval()
            late.load_state_dict(mean)
            refit(late, bank, strangers, cases, chosen, fold)
            torch.save(late.state_dict(), file)
            file.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            print(f"without {fold}: {facts['steps']} steps, {facts['seconds']} s", flush=True)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the limb network.")
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv and img384/")
    parser.add_argument("--chests", type=Path, required=True, help="folder with nih_manifest.csv and nih384/, no limbs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cycles", nargs="+", type=int, default=CYCLES, help="steps of each cycle")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train(options.data, options.chests, options.out, cycles=options.cycles, seed=options.seed)


if __name__ == "__main__":
    main()
