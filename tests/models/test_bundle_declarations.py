"""What a bundle declares is understood whole, or refused with the field and what belongs there."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from core.errors import SumuError
from inference.bundles.words import check_words
from inference.vocabulary.terms import of_the_house
from models.bundle import read_bundle
from models.bundle_plan import Plan, plan_of
from models.bundle_routing import county_rules
from models.bundle_steps import Orientation, ScaleIntensityRange, Spacing
from models.installing.admitting import replaced_by
from models.installing.home import ModelHome
from tests.made_bundles import BRIGHT, LARGE, VOLUME, bright_parts, grey_metadata, mean_grey, sphere_metadata, write_bundle


def planned(folder: Path, metadata: dict[str, Any], county: dict[str, Any] | None = None) -> Plan:
    network = bright_parts() if metadata["name"] == "made_sphere" else mean_grey(32)
    bundle = read_bundle(write_bundle(folder, metadata, network))
    check_words(bundle, folder / "words")
    return plan_of(bundle, county)


def changed(metadata: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    place = metadata
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return metadata


def test_a_plan_says_what_will_be_done(tmp_path: Path) -> None:
    plan = planned(tmp_path, sphere_metadata())
    assert plan.dimensions == 3
    assert [type(step) for step in plan.steps] == [Orientation, Spacing, ScaleIntensityRange]
    assert plan.results[0].quantities[0].above == 20
    assert plan.rule.body_parts == ("ABDOMEN", "腹部")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sumu", "steps", 0), {"name": "RandFlip"}, "RandFlip.*does not know.*move anything else into the network"),
        (("sumu", "steps", 1, "pixdim"), [1.5, 1.5], "pixdim.*3 numbers"),
        (("sumu", "steps", 1, "pixdim"), [1.5, 0, 1], "pixdim.*above 0"),
        (("sumu", "steps", 1, "mode"), "bicubic", "mode"),
        (("sumu", "steps", 1, "align_corners"), True, "align_corners.*Remove or rename"),
        (("sumu", "steps", 0, "axcodes"), "RLS", "RLS"),
        (("sumu", "steps", 2, "a_max"), -5, "a_max"),
        (("sumu", "steps", 2, "a_min"), "low", "a_min"),
        (("sumu", "steps"), None, "lacks 'steps'"),
        (("sumu", "results", 0, "output"), "masks", "output"),
        (("sumu", "results", 0, "kind"), "detection", "kind"),
        (("sumu", "results", 0, "quantities", 0, "channel"), 2, "channel 2"),
        (("sumu", "results", 0, "quantities", 0, "above"), None, "finding without a limit"),
        (("sumu", "results"), [], "empty"),
        (("sumu", "routing", "modalities"), ["CAT"], "CAT"),
        (("sumu", "routing", "bodyparts"), ["HEAD"], "bodyparts"),
        (("sumu", "routing", "dimensions"), 2, "2 dimensions.*input has 3"),
        (("sumu", "routing", "age_years"), [90, 18], "ages"),
        (("sumu", "routing"), None, "no rule says which studies"),
        (("sumu", "overlap"), 1.5, "overlap"),
        (("sumu", "tresholds"), {}, "tresholds"),
        (("sumu", "vocabulary", "finding"), {}, "no words for made_sphere_large"),
        (("sumu", "vocabulary", "engine"), {}, "no name for the pages"),
        (("sumu", "vocabulary", "engine", "made_sphere", "zh"), "Sphere", "lacks a name in Chinese"),
        (("sumu", "vocabulary", "finding", LARGE, "zh"), "Sphere", "Chinese"),
        (("sumu", "vocabulary", "finding", LARGE, "urgency"), "at once", "urgency"),
        (("sumu", "vocabulary", "finding", LARGE, "sentence_en"), "", "one language"),
        (("sumu", "vocabulary", "finding", LARGE, "colour"), "red", "colour"),
        (("sumu", "vocabulary", "measurement", VOLUME, "unit"), "cm", "told in cm"),
        (("sumu", "vocabulary", "measurement", VOLUME, "digits"), "two", "digits"),
        (("sumu", "vocabulary", "findings"), {}, "findings"),
        (("network_data_format", "outputs", "mask", "spatial_shape"), ["*", "*"], "axes"),
        (("network_data_format", "inputs", "image", "num_channels"), 3, "1 channel and its input takes 3"),
        (("network_data_format", "inputs", "image", "spatial_shape"), [64, 64, 64], "fixed size|has the size"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(tmp_path: Path, path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(SumuError, match=f"(?s){words}") as refused:
        planned(tmp_path, changed(sphere_metadata(), path, value))
    assert refused.value.remedy


def test_labels_need_words_and_their_channels(tmp_path: Path) -> None:
    with pytest.raises(SumuError, match="as 1 labels"):
        planned(tmp_path / "one", changed(changed(grey_metadata(), ("sumu", "labels"), [BRIGHT]), ("sumu", "thresholds"), {}))
    metadata = grey_metadata()
    del metadata["sumu"]["vocabulary"]["finding"][BRIGHT]
    with pytest.raises(SumuError, match="no words for made_bright"):
        planned(tmp_path / "two", metadata)


def test_a_word_of_the_house_keeps_its_meaning(tmp_path: Path) -> None:
    metadata = sphere_metadata()
    terms = metadata["sumu"]["vocabulary"]["finding"]
    terms["chest_effusion"] = terms[LARGE]
    with pytest.raises(SumuError, match="'chest_effusion' has a meaning here already"):
        planned(tmp_path, metadata)
    assert of_the_house().findings["chest_effusion"].zh == "胸腔积液"


def test_a_word_of_another_bundle_keeps_its_meaning(tmp_path: Path) -> None:
    home = ModelHome(tmp_path)
    home.keep_words("other_model", sphere_metadata("other_model")["sumu"]["vocabulary"])
    with pytest.raises(SumuError, match="has a meaning here already"):
        planned(tmp_path, sphere_metadata())


def test_the_county_has_the_last_word_about_routing(tmp_path: Path) -> None:
    file = tmp_path / "routing.toml"
    file.write_text('[made_sphere]\nbody_parts = ["CHEST"]\nunstated = ["body_part"]\n', encoding="utf-8")
    plan = planned(tmp_path, sphere_metadata(), dict(county_rules(file)["made_sphere"]))
    assert plan.rule.body_parts == ("CHEST",)
    assert plan.rule.age_years == (18, 120)  # the maker's, which the county left alone


@pytest.mark.parametrize(
    "text", ["[made_sphere]\nbody_part = 'CHEST'", "[made_sphere]\nmodalities = 'CT'", "made_sphere = 1", "[made"]
)
def test_a_rule_of_the_county_that_does_not_hold_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "routing.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SumuError, match=r"routing\.toml"):
        planned(tmp_path, sphere_metadata(), dict(county_rules(file)["made_sphere"]))


def test_whatever_is_spoilt_in_the_metadata_is_refused_in_our_words_or_harmless(tmp_path: Path) -> None:
    chance = random.Random(4)
    folder = write_bundle(tmp_path, sphere_metadata(), bright_parts())
    file = folder / "configs" / "metadata.json"
    whole = file.read_text(encoding="utf-8")
    refused: list[SumuError] = []
    for _ in range(400):
        metadata = json.loads(whole)
        spoil(metadata, chance)
        file.write_text(json.dumps(metadata), encoding="utf-8")
        try:
            bundle = read_bundle(folder)
            check_words(bundle, tmp_path / "words")
            replaced_by(bundle)
            plan_of(bundle)
        except SumuError as error:
            refused.append(error)
    assert len(refused) > 200
    assert all(error.remedy for error in refused)


def spoil(metadata: Any, chance: random.Random) -> None:
    """Change, remove or rename one value at any depth."""
    place = metadata
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = chance.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.8:
            place = place[key]
            continue
        wrong = [None, -1, 0, 1e400, "", "x", [], {}, [[]], {"x": 1}, True, "a" * 5000, 2**70, [None], "\ud800"]
        if chance.random() < 0.3 and isinstance(place, dict):
            place[f"{key}x"] = place.pop(key)
        else:
            place[key] = chance.choice(wrong)
        return
