"""What the chest network learns and how it is measured: nothing of the source, nothing of the patient asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.chest.blocks import BLOCKS
from models.chest.crossvalidation import FOLDS, splits
from models.chest.data import NotChestData, chest_cases
from models.chest.figures import figures, reliability, subgroups
from models.chest.findings import CODES, FINDINGS
from models.chest.gate import fit_gate
from models.chest.pointing import Peak, peak_in, pointing
from models.chest.preprocessing import SIDE
from models.chest.readings import Lesson, company, ridge, standard_of
from models.chest.strangers import KINDS, strangers


def lesson(careful: int = 60, shortcut: int = 40) -> Lesson:
    """Return labels at random: the careful source, then two groups of the other."""
    chance = np.random.default_rng(1)
    count = careful + shortcut
    labels = (chance.random((count, len(CODES))) < 0.3).astype(float)
    groups = np.array([0] * careful + [1 + row % 2 for row in range(shortcut)])
    return Lesson(labels=labels, teacher=chance.standard_normal((count, len(CODES))), groups=groups)


def test_a_reading_learns_nothing_from_what_tells_the_sources_apart() -> None:
    chance = np.random.default_rng(2)
    groups = np.repeat([0, 1, 2], 80)
    label = np.where(groups == 0, chance.random(240) < 0.5, groups == 1).astype(float)
    sign = 2 * label - 1
    features = np.stack([np.where(groups == 0, 0.0, sign), 0.5 * sign + chance.standard_normal(240)], axis=1)
    fitted = ridge(features, label[:, None], groups, 0.1)
    assert abs(fitted.weight[0, 0]) < 0.05 * abs(fitted.weight[1, 0])
    blind = ridge(features, label[:, None], np.zeros(240, np.int64), 0.1)
    assert abs(blind.weight[0, 0]) > abs(blind.weight[1, 0])


def test_no_patient_stands_on_both_sides_and_every_careful_image_is_asked_once() -> None:
    known = lesson()
    patients = np.arange(len(known.groups)) // 2
    asked = np.zeros(len(patients), int)
    for split in splits(known, patients, repeats=1):
        assert not set(patients[split.learn]) & set(patients[~split.learn])
        assert not (split.asked & (known.groups > 0)).any()
        asked += split.asked
    assert (asked[known.groups == 0] == 1).all()
    assert len(list(splits(known, patients, repeats=2))) == 2 * FOLDS


def test_findings_that_occur_together_move_together() -> None:
    labels = np.zeros((40, len(CODES)))
    labels[:20, :2] = 1
    labels[::3, 5] = 1
    together = company(labels)
    assert together[0, 1] > 0.4
    assert abs(together[0, 5]) < 0.1
    assert together[0, 0] == 1


def test_a_feature_that_never_varies_is_not_blown_up() -> None:
    size = sum(count for count, _ in BLOCKS.values())
    features = np.random.default_rng(3).standard_normal((12, size)).astype(np.float32)
    features[:, 7] = 1.0
    standard = standard_of(features)
    features[:, 7] += 1e-6
    assert np.abs(standard.of(features)[:, 7]).max() < 1e-3
    assert np.isclose((standard.scale**2).sum(), 1)


def test_the_gate_tells_kinds_apart_and_is_scored_on_what_it_did_not_see() -> None:
    chance = np.random.default_rng(4)
    chest = np.arange(200) < 120
    features = chance.standard_normal((200, 30)) + np.where(chest, 0.0, 1.5)[:, None]
    gate, logits = fit_gate(features, chest, np.arange(200))
    assert ((logits > 0) == chest).mean() > 0.95
    by_chance, guessed = fit_gate(chance.standard_normal((200, 30)), chest, np.arange(200))
    assert np.abs(guessed).mean() < np.abs(logits).mean() / 3
    assert gate.weight.shape == by_chance.weight.shape == (30,)


def test_a_peak_counts_only_inside_the_box() -> None:
    grid = np.zeros((24, 24))
    grid[6, 18] = 1
    whole = (0, 0, SIDE, SIDE)
    assert peak_in(grid, (0.7, 0.2, 0.1, 0.1), whole)
    assert not peak_in(grid, (0.2, 0.2, 0.1, 0.1), whole)
    # A narrow image stands in the middle of the square.
    assert peak_in(grid, (0.9, 0.2, 0.1, 0.1), (SIDE // 8, 0, 5 * SIDE // 8 + 16, SIDE)) != peak_in(
        grid, (0.9, 0.2, 0.1, 0.1), whole
    )


def test_maps_point_only_where_enough_boxes_say_so() -> None:
    found = pointing(
        [Peak(code="chest_mass", hit=True, area=0.1) for _ in range(3)]
        + [Peak(code="chest_pneumonia", hit=row % 2 == 0, area=0.1) for row in range(12)]
        + [Peak(code="chest_effusion", hit=row < 2, area=0.15) for row in range(12)]
    )
    assert found["localised"] == ["chest_pneumonia"]
    assert found["findings"]["chest_mass"]["hit"] == 1
    assert found["boxes"] == 27


def test_figures_say_nothing_of_what_nobody_has() -> None:
    chance = np.random.default_rng(5)
    labels = np.zeros((40, len(CODES)))
    labels[:15, 0] = labels[:15, -1] = 1
    scores = 0.1 + 0.2 * chance.random(labels.shape)
    scores[:, 0] = 0.1 + 0.8 * labels[:, 0]
    found = figures(scores, labels, np.arange(40), draws=50)
    assert found["findings"]["chest_atelectasis"]["auc"] == [1.0, 1.0, 1.0]
    assert found["findings"]["chest_mass"]["auc"] == [None, None, None]
    assert found["mean_auc_13"][0] == 1.0
    assert found["findings"]["chest_atelectasis"]["brier"] == pytest.approx(0.01)
    groups = subgroups(scores, labels, {"all": np.ones(40, bool), "none": np.zeros(40, bool)})
    assert list(groups) == ["all"]


def test_a_reliability_diagram_holds_every_image() -> None:
    given = np.linspace(0, 1, 30)
    groups = reliability(given, (given > 0.5).astype(float))
    assert sum(group["images"] for group in groups) == 30
    assert groups[0]["found"] == 0
    assert groups[-1]["found"] == 1


def test_generated_strangers_are_the_same_again_and_of_all_kinds() -> None:
    made = strangers(len(KINDS), seed=1)
    assert made.shape == (len(KINDS), SIDE, SIDE)
    assert (made >= 0).all()
    assert (made <= 1).all()
    assert np.array_equal(made, strangers(len(KINDS), seed=1))
    assert len({picture.tobytes() for picture in made}) == len(KINDS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "manifest"),
        ("file,patient_id\n", "no row"),
        ("file,patient_id,age,sex\na.png,1,50,M\n", "Atelectasis"),
        (",".join(("file", "patient_id", "age", "sex", *FINDINGS)) + "\na.png,1,50,M" + ",0" * len(FINDINGS) + "\n", "a.png"),
        (
            ",".join(("file", "patient_id", "age", "sex", *FINDINGS)) + "\na.png,1,old,M" + ",no" * len(FINDINGS) + "\n",
            "wrong kind",
        ),
    ],
)
def test_a_folder_that_holds_no_chests_says_what_is_missing(text: str | None, said: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
    with pytest.raises(NotChestData, match=said):
        chest_cases(tmp_path)


def test_the_chest_is_cut_out_by_its_lungs_and_maps_go_back_to_their_place() -> None:
    torch = pytest.importorskip("torch", reason="needs the train extra")
    from models.chest.anatomy import box_of, cut_out, put_back

    outlines = torch.zeros(1, 3, 128, 128)
    outlines[0, 0, 40:90, 70:100] = outlines[0, 1, 40:90, 30:60] = outlines[0, 2, 60:90, 50:80] = 1
    box = box_of(outlines)
    left, top, right, bottom = (box[0] + 1).mul(64).tolist()
    assert 20 < left < 30
    assert 100 < right < 110
    assert 30 < top < 40
    assert 90 < bottom < 100
    cut = cut_out(outlines, box, 64)
    assert cut[0, 0].sum() / 64**2 > 2 * outlines[0, 0].sum() / 128**2
    back = put_back(cut[:, :1], box, 128)
    assert (back[0, 0] - outlines[0, 0]).abs().mean() < 0.02
