"""The panel as it serves: the mean of its members' logits, and beside it a linear discriminant over what all of them saw.

The members' own last layers are taught by gradients that common statements dominate. The discriminant (Fisher 1936, its
covariance shrunk) asks of each statement, however rare, what sets its records apart; it is fitted once, in closed form, on
the records that taught the members. Neither alone is as good as their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.ecg.network import LEAD_COUNT, Reader, over_time
from models.ecg.superclasses import SUPERCLASSES

#: Outputs of a member after statements and superclasses: age and sex, which shape the network and are not exported.
SIDE_OUTPUTS = 2
DISCRIMINANT = "discriminant.npz"


class Panel(nn.Module):
    """Members in the order of their names, and the discriminant as one linear layer."""

    def __init__(self, members: Mapping[str, Reader], labels: int) -> None:
        """``labels``: statements and superclasses."""
        super().__init__()
        self.names = tuple(sorted(members))
        self.members = nn.ModuleList(members[name] for name in self.names)
        self.labels = labels
        with torch.inference_mode():
            features = self.described(torch.zeros(1, LEAD_COUNT, 1000))[1].shape[1]
        self.second = nn.Linear(features, labels)

    def described(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean logits (batch, labels) and all that was seen (batch, features) of millivolts (batch, 8, samples)."""
        pairs = [member.described(x) for member in self.members]
        height = torch.log(x.amax(dim=2) - x.amin(dim=2) + 0.05)
        logits = torch.stack([logits[:, : self.labels] for logits, _ in pairs]).mean(dim=0)
        return logits, torch.cat([*(seen for _, seen in pairs), *over_time(x), height], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, labels): the mean of both opinions."""
        logits, seen = self.described(x)
        return (logits + self.second(seen)) / 2


def load_member(file: Path, labels: int) -> Reader:
    """Return a member of the panel with its averaged weights."""
    kept = torch.load(file, weights_only=True)
    network = Reader(kept["member"]["kind"], labels + SIDE_OUTPUTS)
    network.load_state_dict(kept["average"])
    return network.eval()


def load_members(run: Path, statements: int) -> Panel:
    """Return the panel of the members in the run from which no other went on; its discriminant is not fitted."""
    labels = statements + len(SUPERCLASSES)
    made = {file.stem: torch.load(file, weights_only=True)["member"] for file in run.glob("*.pt")}
    surpassed = {member["start"] for member in made.values() if "start" in member}
    return Panel({name: load_member(run / f"{name}.pt", labels) for name in made if name not in surpassed}, labels).eval()


def load_panel(run: Path, statements: int) -> Panel:
    """Return the whole panel of a run."""
    panel = load_members(run, statements)
    with np.load(run / DISCRIMINANT) as kept:
        if tuple(kept["members"]) != panel.names:
            raise SystemExit("The discriminant was fitted to other members: run models.ecg.second_opinion again.")
        fit(panel, kept["weight"], kept["bias"])
    return panel


def fit(panel: Panel, weight: npt.NDArray[np.floating], bias: npt.NDArray[np.floating]) -> None:
    """Put the discriminant in."""
    with torch.no_grad():
        panel.second.weight.copy_(torch.from_numpy(weight))
        panel.second.bias.copy_(torch.from_numpy(bias))
