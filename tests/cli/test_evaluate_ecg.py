"""``sumu evaluate ecg`` measures whatever parts a folder holds, and writes them as a card."""

from __future__ import annotations

import csv
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cli.command import app
from cli.ecg_beat_figures import beat_figures
from cli.evaluation import NothingToMeasure
from inference.ecg.delineation import Delineator
from models.ecg.data import MICROVOLTS_A_STEP as MICROVOLTS_OF_PTBXL
from models.ecg_quality.data import MICROVOLTS_A_STEP
from tests.inference.ecg.hearts import heart, regular
from tests.models.test_ecg_delineation import write_record
from tests.pacs_bridge.ecg.machine_files import TWELVE, cardiosoft


def figures(data: Path, *options: str) -> dict[str, Any]:
    found = CliRunner().invoke(app, ["evaluate", "ecg", "--data", str(data), "--json", *options])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)  # type: ignore[no-any-return]


def twelve(**about: Any) -> dict[str, np.ndarray]:
    eight = heart(regular(0.8), **about)
    one, two = eight["I"], eight["II"]
    leads = {**eight, "III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return {name: leads[name] for name in TWELVE}


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A folder of hearts with marks, recordings with a judgement, and a file of a machine."""
    marked, judged, files = tmp_path / "ludb" / "data", tmp_path / "quality", tmp_path / "formats"
    for folder in (marked, judged, files):
        folder.mkdir(parents=True)
    for number, rr in enumerate((0.7, 0.9)):
        write_record(marked, str(number), regular(rr))
    good = np.stack(list(twelve(rate=250.0).values()))
    steps = np.rint(np.stack([good, np.zeros_like(good)]) / MICROVOLTS_A_STEP).astype(np.int16)
    halves = np.diff(steps, axis=2, prepend=np.int16(0)).astype("<i2").view(np.uint8).reshape(-1, 2).T
    (judged / "signals.xz").write_bytes(lzma.compress(np.ascontiguousarray(halves).tobytes()))
    with (judged / "labels.csv").open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("record", "label"), ("new-1", "acceptable"), ("new-2", "unacceptable")])
    cardiosoft(files, {name: np.rint(row / 5).astype(np.int32) for name, row in twelve().items()})
    (files / "letter.txt").write_text("no ECG", encoding="utf-8")
    return tmp_path


def test_every_part_of_a_folder_is_measured(everything: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    found = figures(everything, "--card", str(card))
    errors = found["measurement"]["errors"]
    assert found["measurement"]["records"] == 2
    assert errors["rate"]["median_absolute_error"] < 1
    assert errors["qrs"]["median_absolute_error"] < 12
    assert errors["pr"]["compared"] == 2
    assert found["marked_exchange"]["exchanges"]["RA/LA"].keys() == {"suspected", "named"}
    assert found["quality"]["new_records"] == 2
    assert found["quality"]["auc_of_new_records"] == 1
    assert found["quality"]["called_unfit"] == {"unacceptable": 1, "acceptable": 0}
    first, example = found["devices"]
    assert first["file"] == "cardiosoft.xml"
    assert first["printed"]["ecg_qrs"] == first["read_back"]["ecg_qrs"] == 94
    assert first["statements"] == ["窦性心律"]
    assert first["equal"]
    assert first["difference"]["ecg_qrs"] == first["ours"]["ecg_qrs"] - 94
    assert example["read_back"]["ecg_pr"] == 161
    assert 0 < found["seconds_from_file_to_statements"]["processor"] < 5
    text = card.read_text(encoding="utf-8")
    for words in (
        "## Measurements",
        "## Quality",
        "## Beside the device",
        "| cardiosoft.xml | QRS (ms) | 94 | 94 |",
        "s from a DICOM file",
    ):
        assert words in text


def test_one_part_alone_is_measured_too(everything: Path) -> None:
    found = figures(everything / "ludb")
    assert found.keys() == {"measurement", "marked_exchange", "seconds_from_file_to_statements"}
    assert figures(everything / "formats").keys() == {"devices", "seconds_from_file_to_statements"}


def test_the_kinds_of_beats_are_counted_by_what_reports_say(tmp_path: Path) -> None:
    early = [at - 0.25 if number == 5 else at for number, at in enumerate(regular(0.8))]
    rows = [("1", early, {"PAC": 1}), ("2", regular(0.8), {"NORM": 1})]
    signals = np.stack([np.stack(list(heart(times, rate=100.0).values())) for _, times, _ in rows])
    steps = np.rint(signals / MICROVOLTS_OF_PTBXL).astype(np.int16)
    halves = np.diff(steps, axis=2, prepend=np.int16(0)).astype("<i2").view(np.uint8).reshape(-1, 2).T
    (tmp_path / "fold09.xz").write_bytes(lzma.compress(np.ascontiguousarray(halves).tobytes()))
    np.save(tmp_path / "fold09_ids.npy", np.array([int(name) for name, *_ in rows]))
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as lines:
        table = csv.writer(lines)
        table.writerow(["ecg_id", "age", "sex", "strat_fold", "PVC", "PAC", "NORM"])
        table.writerows([name, 50, 0, 9, *(said.get(code, 0) for code in ("PVC", "PAC", "NORM"))] for name, _, said in rows)
    assert beat_figures(tmp_path, (9,), Delineator()) == {
        "PAC": {"records": 1, "with_ventricular": 0, "with_early": 1},
        "NORM": {"records": 1, "with_ventricular": 0, "with_early": 0},
    }


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("no ECG", encoding="utf-8")
    refused = CliRunner().invoke(app, ["evaluate", "ecg", "--data", str(tmp_path)])
    assert isinstance(refused.exception, NothingToMeasure)
    assert "ludb" in refused.exception.remedy
