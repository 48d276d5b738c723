"""Commands that measure a shipped model on recordings of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from core.errors import SumuError

evaluate = typer.Typer(help="Measure a shipped model on your own recordings.", no_args_is_help=True)


class NothingToMeasure(SumuError):
    """The folder does not hold what the evaluation reads."""

    def __init__(self, data: Path, problem: str) -> None:
        super().__init__(
            f"{data} cannot be evaluated: {problem}.",
            remedy="Give a folder with labels.csv, foldNN_ids.npy and foldNN.xz; docs/commands.md says what stands in them.",
        )


@evaluate.callback()
def models() -> None:
    """Measure a shipped model on your own recordings."""


@evaluate.command("ecg")
def evaluate_ecg(
    data: Annotated[Path, typer.Option("--data", help="Folder with labels.csv and the folds, in the form of PTB-XL.")],
    fold: Annotated[list[int] | None, typer.Option("--fold", help="This fold only; may be repeated. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the ECG statement network: areas, calibration, seconds an ECG."""
    from cli.ecg_figures import ecg_figures, table_of
    from inference.ecg.statements import StatementNetwork
    from models.ecg.data import folds_in

    present = folds_in(data)
    if not present or not (data / "labels.csv").is_file():
        raise NothingToMeasure(data, "it has no labels.csv or no fold")
    if missing := sorted(set(fold or ()) - set(present)):
        raise NothingToMeasure(data, f"fold {', '.join(map(str, missing))} is not there")
    found = ecg_figures(data, tuple(fold or present), StatementNetwork())
    typer.echo(json.dumps(found, indent=1) if as_json else table_of(found))
