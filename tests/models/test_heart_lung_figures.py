"""``sumu evaluate heart-lung`` on a folder of one's own: what it prints, and what it says of a folder that is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cli.heart_lung_figures import evaluate_heart_lung
from models.heart_lung.data import NotHeartLungData

SHARED = Path(__file__).parents[3] / "shared" / "data" / "heart_lung"


def command() -> typer.Typer:
    """Return an application of this command alone."""
    app = typer.Typer()
    app.command()(evaluate_heart_lung)
    return app


def own_folder(place: Path) -> Path:
    """Write a folder with one image without anatomy and without a mask."""
    (place / "img512").mkdir()
    (place / "manifest.csv").write_text("id,ctr_published\n1.2.3.4.5.png,0.51\n", encoding="utf-8")
    noise = np.random.default_rng(3).integers(0, 255, (300, 260), dtype=np.uint8)
    Image.fromarray(noise).save(place / "img512" / "1.2.3.4.5.png")
    return place


def test_images_without_masks_are_measured_and_no_number_is_made_up(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path)), "--json"])
    assert printed.exit_code == 0, printed.output
    figures = json.loads(printed.output)
    assert (figures["images"], figures["withheld"]) == (1, 1)
    assert figures["predictions"][0]["doubt"]
    assert figures["dice"] == {}
    assert len(figures["weights_sha256"]) == 64


def test_a_person_reads_lines(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path))])
    assert "1 images, no number for 1" in printed.output


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path)])
    assert isinstance(printed.exception, NotHeartLungData)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the chests with masks, which are not part of the project")
def test_the_shipped_network_measures_chests_that_it_learned_from(tmp_path: Path) -> None:
    """A broken preprocessing or export would show here; how well it does on unseen devices stands in the card."""
    lines = (SHARED / "manifest.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join([lines[0], *lines[1::20]]), encoding="utf-8")
    for name in ("img512", "mask512"):
        (tmp_path / name).symlink_to(SHARED / name)
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path), "--json"])
    figures = json.loads(printed.output)
    assert figures["withheld"] <= 2
    assert figures["mean_absolute_error"][0] < 0.02
    assert figures["dice"]["heart"] > 0.9
