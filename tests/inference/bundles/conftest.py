"""Added bundles and what they read, ready for a test."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pydicom
import pytest

from inference.bundles.engine import BundleEngine
from inference.engine import InstanceFile, StudyFiles
from inference.vocabulary import terms
from models.bundle import read_bundle
from models.bundle_plan import plan_of
from models.installing.home import ModelHome
from tests.made_bundles import grey_bundle, grey_metadata, sphere_bundle, sphere_metadata


def study_of(files: Sequence[Path]) -> StudyFiles:
    """Return files as a settled study; they arrive in any order."""
    shuffled = list(files)
    random.Random(7).shuffle(shuffled)
    instances = [InstanceFile(path=file, header=pydicom.dcmread(file, stop_before_pixels=True)) for file in shuffled]
    return StudyFiles(study_instance_uid=str(instances[0].header.StudyInstanceUID), instances=tuple(instances))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelHome:
    """A models' folder in which the made bundles left their words, known to this process until the test ends."""
    home = ModelHome(tmp_path / "models")
    for metadata in (sphere_metadata(), grey_metadata()):
        home.keep_words(metadata["name"], metadata["sumu"]["vocabulary"])
    monkeypatch.setattr(terms, "_brought_folder", home.words_folder)
    return home


@pytest.fixture
def sphere(home: ModelHome, tmp_path: Path) -> BundleEngine:
    """The engine that measures a bright ball in a CT of the abdomen."""
    return BundleEngine(plan_of(read_bundle(sphere_bundle(tmp_path))))


@pytest.fixture
def grey(home: ModelHome, tmp_path: Path) -> BundleEngine:
    """The engine that calls frontal radiographs bright or dark."""
    return BundleEngine(plan_of(read_bundle(grey_bundle(tmp_path))))
