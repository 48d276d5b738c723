"""A bundle is used whole and unaltered, or refused with what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnxruntime
import pytest

from core.errors import SumuError
from models.bundle import BUNDLES, BundleIncomplete, WeightsAltered, list_bundles, read_bundle

CHEST = BUNDLES / "chest_radiograph"


@pytest.fixture
def bundle_folder(tmp_path: Path) -> Path:
    """A copy of the shipped chest bundle that a test may spoil."""
    return Path(shutil.copytree(CHEST, tmp_path / "chest_radiograph"))


def change(folder: Path, *path: str, to: object) -> None:
    """Set one value of the metadata."""
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    place = metadata
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    file.write_text(json.dumps(metadata), encoding="utf-8")


def test_the_shipped_chest_bundle_names_everything_that_a_pre_read_must_name() -> None:
    bundle = read_bundle(CHEST)
    assert (bundle.name, bundle.engine) == ("chest_radiograph", "radiograph")
    assert len(bundle.weights_sha256) == 64
    assert len(bundle.labels) == 15
    assert 0 < len(bundle.thresholds) <= len(bundle.labels)
    assert all(0 < limit < 1 for limit in bundle.thresholds.values())
    assert bundle.preprocessing
    assert "radiologist" in bundle.intended_use
    assert any("NIH" in source.name for source in bundle.sources)
    assert bundle.weights.stat().st_size < 25_000_000


def test_the_metadata_describes_the_tensors_of_the_onnx_file() -> None:
    bundle = read_bundle(CHEST)
    session = onnxruntime.InferenceSession(bundle.weights, providers=["CPUExecutionProvider"])
    for described, real in ((bundle.inputs, session.get_inputs()), (bundle.outputs, session.get_outputs())):
        assert [(one.name, list(one.shape)) for one in described] == [(one.name, list(one.shape[1:])) for one in real]


def test_the_card_names_the_same_weights_and_the_acknowledgement() -> None:
    bundle = read_bundle(CHEST)
    card = bundle.card.read_text(encoding="utf-8")
    assert bundle.weights_sha256 in card
    assert "NIH Clinical Center" in card


def test_weights_with_one_other_byte_are_refused(bundle_folder: Path) -> None:
    weights = bundle_folder / "models" / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(WeightsAltered) as refused:
        read_bundle(bundle_folder)
    assert refused.value.expected != refused.value.found
    assert "do not use" in refused.value.remedy


@pytest.mark.parametrize("name", ["configs/metadata.json", "models/model.onnx", "docs/README.md", "LICENSE"])
def test_a_bundle_without_one_of_its_files_is_refused(bundle_folder: Path, name: str) -> None:
    (bundle_folder / name).unlink()
    with pytest.raises(BundleIncomplete, match=name) as refused:
        read_bundle(bundle_folder)
    assert "docs/models.md" in refused.value.remedy


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sumu", "weights"), {}, "file"),
        (("sumu", "thresholds"), {"chest_unknown": 0.5}, "chest_unknown"),
        (("sumu", "thresholds"), {"chest_effusion": "much"}, "wrong kind"),
        (("sumu", "weights", "file"), "../../elsewhere.onnx", "outside"),
    ],
)
def test_metadata_that_cannot_be_true_is_refused(bundle_folder: Path, path: tuple[str, ...], value: object, words: str) -> None:
    change(bundle_folder, *path, to=value)
    with pytest.raises(BundleIncomplete, match=words):
        read_bundle(bundle_folder)


def test_metadata_that_is_not_json_is_refused(bundle_folder: Path) -> None:
    (bundle_folder / "configs" / "metadata.json").write_text("{", encoding="utf-8")
    with pytest.raises(SumuError, match="not JSON"):
        read_bundle(bundle_folder)


def test_bundles_are_listed_by_name_and_other_folders_passed_over(bundle_folder: Path) -> None:
    (bundle_folder.parent / "notes").mkdir()
    assert [bundle.name for bundle in list_bundles(bundle_folder.parent)] == ["chest_radiograph"]
    assert list_bundles(bundle_folder.parent / "nowhere") == ()
