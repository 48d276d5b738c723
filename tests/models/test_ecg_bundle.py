"""The shipped ECG bundle is whole, says what it is, and can be measured by the command."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from cli.command import app
from cli.evaluation import NothingToMeasure
from models.bundle import BUNDLES, Bundle, read_bundle
from models.ecg.data import folds_in, read_folds
from models.ecg.discriminant import discriminant
from models.ecg.metrics import auc, expected_calibration_error, macro_auc
from models.ecg.preprocessing import LEADS, SAMPLES
from models.ecg.superclasses import SUPERCLASSES

ECG = BUNDLES / "ecg_statements"


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(ECG)


@pytest.fixture
def recordings(tmp_path: Path, bundle: Bundle) -> Path:
    """Twelve recordings of noise in the form of PTB-XL; half of them are called normal."""
    chance = np.random.default_rng(3)
    ids = np.arange(1, 13)
    steps = chance.integers(-20, 21, (len(ids), len(LEADS), SAMPLES), dtype=np.int16)
    halves = steps.astype("<i2").view(np.uint8).reshape(-1, 2).T
    np.save(tmp_path / "fold09_ids.npy", ids)
    (tmp_path / "fold09.xz").write_bytes(lzma.compress(np.ascontiguousarray(halves).tobytes()))
    lines = [",".join(["ecg_id", "age", "sex", "strat_fold", *bundle.labels])]
    lines += [
        ",".join(
            [str(one), "300.0" if one == 1 else "50.0", "1", "9", *("01"[code == "NORM" and one % 2] for code in bundle.labels)]
        )
        for one in ids
    ]
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def test_the_bundle_names_everything_that_a_pre_read_must_name(bundle: Bundle) -> None:
    assert (bundle.name, bundle.engine) == ("ecg_statements", "ecg")
    assert len(bundle.labels) == len(set(bundle.labels)) == 71
    assert {"AFIB", "CLBBB", "CRBBB", "PVC", "NORM"} <= bundle.thresholds.keys()
    assert all(0 < point < 1 for point in bundle.thresholds.values())
    assert any(source.licence == "CC-BY-4.0" and "PTB-XL" in source.name for source in bundle.sources)
    assert bundle.weights.stat().st_size < 40_000_000


def test_the_metadata_describes_the_tensors_of_the_onnx_file(bundle: Bundle) -> None:
    session = onnxruntime.InferenceSession(bundle.weights, providers=["CPUExecutionProvider"])
    for described, real in ((bundle.inputs, session.get_inputs()), (bundle.outputs, session.get_outputs())):
        assert [(one.name, list(one.shape)) for one in described] == [(one.name, list(one.shape[1:])) for one in real]
    probability, superclass = session.run(None, {"ecg": np.zeros((3, len(LEADS), SAMPLES), np.float32)})
    assert probability.shape == (3, 71)
    assert superclass.shape == (3, len(SUPERCLASSES))
    assert np.all((probability >= 0) & (probability <= 1))


def test_every_superclass_is_made_of_statements_of_the_network(bundle: Bundle) -> None:
    members = [code for group in SUPERCLASSES.values() for code in group]
    assert len(members) == len(set(members))
    assert set(members) <= set(bundle.labels)


def test_the_card_names_the_weights_the_licence_and_what_it_cannot_do(bundle: Bundle) -> None:
    card = bundle.card.read_text(encoding="utf-8")
    assert bundle.weights_sha256 in card
    for words in ("CC BY 4.0", "What it cannot do", "out of fold", "python -m models.ecg.evaluate"):
        assert words in card
    assert "{" not in card


def test_recordings_come_back_as_they_were_written(recordings: Path, bundle: Bundle) -> None:
    assert folds_in(recordings) == (9,)
    read = read_folds(recordings, (9,))
    assert read.microvolts.shape == (12, len(LEADS), SAMPLES)
    assert read.statements == bundle.labels
    assert np.all(read.microvolts % 4 == 0)
    assert read.age[0] == 90
    assert read.labels.sum() == 6


def test_areas_and_calibration_are_what_their_definitions_say() -> None:
    truth = np.array([0, 0, 1, 1.0])
    assert auc(truth, np.array([0.1, 0.4, 0.35, 0.8])) == 0.75
    assert auc(truth, np.full(4, 0.5)) == 0.5
    assert np.isnan(auc(np.ones(4), truth))
    assert macro_auc(np.stack([truth, np.zeros(4)], axis=1), np.stack([truth, truth], axis=1), fewest=1) == 1.0
    assert expected_calibration_error(truth, np.full(4, 0.5)) == 0
    assert expected_calibration_error(truth, np.full(4, 0.9)) == pytest.approx(0.4)


def test_the_discriminant_finds_what_sets_rare_records_apart_on_the_scale_of_the_logits() -> None:
    chance = np.random.default_rng(5)
    labels = (np.arange(2000) < 30).astype(np.float64)[:, None]
    # What tells is small beside a disturbance that two features share.
    disturbance = 20 * chance.normal(size=2000)
    seen = chance.normal(size=(2000, 6))
    seen[:, 2] += disturbance + 6 * labels[:, 0]
    seen[:, 4] += disturbance
    logits = 3 * chance.normal(size=(2000, 1)) - 5
    weight, bias = discriminant(seen, labels, logits, shrinkage=1e-4)
    second = seen @ weight.T + bias
    assert auc(labels[:, 0], seen[:, 2]) < 0.7
    assert auc(labels[:, 0], second[:, 0]) > 0.99
    assert second.mean() == pytest.approx(logits.mean())
    assert second.std() == pytest.approx(logits.std())


def test_the_command_measures_the_shipped_network(recordings: Path, bundle: Bundle) -> None:
    found = CliRunner().invoke(app, ["evaluate", "ecg", "--data", str(recordings), "--fold", "9", "--json"])
    assert found.exit_code == 0, found.output
    figures = json.loads(found.stdout)
    assert figures["records"] == 12
    assert figures["weights_sha256"] == bundle.weights_sha256
    assert figures["statements_counted"] == 1
    assert figures["macro_auc"] == figures["statements"]["NORM"]["auc"]
    assert figures["statements"]["AFIB"]["auc"] is None
    assert 0 < figures["seconds_per_ecg"] < 5
    table = CliRunner().invoke(app, ["evaluate", "ecg", "--data", str(recordings)])
    assert "s an ECG" in table.output


def test_the_command_says_what_is_missing(recordings: Path, tmp_path: Path) -> None:
    for arguments in (["--data", str(tmp_path / "nowhere")], ["--data", str(recordings), "--fold", "10"]):
        refused = CliRunner().invoke(app, ["evaluate", "ecg", *arguments])
        assert isinstance(refused.exception, NothingToMeasure)
