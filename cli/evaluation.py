"""Commands that measure a shipped model on recordings of one's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.chest_figures import evaluate_chest
from cli.fracture_figures import evaluate_fracture
from cli.heart_lung_figures import evaluate_heart_lung
from core.errors import SumuError

evaluate = typer.Typer(help="Measure a shipped model on your own recordings.", no_args_is_help=True)


class NothingToMeasure(SumuError):
    """The folder does not hold what the evaluation reads."""

    def __init__(self, data: Path, problem: str) -> None:
        super().__init__(
            f"{data} cannot be evaluated: {problem}.",
            remedy="Give a folder with PTB-XL's folds, LUDB's records, the quality set or files of devices, or one that "
            "holds these as ptbxl, ludb, quality and formats; docs/commands.md says what stands in them.",
        )


@evaluate.callback()
def models() -> None:
    """Measure a shipped model on your own recordings."""


evaluate.command("chest")(evaluate_chest)
evaluate.command("heart-lung")(evaluate_heart_lung)
evaluate.command("fracture")(evaluate_fracture)


@evaluate.command("ecg")
def evaluate_ecg(
    data: Annotated[Path, typer.Option("--data", help="Folder of recordings: ptbxl, ludb, quality, formats, or all of them.")],
    fold: Annotated[list[int] | None, typer.Option("--fold", help="This fold only; may be repeated. Default: all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    card: Annotated[Path | None, typer.Option("--card", help="Write the figures as a card in Markdown to this file.")] = None,
) -> None:
    """Measure the ECG pre-read: statements, measurements, kinds of beats, quality, exchanged electrodes, devices, speed."""
    from cli.ecg_card import ecg_card

    found = figures_of(data, fold)
    text = ecg_card(found)
    if card is not None:
        card.write_text(text, encoding="utf-8")
    typer.echo(json.dumps(found, indent=1) if as_json else text)


def figures_of(data: Path, fold: list[int] | None) -> dict[str, Any]:
    """Measure whatever parts ``data`` holds.

    Raises
    ------
    NothingToMeasure
        If it holds no part, or not the folds that were asked for.
    """
    from cli.ecg_beat_figures import beat_figures
    from cli.ecg_device_figures import device_figures, speed_figures
    from cli.ecg_figures import ecg_figures
    from cli.ecg_measurement_figures import measurement_figures
    from cli.ecg_quality_figures import exchange_figures, marked_exchange_figures, quality_figures
    from inference.ecg.acceptance import AcceptanceModel
    from inference.ecg.delineation import Delineator
    from inference.ecg.engine import EcgEngine
    from inference.ecg.exchange import ExchangeDetector
    from inference.ecg.statements import StatementNetwork
    from models.ecg.data import folds_in
    from models.ecg_delineation.ludb import holds_ludb
    from models.ecg_quality.data import holds_quality

    found: dict[str, Any] = {}
    folds = _part(data, "ptbxl", lambda folder: bool(folds_in(folder)) and (folder / "labels.csv").is_file())
    if fold and (missing := sorted(set(fold) - set(folds_in(folds) if folds else ()))):
        raise NothingToMeasure(data, f"fold {', '.join(map(str, missing))} is not there")
    if folds:
        chosen = tuple(fold or folds_in(folds))
        found |= ecg_figures(folds, chosen, StatementNetwork())
        found["exchange"] = exchange_figures(folds, chosen, ExchangeDetector())
        found["beats"] = beat_figures(folds, chosen, Delineator())
    if marked := _part(data, "ludb", holds_ludb):
        found["measurement"] = measurement_figures(marked, Delineator())
        found["marked_exchange"] = marked_exchange_figures(marked, ExchangeDetector())
    if judged := _part(data, "quality", holds_quality):
        found["quality"] = quality_figures(judged, AcceptanceModel())
    # A folder of files is only known by what can be read in it: it is asked last, and by name or where nothing else was found.
    files = data / "formats" if (data / "formats").is_dir() else data
    if (files != data or not found) and files.is_dir() and (rows := device_figures(files, EcgEngine())):
        found["devices"] = rows
    if not found:
        raise NothingToMeasure(data, "it holds no fold with labels.csv, no marked record, no quality set and no file of a device")
    found["seconds_from_file_to_statements"] = speed_figures(EcgEngine())
    return found


def _part(data: Path, name: str, holds: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in (data / name, data) if folder.is_dir() and holds(folder)), None)
