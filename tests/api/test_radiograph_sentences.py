"""A radiograph's draft: measured things in sentences, findings as possibilities, and never that an image is normal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from api.draft_sentences import draft_of, words_from_engines
from api.reports import ReportText
from core.lifecycles.preread import PreReadState
from core.tables import Finding, Measurement, PreRead, Verdict
from inference.radiograph.cautions import limits
from inference.vocabulary.draft_sentences import draft_sentences
from inference.vocabulary.terms import BadVocabulary, vocabulary
from models.bundle import BUNDLES

UID = "1.2.3.4"


def chest(ratio: float | None, *findings: str, share: float = 55.0, **image: Any) -> PreRead:
    numbers = [] if ratio is None else [("cardiothoracic_ratio", ratio), ("right_lung_share", share)]
    return PreRead(
        id=1,
        study_id=1,
        revision=1,
        engine="radiograph",
        state=PreReadState.READ,
        evidence={"cardiothoracic": [{"sop_instance_uid": UID, "projection": "PA", "cautions": []} | image]},
        measurements=[Measurement(code=code, value=value, sop_instance_uid=UID) for code, value in numbers],
        findings=[Finding(code=code, probability=0.4) for code in findings],
    )


def test_a_heart_that_is_not_enlarged_is_said_with_its_ratio_and_the_rest_is_the_readers() -> None:
    draft = draft_of([chest(0.43, "chest_no_finding")], "zh")
    assert draft.findings == "心影不大，心胸比约 0.43（自动测量）。\n双肺外缘轮廓可辨，两侧投影面积大致对称（右肺占 55%）。"
    assert draft.impression == "心影不大（心胸比约 0.43）；其余由医师阅片后书写。"
    english = draft_of([chest(0.43, "chest_no_finding")], "en")
    assert (
        english.impression == "The heart is not enlarged (cardiothoracic ratio about 0.43); the rest is for the reader to write."
    )


@pytest.mark.parametrize(
    ("ratio", "projection", "findings", "impression"),
    [
        (0.62, "PA", "心影增大，心胸比约 0.62（自动测量）。", "心影增大（心胸比约 0.62）"),
        (0.52, "", "接近 0.5 的界限，请核对测量线后判断心影大小。", ""),
        (0.47, "PA", "接近 0.5 的界限", ""),
        (0.62, "AP", "不据此判断心影大小。", ""),
    ],
)
def test_near_the_limit_and_in_antero_posterior_projection_nothing_is_concluded(
    ratio: float, projection: str, findings: str, impression: str
) -> None:
    draft = draft_of([chest(ratio, "chest_no_finding", projection=projection)], "zh")
    assert findings in draft.findings
    assert draft.impression == impression


def test_the_border_is_wider_than_the_error_of_the_network() -> None:
    metadata = json.loads((BUNDLES / "heart_lung" / "configs" / "metadata.json").read_text(encoding="utf-8"))
    error = float(metadata["eval_metrics"]["ctr_mean_absolute_error"])
    known = draft_sentences("radiograph")
    assert known
    border = sorted(sentence.at_least for sentence in known.sentences if sentence.at_least)
    assert border[0] <= 0.5 - 1.5 * error
    assert border[-1] >= 0.5 + 1.5 * error


def test_a_networks_finding_is_a_possibility_and_the_ratio_speaks_for_the_heart() -> None:
    draft = draft_of([chest(0.62, "chest_effusion", "chest_cardiomegaly")], "zh")
    assert draft.impression == "1. 胸腔积液可能，待核实\n2. 心影增大（心胸比约 0.62）"
    assert "请测量心胸比" not in draft.findings
    assert "胸腔积液可能。" in draft.findings


def test_where_ratio_and_network_disagree_the_draft_says_so() -> None:
    draft = draft_of([chest(0.41, "chest_cardiomegaly")], "zh")
    assert "两者不一致" in draft.findings
    assert draft.impression == ""


def test_without_a_ratio_the_network_asks_to_measure() -> None:
    draft = draft_of([chest(None, "chest_cardiomegaly")], "zh")
    assert "请测量心胸比" in draft.findings
    assert draft.impression == "心影增大可能，待核实"


def test_unequal_lungs_and_cut_off_fields_are_told_with_care() -> None:
    draft = draft_of([chest(0.43, "chest_no_finding", share=64.0, cautions=["chest_base_cut_off"])], "zh")
    assert "左肺投影面积相对偏小（右肺占双肺 64%）" in draft.findings
    assert "肺底及肋膈角可能未完整摄入" in draft.findings
    assert "大致对称" not in draft.findings


def test_a_possible_fracture_is_not_called_possible_twice() -> None:
    limb = chest(None, "limb_fracture")
    assert draft_of([limb], "zh").impression == "骨折可能，待核实"
    assert draft_of([chest(None, "limb_no_fracture")], "zh") == ReportText(findings="", impression="")


def test_a_struck_finding_is_neither_said_nor_weighed() -> None:
    pre_read = chest(0.41, "chest_cardiomegaly")
    pre_read.findings[0].verdict = Verdict.STRUCK
    assert draft_of([pre_read], "zh").findings.startswith("心影不大")


def test_words_of_a_measurement_count_as_the_engines() -> None:
    pre_reads = [chest(0.43, "chest_no_finding")]
    assert words_from_engines(pre_reads, ReportText(findings="心影不大，心胸比约 0.43（自动测量）。双肺清晰。", impression=""))
    assert not words_from_engines(pre_reads, ReportText(findings="双肺清晰。", impression="未见异常"))


def test_no_sentence_calls_an_image_normal_and_all_refer_to_known_words() -> None:
    known, words = draft_sentences("radiograph"), vocabulary()
    assert known
    cautions = {limit.reason for limit in limits()}
    for sentence in known.sentences:
        assert "正常" not in sentence.words.zh
        assert "normal" not in sentence.words.en.lower()
        assert sentence.measure is None or sentence.measure in words.measurements
        assert sentence.caution is None or sentence.caution in cautions
        assert set(sentence.instead_of) <= words.findings.keys()
    assert known.impressions.keys() <= words.findings.keys()
    share = words.measurements["right_lung_share"]
    assert {(one.below, one.above) for one in known.sentences if one.about == "lungs"} == {
        (share.low, None),
        (None, share.high),
        (None, None),
    }


@pytest.mark.parametrize(
    "broken", ['[[sentence]]\nabout = "heart"\nzh = "心"', '[[sentence]]\nabout = "heart"\nzh = "心"\nen = "h"\nif = "x"']
)
def test_a_list_that_lacks_a_language_or_has_an_unknown_field_is_refused(tmp_path: Path, broken: str) -> None:
    head = '[impression]\nzh = "{name}"\nen = "{name}"\n[calm]\nzh = "{said}"\nen = "{said}"\n'
    (tmp_path / "broken.toml").write_text(head + broken, encoding="utf-8")
    with pytest.raises(BadVocabulary):
        draft_sentences("broken", tmp_path)
