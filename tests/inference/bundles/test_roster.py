"""A worker has the models that the county uses now, and notices the next one without a restart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from core.settings import Settings
from core.tables import Instance
from inference.bundles.engine import BundleEngine
from inference.engine import Outcome, StudyFiles
from inference.roster import engines_of, wanting
from inference.vocabulary import terms
from models.bundle import BUNDLES, read_bundle
from models.installing.home import ModelHome
from tests.made_bundles import VOLUME, bright_parts, sphere_bundle, sphere_metadata, write_bundle

CT = Instance(sop_class_uid="1.2.840.10008.5.1.4.1.1.2", sop_instance_uid="1.2", series_instance_uid="1.1", modality="CT")
DX = Instance(sop_class_uid="1.2.840.10008.5.1.4.1.1.1.1", sop_instance_uid="1.3", series_instance_uid="1.1", modality="DX")


@pytest.fixture(autouse=True)
def words_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roster tells this process where words are; after the test it knows those of the house alone."""
    monkeypatch.setattr(terms, "_brought_folder", None)


def bring(settings: Settings, source: Path) -> None:
    """Put a bundle into the models' folder and to work, as the command does."""
    home = ModelHome(settings.models_folder)
    bundle = read_bundle(source)
    with home.staging() as scratch:
        home.keep(Path(shutil.copytree(source, scratch / "copy")), bundle)
    home.keep_words(bundle.name, bundle.declared.get("vocabulary", {}))
    home.put_to_work(bundle.name, bundle.version)


def test_the_shipped_engines_are_there_without_any_added_model(settings: Settings) -> None:
    engines = engines_of(settings)
    assert {"ecg", "radiograph", "pathology"} <= set(engines)
    assert wanting(engines, [CT]) == []
    with pytest.raises(KeyError):
        engines["No engine"]


def test_a_model_is_taken_up_and_let_go_while_the_worker_runs(settings: Settings, tmp_path: Path) -> None:
    engines = engines_of(settings)
    radiograph = engines["radiograph"]
    bring(settings, sphere_bundle(tmp_path / "source"))
    assert wanting(engines, [CT]) == ["made_sphere"]
    assert terms.vocabulary().measurements[VOLUME].zh == "球体体积"
    assert engines["radiograph"] is radiograph  # its network stays loaded
    ModelHome(settings.models_folder).rest("made_sphere")
    assert wanting(engines, [CT]) == []
    gone = engines["made_sphere"].read(StudyFiles(study_instance_uid="1", instances=()))
    assert (gone.outcome, gone.reason) == (Outcome.NO_MODEL, "bundle_removed")
    assert terms.vocabulary().measurements[VOLUME]  # pre-reads that exist still speak


def test_the_next_version_takes_over_and_the_earlier_one_comes_back(settings: Settings, tmp_path: Path) -> None:
    engines = engines_of(settings)
    for version in ("1.0.0", "2.0.0"):
        metadata = sphere_metadata()
        metadata["version"] = version
        bring(settings, write_bundle(tmp_path / "source", metadata, bright_parts()))
        assert version_of(engines["made_sphere"]) == version
    ModelHome(settings.models_folder).put_to_work("made_sphere", "1.0.0")
    assert version_of(engines["made_sphere"]) == "1.0.0"


def test_two_models_read_one_study(settings: Settings, tmp_path: Path) -> None:
    engines = engines_of(settings)
    bring(settings, sphere_bundle(tmp_path / "source"))
    other = sphere_metadata("other_sphere")
    other["sumu"]["vocabulary"] = {"engine": other["sumu"]["vocabulary"]["engine"]}
    bring(settings, write_bundle(tmp_path / "source", other, bright_parts()))
    assert sorted(wanting(engines, [CT, DX])) == ["made_sphere", "other_sphere", "radiograph"]


def test_a_rule_of_the_county_holds_at_once_and_a_broken_one_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    engines = engines_of(settings)
    bring(settings, sphere_bundle(tmp_path / "source"))
    file = ModelHome(settings.models_folder).routing_file
    file.write_text('[made_sphere]\nmodalities = ["MR"]\n', encoding="utf-8")
    assert wanting(engines, [CT]) == []
    for broken in ("[made_sphere\n", '[made_sphere]\nmodalitys = ["CT"]\n'):
        file.write_text(broken, encoding="utf-8")
        assert wanting(engines, [CT]) == []
        assert "made_sphere" in engines
    file.unlink()
    assert wanting(engines, [CT]) == ["made_sphere"]


def test_a_bundle_takes_the_place_of_the_shipped_chest_network(settings: Settings, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(BUNDLES / "chest_radiograph", tmp_path / "better_chest"))
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata |= {"name": "better_chest", "version": "3.0.0"}
    metadata["sumu"]["replaces"] = "chest_radiograph"
    file.write_text(json.dumps(metadata), encoding="utf-8")
    engines = engines_of(settings)
    shipped = engines["radiograph"]
    bring(settings, folder)
    assert "better_chest" not in engines
    assert engines["radiograph"] is not shipped
    assert engines["radiograph"]._network.bundle.name == "better_chest"  # type: ignore[attr-defined]
    ModelHome(settings.models_folder).rest("better_chest")
    assert engines["radiograph"]._network.bundle.name == "chest_radiograph"  # type: ignore[attr-defined]


def version_of(engine: object) -> str:
    assert isinstance(engine, BundleEngine)
    return engine.identity.version
