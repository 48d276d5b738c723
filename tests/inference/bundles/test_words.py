"""Every reason for which an added model stays silent has words, and what a model brings never changes a word of the house."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inference.bundles.engine import ANOTHER_READ
from inference.bundles.scope import REASONS
from inference.engine import StudyFiles
from inference.roster import RemovedEngine
from inference.vocabulary import terms
from inference.vocabulary.terms import of_the_house, vocabulary
from models.installing.home import ModelHome
from tests.made_bundles import LARGE, VOLUME, sphere_metadata

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def test_every_reason_speaks_chinese_and_english() -> None:
    gone = RemovedEngine("made_sphere").read(StudyFiles(study_instance_uid="1", instances=())).reason
    spoken = {*REASONS, ANOTHER_READ, gone}
    listed = {code: term for code, term in of_the_house().reasons.items() if code.startswith("bundle_")}
    assert spoken == set(listed)
    for term in listed.values():
        assert CHINESE.search(term.zh), term.code
        assert term.en, term.code
        assert not CHINESE.search(term.en), term.code


def test_brought_words_are_known_until_further_ones_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = ModelHome(tmp_path)
    monkeypatch.setattr(terms, "_brought_folder", home.words_folder)
    assert LARGE not in vocabulary().findings
    home.keep_words("made_sphere", sphere_metadata()["sumu"]["vocabulary"])
    known = vocabulary()
    assert (known.findings[LARGE].zh, known.measurements[VOLUME].unit, known.engines["made_sphere"].en) == (
        "球体增大",
        "mL",
        "Sphere",
    )
    assert known.findings["chest_effusion"] == of_the_house().findings["chest_effusion"]


def test_a_later_version_adds_words_and_keeps_those_of_the_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = ModelHome(tmp_path)
    monkeypatch.setattr(terms, "_brought_folder", home.words_folder)
    words = sphere_metadata()["sumu"]["vocabulary"]
    home.keep_words("made_sphere", words)
    home.keep_words("made_sphere", {"measurement": {VOLUME: {**words["measurement"][VOLUME], "zh": "球体容积"}}})
    assert vocabulary().measurements[VOLUME].zh == "球体容积"
    assert vocabulary().findings[LARGE].zh == "球体增大"
