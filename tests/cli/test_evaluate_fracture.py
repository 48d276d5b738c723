"""``sumu evaluate fracture`` on a folder of one's own: what it prints, and what it says of a folder that is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from cli.evaluation import evaluate
from cli.fracture_figures import evaluate_fracture
from models.limbs.data import NotLimbData

SHARED = Path(__file__).parents[3] / "shared" / "data" / "fracture"
COLUMNS = "image_id,hand,leg,hip,shoulder,fractured,width,height,boxes_xyxy"


def command() -> typer.Typer:
    """Return an application of this command alone."""
    app = typer.Typer()
    app.command()(evaluate_fracture)
    return app


def own_folder(place: Path) -> Path:
    """Write a folder with two images without anatomy, one said to be broken."""
    (place / "img384").mkdir()
    lines = [COLUMNS, 'a.png,1,0,0,0,1,300,400,"10,10,290,390"', "b.png,0,1,0,0,0,300,400,"]
    (place / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in ("a.png", "b.png"):
        noise = np.random.default_rng(ord(name[0])).integers(0, 255, (400, 300), dtype=np.uint8)
        Image.fromarray(noise).save(place / "img384" / name)
    return place


def test_a_folder_without_groups_and_projections_is_measured(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path)), "--json"])
    assert printed.exit_code == 0, printed.output
    figures = json.loads(printed.output)
    assert (figures["images"], figures["fractured"]) == (2, 1)
    assert figures["auc"][0] in (0.0, 0.5, 1.0)
    assert figures["subgroups"]["leg"]["images"] == 1
    assert figures["subgroups"]["hip"]["images"] == 0
    assert len(figures["weights_sha256"]) == 64
    # Nearly the whole image is the marked box: the place lies inside it.
    assert figures["predictions"][0]["hit"] is True
    assert figures["predictions"][1]["hit"] is None


def test_a_person_reads_lines(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(own_folder(tmp_path))])
    assert "2 images without metal, 1 fractured" in printed.output
    assert "leg: 1 images, 0 fractured" in printed.output


def test_it_needs_no_torch(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from cli.fracture_figures import fracture_figures_of\n"
        f"print(fracture_figures_of(Path({str(own_folder(tmp_path))!r}))['images'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2", done.stderr


def test_the_command_is_one_of_those_that_evaluate() -> None:
    assert CliRunner().invoke(evaluate, ["fracture", "--help"]).exit_code == 0


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path)])
    assert isinstance(printed.exception, NotLimbData)


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the limbs with boxes, which are not part of the project")
def test_the_shipped_network_finds_fractures_that_it_learned_from(tmp_path: Path) -> None:
    """A broken preprocessing or export would show here; how well it does on images that it never saw stands in the card."""
    lines = (SHARED / "manifest.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "manifest.csv").write_text("\n".join([lines[0], *lines[1::25]]), encoding="utf-8")
    (tmp_path / "img384").symlink_to(SHARED / "img384")
    printed = CliRunner().invoke(command(), ["--data", str(tmp_path), "--json"])
    figures = json.loads(printed.output)
    assert figures["auc"][0] > 0.9
    assert figures["boxes_hit_in_true_positives"][0] > 0.5
    assert figures["refused_as_no_limb"] <= 2
