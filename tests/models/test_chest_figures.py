"""``sumu evaluate chest`` on a folder of one's own: what it prints and writes, and what it says of a folder that is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cli.chest_figures import evaluate_chest
from models.chest.data import NotChestData
from models.chest.findings import CODES, FINDINGS

SHARED = Path(__file__).parents[3] / "shared" / "data" / "chest"


def command() -> typer.Typer:
    """Return an application of this command alone."""
    app = typer.Typer()
    app.command()(evaluate_chest)
    return app


def own_folder(place: Path, count: int = 6) -> Path:
    """Write images without anatomy, every other one with an effusion in its row."""
    chance = np.random.default_rng(3)
    (place / "images").mkdir()
    lines = [",".join(("file", "patient_id", "age", "sex", *FINDINGS, "bbox"))]
    for number in range(count):
        noise = chance.integers(0, 255, (300, 260), dtype=np.uint8)
        Image.fromarray(noise).save(place / "images" / f"{number}.png")
        labels = ["1" if name == "Effusion" and number % 2 else "0" for name in FINDINGS]
        box = '"Effusion:100,100,300,300"' if number == 1 else ""
        lines.append(",".join((f"{number}.png", str(number), "50", "F" if number < 3 else "M", *labels, box)))
    (place / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def test_pictures_that_are_no_chests_are_measured_and_counted_as_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path)), "--json", "--page", str(page)])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.output)
    assert (found["images"], found["patients"], found["refused_by_gate"]) == (6, 6, 6)
    assert len(found["weights_sha256"]) == 64
    assert set(found["findings"]) == set(CODES)
    effusion = found["findings"]["chest_effusion"]
    assert effusion["positives"] == 3
    assert sum(group["images"] for group in effusion["reliability"]) == 6
    assert found["findings"]["chest_mass"]["auc"] == [None, None, None]
    assert found["subgroups"]["women"]["images"] == found["subgroups"]["men"]["images"] == 3
    assert found["pointing"]["boxes"] == 1
    assert len(found["predictions"]) == 6
    text = page.read_text(encoding="utf-8")
    assert "Reliability of chest_effusion" in text
    assert "Refused by the gate, 6" in text
    assert "Reliability of chest_mass" not in text


def test_a_person_reads_lines(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path, 2))])
    assert "2 images of 2 patients, 2 refused by the gate" in printed.output
    assert "chest_mass: 0 positives, area not to be said" in printed.output


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path)])
    assert isinstance(printed.exception, NotChestData)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the chests, which are not part of the project")
def test_the_shipped_network_reads_chests_that_it_learned_from(tmp_path: Path) -> None:
    """A broken preprocessing or export would show here; how well it does on unseen patients stands in the card."""
    lines = (SHARED / "nih_manifest.csv").read_text(encoding="utf-8").splitlines()
    careful = [line for line in lines[1:] if "jrzech" in line]
    (tmp_path / "manifest.csv").write_text("\n".join([lines[0], *careful[::6]]), encoding="utf-8")
    (tmp_path / "images").symlink_to(SHARED / "nih384")
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path), "--json"])
    assert printed.exit_code == 0, printed.output
    found = json.loads(printed.output)
    assert found["images"] == len(careful[::6])
    assert found["refused_by_gate"] <= 1
    assert found["mean_auc_13"][0] > 0.8
