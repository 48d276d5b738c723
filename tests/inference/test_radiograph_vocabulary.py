"""Every word that the radiograph engine can say stands in the word list, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import inference.radiograph
from inference.radiograph.engine import NO_FINDING
from inference.vocabulary.terms import Urgency, vocabulary
from models.bundle import BUNDLES, read_bundle

SOURCES = Path(inference.radiograph.__file__).parent


def test_every_label_of_the_bundle_has_a_term() -> None:
    missing = set(read_bundle(BUNDLES / "chest_radiograph").labels) - set(vocabulary().findings)
    assert not missing


def test_every_code_that_the_engine_names_is_in_the_word_list() -> None:
    named = set(re.findall(r'"(chest_[a-z_]+)"', "".join(file.read_text(encoding="utf-8") for file in SOURCES.glob("*.py"))))
    known = set(vocabulary().findings) | set(vocabulary().reasons)
    assert named
    assert named <= known


def test_every_term_speaks_chinese_and_english() -> None:
    terms = [term for code, term in vocabulary().findings.items() if code.startswith("chest_")]
    assert len(terms) == 16
    for term in terms:
        assert re.search(r"[\u4e00-\u9fff]", term.zh + term.sentence_zh), term.code
        assert not re.search(r"[\u4e00-\u9fff]", term.en + term.sentence_en), term.code
        # What is only for the reader says nothing in a draft.
        assert term.sentence_zh.endswith("。") or term.normal, term.code


@pytest.mark.parametrize(
    ("code", "urgency"),
    [
        ("chest_pneumothorax", Urgency.CRITICAL),
        ("chest_effusion", Urgency.URGENT),
        ("chest_consolidation", Urgency.URGENT),
        ("chest_pneumonia", Urgency.URGENT),
        ("chest_edema", Urgency.URGENT),
        ("chest_mass", Urgency.URGENT),
        ("chest_nodule", Urgency.ROUTINE),
        ("chest_hernia", Urgency.ROUTINE),
    ],
)
def test_urgency_is_what_the_radiologists_agreed(code: str, urgency: Urgency) -> None:
    assert vocabulary().findings[code].urgency is urgency


def test_only_no_finding_is_normal() -> None:
    normal = [code for code, term in vocabulary().findings.items() if code.startswith("chest_") and term.normal]
    assert normal == [NO_FINDING]


def test_private_codes_repeat_the_name_of_the_finding() -> None:
    chest = [term for term in vocabulary().findings.values() if term.code.startswith("chest_")]
    assert all(term.concept.value == term.code for term in chest if term.concept.scheme == "99SUMU")
