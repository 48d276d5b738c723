"""Trains the panel of ECG networks on folds 1 to 8 of PTB-XL; fold 9 is looked at and decides nothing.

``python -m models.ecg.train --data ../shared/data/ecg/ptbxl --out run``

Each member of ``recipe.toml`` is trained in turn and kept in ``run/MEMBER.pt``; a run that was cut goes on at its last epoch.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.averaging import follow
from models.ecg.augmentation import augmented, mixed
from models.ecg.data import Recordings, read_folds
from models.ecg.metrics import macro_auc
from models.ecg.network import Reader
from models.ecg.preprocessing import millivolts
from models.ecg.superclasses import SUPERCLASSES, superclass_labels

RECIPE = Path(__file__).with_name("recipe.toml")
TRAINING_FOLDS = tuple(range(1, 9))
VALIDATION_FOLD = 9
#: Epochs between two looks at fold 9.
LOOK_EVERY = 3
#: A statement with fewer positives weighs no more than one with so many.
FEWEST_WEIGHED = 30


def train_member(member: dict[str, Any], recipe: dict[str, Any], learn: Recordings, check: Recordings, out: Path) -> None:
    """Train one member from where its checkpoint stands, to its last epoch."""
    torch.manual_seed(member["seed"])
    targets = _targets(learn)
    network = Reader(member["kind"], targets.shape[1])
    if "start" in member:
        network.load_state_dict(torch.load(out / f"{member['start']}.pt", weights_only=True)["average"])
    elif member["prior"]:
        _start_at_prevalence(network, learn)
    average = copy.deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=member["rate"], weight_decay=recipe["weight_decay"], fused=True)
    batches = len(targets) // recipe["batch"]
    schedule = _schedule(optimiser, member, recipe, batches)
    parts: dict[str, Any] = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    file = out / f"{member['name']}.pt"
    weights = _weights(learn, member["balance"])
    history: list[dict[str, float]] = []
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        history = kept["history"]
        for name, part in parts.items():
            part.load_state_dict(kept[name])
        if kept["member"]["epochs"] != member["epochs"]:
            # The recipe was shortened or prolonged meanwhile: go on at the same step of the new schedule.
            parts["schedule"] = _schedule(optimiser, member, recipe, batches, done=len(history) * batches)
    for epoch in range(len(history), member["epochs"]):
        began = time.monotonic()
        # Each epoch has its own generator, so that a resumed run draws what an uninterrupted one would have drawn.
        chance = torch.Generator().manual_seed(1000 * member["seed"] + epoch)
        torch.manual_seed(1000 * member["seed"] + epoch)
        loss = _epoch(parts, member, recipe, learn, targets, weights, epoch, chance)
        history.append({"loss": loss, "seconds": round(time.monotonic() - began, 1)})
        if (epoch + 1) % LOOK_EVERY == 0 or epoch + 1 == member["epochs"]:
            seen = logits_of(average, check.microvolts)[:, : len(check.statements)]
            history[-1]["macro_auc"] = macro_auc(check.labels, seen)
        torch.save({"history": history, "member": member} | {name: part.state_dict() for name, part in parts.items()}, file)
        print(json.dumps({"member": member["name"], "epoch": epoch + 1, "of": member["epochs"], **history[-1]}), flush=True)


def _epoch(
    parts: dict[str, Any], member: dict[str, Any], recipe: dict[str, Any],
    learn: Recordings, targets: Tensor, weights: Tensor, epoch: int, chance: torch.Generator,
) -> float:  # fmt: skip
    network = parts["network"].train()
    size, labels = recipe["batch"], len(learn.statements) + len(SUPERCLASSES)
    order = torch.randperm(len(targets), generator=chance).numpy()
    batches = len(order) // size
    losses = []
    for batch in range(batches):
        chosen = np.sort(order[batch * size : (batch + 1) * size])
        signal = augmented(torch.from_numpy(millivolts(learn.microvolts[chosen])), member["crop"], chance)
        signal, wanted = mixed(signal, targets[chosen], member["mixup"], chance)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(signal).float()
        loss = functional.binary_cross_entropy_with_logits(logits[:, :labels], wanted[:, :labels], weights)
        loss = loss + recipe["side_weight"] * functional.mse_loss(logits[:, labels:], wanted[:, labels:])
        parts["optimiser"].zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        parts["optimiser"].step()
        parts["schedule"].step()
        done = epoch * batches + batch + 1
        follow(parts["average"], network, min(1 - 1 / recipe["average_steps"], done / (done + 9)))
        losses.append(loss.item())
        if batch % 68 == 67:
            print(f"  {member['name']} {epoch + 1}: {batch + 1}/{batches}, loss {np.mean(losses[-68:]):.4f}", flush=True)
    return float(np.mean(losses))


@torch.inference_mode()
def logits_of(network: nn.Module, microvolts: np.ndarray, batch: int = 128) -> np.ndarray:
    """Return the network's logits of whole recordings."""
    network.eval()
    pieces = [network(torch.from_numpy(millivolts(microvolts[at : at + batch]))) for at in range(0, len(microvolts), batch)]
    return torch.cat(pieces).numpy()


def _targets(learn: Recordings) -> Tensor:
    people = np.stack([(learn.age - 60) / 20, 2 * learn.sex - 1], axis=1).clip(-3, 3)
    return torch.from_numpy(np.concatenate([all_labels(learn), people], axis=1)).float()


def all_labels(recordings: Recordings) -> npt.NDArray[np.float32]:
    """Return statements and superclasses side by side, in the order of the network's logits."""
    return np.concatenate([recordings.labels, superclass_labels(recordings.labels, recordings.statements)], axis=1)


def _weights(learn: Recordings, balance: float) -> Tensor:
    """Weigh labels by their entropy to the power of -``balance``: at 0 rare ones hardly move the loss, at 1 all move it alike."""
    share = torch.from_numpy(all_labels(learn).mean(axis=0)).clamp(FEWEST_WEIGHED / len(learn.labels), 0.5)
    entropy = -(share * share.log() + (1 - share) * (1 - share).log())
    weights = entropy**-balance
    return weights * entropy.mean() / (weights * entropy).mean()


def _schedule(
    optimiser: torch.optim.Optimizer, member: dict[str, Any], recipe: dict[str, Any], batches: int, done: int = 0
) -> torch.optim.lr_scheduler.OneCycleLR:
    steps = member["epochs"] * batches
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=member["rate"], total_steps=steps, pct_start=recipe["warm_up"], last_epoch=done - 1
    )


def _start_at_prevalence(network: Reader, learn: Recordings) -> None:
    """Let each statement start as likely as it is, or the first epoch is spent on learning that most are rare."""
    share = torch.from_numpy(all_labels(learn).mean(axis=0)).clamp(1e-4, 1 - 1e-4)
    with torch.no_grad():
        network.head.linear.bias[: len(share)] = torch.logit(share)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the twelve-lead ECG networks.")
    parser.add_argument("--data", type=Path, required=True, help="folder with labels.csv and foldNN.xz")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=RECIPE)
    parser.add_argument("--member", action="append", help="train this member only; may be repeated")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = tomllib.loads(options.recipe.read_text(encoding="utf-8"))
    learn, check = read_folds(options.data, TRAINING_FOLDS), read_folds(options.data, (VALIDATION_FOLD,))
    for member in recipe["member"]:
        if options.member is None or member["name"] in options.member:
            train_member(member, recipe, learn, check, options.out)


if __name__ == "__main__":
    main()
