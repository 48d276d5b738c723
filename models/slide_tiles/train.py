"""Trains the tile network: ``python -m models.slide_tiles.train --slide cmu_small_region.svs --out run``.

Tiles are drawn once, by seed, and flipped anew in every epoch. The epoch kept is the one with the least loss on the
validation band.
``tiles.npz``, beside the weights, holds the tiles by which the focus rule is set and both are compared.
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

from models.slide_tiles.data import Sampled, draw, slide_bands
from models.slide_tiles.degradation import BLURRED_AT_LEAST, SHARP_AT_MOST, Kernel
from models.slide_tiles.network import TileNetwork

BATCH = 64
#: Loss of focus, which training draws. Motion and doubling are for the test alone: one shorter training with motion called many
#: sharp tiles of the other stain blurred, and was not pursued.
_SEEN: tuple[Kernel, ...] = ("gaussian", "disc")


def train(slide: Path, out: Path, *, epochs: int, tiles: int, threads: int, seed: int) -> Path:
    """Train and write ``slide_tiles.pt``, ``training.json`` and ``tiles.npz`` into ``out``; return the weights' path."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    bands = slide_bands(slide)
    validation = draw(bands["validate"], 600, seed + 1, kernels=_SEEN, varied=True)
    drawn = draw(bands["train"], tiles, seed, kernels=_SEEN, varied=True)
    inputs, targets = as_tensor(drawn), torch.from_numpy(drawn.labels)
    network = TileNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=epochs * (tiles // BATCH))
    began, history = time.monotonic(), []
    best, kept = float("inf"), copy.deepcopy(network.state_dict())
    for epoch in range(epochs):
        network.train()
        order, losses = torch.randperm(tiles), []
        for start in range(0, tiles - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = functional.cross_entropy(network(_turned(inputs[chosen])), targets[chosen], label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        loss_seen, right = _check(network, validation)
        history.append(
            {"epoch": epoch, "loss": float(np.mean(losses)), "validation_loss": loss_seen, "validation_accuracy": right}
        )
        print(history[-1], f"{time.monotonic() - began:.0f} s", flush=True)
        if loss_seen < best:
            best, kept = loss_seen, copy.deepcopy(network.state_dict())
    weights = out / "slide_tiles.pt"
    torch.save(kept, weights)
    facts = {"seed": seed, "tiles": tiles, "seconds": round(time.monotonic() - began), "history": history}
    (out / "training.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    _keep_tiles(bands, out / "tiles.npz", seed)
    return weights


def as_tensor(drawn: Sampled) -> Tensor:
    """Return tiles as the network sees them: n × 3 × edge × edge in 0..1."""
    return torch.from_numpy(drawn.tiles).permute(0, 3, 1, 2).contiguous().float() / 255


def _turned(batch: Tensor) -> Tensor:
    turned = torch.rot90(batch, int(torch.randint(4, ()).item()), (2, 3))
    return turned.flip(3) if torch.rand(()) < 0.5 else turned


def _check(network: TileNetwork, drawn: Sampled) -> tuple[float, float]:
    network.eval()
    targets = torch.from_numpy(drawn.labels)
    with torch.no_grad():
        logits = network(as_tensor(drawn))
    return float(functional.cross_entropy(logits, targets)), float((logits.argmax(1) == targets).float().mean())


def _keep_tiles(bands: dict[str, np.ndarray], file: Path, seed: int) -> None:
    from skimage.data import immunohistochemistry

    other = immunohistochemistry()
    sets = {
        "rule": draw(bands["train"], 1200, seed + 1001, kernels=_SEEN, varied=False),
        "test": draw(bands["test"], 1200, seed + 1002, kernels=_SEEN, varied=False),
        "test_varied": draw(bands["test"], 1200, seed + 1003, kernels=_SEEN, varied=True),
        "test_motion": draw(bands["test"], 1200, seed + 1004, kernels=("motion",), varied=False),
        "test_doubled": draw(bands["test"], 1200, seed + 1007, kernels=("doubled",), varied=False),
        "other_stain": draw(other, 600, seed + 1005, kernels=_SEEN, varied=False),
        "between": draw(bands["test"], 900, seed + 1006, kernels=_SEEN, varied=False, blurred=(SHARP_AT_MOST, BLURRED_AT_LEAST)),
    }
    arrays = {f"{name}.{field}": getattr(drawn, field) for name, drawn in sets.items() for field in ("tiles", "labels", "blurs")}
    np.savez_compressed(file, **arrays)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--tiles", type=int, default=4608)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    print(train(given.slide, given.out, epochs=given.epochs, tiles=given.tiles, threads=given.threads, seed=given.seed))


if __name__ == "__main__":
    _main()
