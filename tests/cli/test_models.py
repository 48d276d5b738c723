"""A certified model in an afternoon: the way of docs/models.md, typed."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from cli.command import app
from core.audit import verify
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import AuditEvent
from models.bundle import BUNDLES, read_bundle
from tests.made_bundles import bright_parts, grey_bundle, sphere_bundle, sphere_metadata, write_bundle


def sumu(folder: Path, *words: object) -> str:
    answer = CliRunner().invoke(app, [*map(str, words), "--data", str(folder)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


def events(folder: Path) -> list[tuple[str, str, dict[str, Any]]]:
    with Database(Settings(data=folder).database_address).reading() as session:
        verify(session)
        rows = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
        return [(row.action, row.subject, row.detail) for row in rows]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "var"


@pytest.fixture
def better_chest(tmp_path: Path) -> Path:
    """The shipped chest network under another name, in its place."""
    folder = Path(shutil.copytree(BUNDLES / "chest_radiograph", tmp_path / "better_chest"))
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata |= {"name": "better_chest", "version": "3.0.0"}
    metadata["sumu"]["replaces"] = "chest_radiograph"
    file.write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def test_a_model_comes_in_works_gives_way_comes_back_and_goes(tmp_path: Path, data: Path) -> None:
    first = sphere_bundle(tmp_path)
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in first.rglob("*"):
            packed.write(path, f"made_sphere/{path.relative_to(first)}")
    told = sumu(data, "model", "add", archive)
    assert "SHA-256" in told
    assert "MB at most" in told
    assert "made_sphere 1.0.0 reads from now on" in told
    metadata = sphere_metadata()
    metadata["version"] = "1.1.0"
    told = sumu(data, "model", "add", write_bundle(tmp_path, metadata, bright_parts()))
    assert "sumu model use made_sphere 1.1.0" in told
    assert state(data, "made_sphere", "1.0.0") == "works"
    assert state(data, "made_sphere", "1.1.0") == "stands by"
    assert "instead of made_sphere 1.0.0" in sumu(data, "model", "use", "made_sphere", "1.1.0")
    assert "The card of 1.1.0." in sumu(data, "model", "card", "made_sphere")
    assert "The card of 1.0.0." in sumu(data, "model", "card", "made_sphere", "--version", "1.0.0")
    assert "instead of made_sphere 1.1.0" in sumu(data, "model", "use", "made_sphere", "1.0.0")
    assert "reads no longer" in sumu(data, "model", "use", "made_sphere", "none")
    assert state(data, "made_sphere", "1.0.0") == "stands by"
    sumu(data, "model", "remove", "made_sphere", "--version", "1.1.0")
    sumu(data, "model", "remove", "made_sphere")
    assert "made_sphere" not in sumu(data, "model", "list")
    actions = [action for action, _, _ in events(data)]
    assert actions == [
        *("model_added", "model_put_to_work", "model_added", "model_put_to_work", "model_put_to_work"),
        *("model_taken_out_of_work", "model_removed", "model_removed"),
    ]
    assert len(events(data)[0][2]["weights_sha256"]) == 64


def test_a_better_chest_network_takes_the_place_of_the_shipped_one_and_gives_it_back(data: Path, better_chest: Path) -> None:
    told = sumu(data, "model", "add", better_chest)
    assert "sumu model use better_chest 3.0.0" in told
    shipped = read_bundle(BUNDLES / "chest_radiograph").version
    assert state(data, "chest_radiograph", shipped) == "works"
    sumu(data, "model", "use", "better_chest", "3.0.0")
    assert "gives way to better_chest 3.0.0" in sumu(data, "model", "list")
    assert "the shipped network reads" in sumu(data, "model", "use", "chest_radiograph", "shipped")
    assert state(data, "chest_radiograph", shipped) == "works"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("network_data_format", "inputs", "image", "spatial_shape"), [256, 256], "must be .1, 384, 384. and is .1, 256, 256."),
        (
            ("sumu", "details"),
            {"gate_threshold": 0.5},
            r"lacks sumu.details.adult_years, \S+, sumu.details.localises",
        ),
        (("sumu", "engine"), "ecg", 'lacks sumu.engine = "radiograph"'),
        (("sumu", "replaces"), "ecg_statements", "in the place of 'ecg_statements'"),
        (("name"), "Better Chest", "name cannot be used"),
        (("name"), "ecg_statements", "name cannot be used"),
        (("version"), "1/2", "version"),
        (("intended_use"), " ", "intended_use is empty"),
        (("sumu", "thresholds"), {"chest_effusion": 1.5}, "operating point"),
    ],
)
def test_a_replacement_that_does_not_fit_is_refused_and_nothing_stays(
    data: Path, better_chest: Path, path: Any, value: Any, words: str
) -> None:
    file = better_chest / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    keys = (path,) if isinstance(path, str) else path
    place = metadata
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    file.write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(SumuError, match=words):
        CliRunner().invoke(app, ["model", "add", str(better_chest), "--data", str(data)], catch_exceptions=False)
    assert [place.name for place in (data / "models").iterdir()] == []
    assert not (data / "sumu.db").exists()


def test_a_bundle_with_scripts_comes_in_without_them(tmp_path: Path, data: Path) -> None:
    folder = grey_bundle(tmp_path)
    (folder / "scripts").mkdir()
    (folder / "scripts" / "inference.py").write_text("raise SystemExit")
    with pytest.raises(SumuError, match="--allow-code"):
        sumu(data, "model", "add", folder)
    told = sumu(data, "model", "add", folder, "--allow-code")
    assert "Left out   scripts/inference.py: code, which Sumu does not run" in told
    assert not list((data / "models").rglob("*.py"))
    assert events(data)[0][2]["code_left_out"] == ["scripts/inference.py"]


def test_the_cards_of_the_shipped_models_are_printed(data: Path) -> None:
    assert (
        sumu(data, "model", "card", "heart_lung").strip() == (BUNDLES / "heart_lung" / "docs" / "README.md").read_text().strip()
    )
    with pytest.raises(SumuError, match="There is no model 'nothing'"):
        sumu(data, "model", "card", "nothing")
    with pytest.raises(SumuError, match="of version 9"):
        sumu(data, "model", "card", "heart_lung", "--version", "9")


def test_a_fault_in_the_countys_rules_is_shown_with_its_model(tmp_path: Path, data: Path) -> None:
    sumu(data, "model", "add", sphere_bundle(tmp_path))
    (data / "models" / "routing.toml").write_text('[made_sphere]\nmodalitys = ["CT"]\n', encoding="utf-8")
    assert "CANNOT READ" in sumu(data, "model", "list")
    with pytest.raises(SumuError, match="modalitys"):
        sumu(data, "model", "use", "made_sphere", "1.0.0")


def state(data: Path, name: str, version: str) -> str:
    line = next(line for line in sumu(data, "model", "list").splitlines() if line.split()[:2] == [name, version])
    return next(words for words in ("stands by", "works", "gives way") if words in line)
