"""The bundles that judge recordings are whole, and what they see is finite whatever comes."""

from __future__ import annotations

import csv
import lzma
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.bundle import BUNDLES, read_bundle
from models.ecg.preprocessing import LEADS as EIGHT
from models.ecg_quality.beat_shape import EXCHANGES, LENGTH, NONE
from models.ecg_quality.data import LEADS, MICROVOLTS_A_STEP, SAMPLES, holds_quality, people, read_quality
from models.ecg_quality.features import LEAD_NUMBERS, NAMES, RATE, at_quality_rate, lead_numbers, recording_numbers

TIME = np.arange(SAMPLES) / RATE


def beats(seed: int, rate: float = 1.2) -> np.ndarray:
    """Twelve leads of one person's heart, in microvolts; the person is the seed."""
    person = np.random.default_rng(seed)
    phase = TIME % (1 / rate)
    waves = ((0.2, 0.03), (0.38, 0.012), (0.40, 0.012), (0.42, 0.012), (0.65, 0.06))
    return sum(
        person.normal(0, 300, (LEADS, 1)) * np.exp(-0.5 * ((phase - at) / width) ** 2)[None] for at, width in waves
    ) + np.random.default_rng(99).normal(0, 3, (LEADS, SAMPLES))


def test_the_bundles_name_what_a_pre_read_must_name() -> None:
    quality, exchange = read_bundle(BUNDLES / "ecg_quality"), read_bundle(BUNDLES / "ecg_exchange")
    assert quality.labels == ("unacceptable",)
    assert quality.details["held_out_auc"][0] >= 0.95
    assert len(quality.details["taught"]) == len(set(quality.details["taught"]))
    assert exchange.labels == (NONE, *EXCHANGES)
    assert exchange.thresholds.keys() == set(EXCHANGES)
    for bundle in (quality, exchange):
        assert bundle.engine == "ecg"
        assert all(0 < point < 1 for point in bundle.thresholds.values())
        card = bundle.card.read_text(encoding="utf-8")
        assert bundle.weights_sha256 in card
        assert "What it cannot do" in card
        assert "{" not in card


def test_the_graphs_have_the_shapes_that_their_metadata_says() -> None:
    for name, shape, outputs in (("ecg_quality", (len(NAMES),), 1), ("ecg_exchange", (len(EIGHT), LENGTH), 1 + len(EXCHANGES))):
        bundle = read_bundle(BUNDLES / name)
        session = onnxruntime.InferenceSession(str(bundle.weights), providers=["CPUExecutionProvider"])
        assert list(session.get_inputs()[0].shape[1:]) == list(bundle.inputs[0].shape) == list(shape)
        found = session.run(None, {session.get_inputs()[0].name: np.zeros((3, *shape), np.float32)})[0]
        assert found.shape == (3, outputs)
        assert np.all((found >= 0) & (found <= 1))


@pytest.mark.parametrize("kind", ["silence", "one level", "noise", "beats", "short", "one lead"])
def test_every_number_is_finite(kind: str) -> None:
    random = np.random.default_rng(1)
    signal = {
        "silence": np.zeros((LEADS, SAMPLES)),
        "one level": np.full((LEADS, SAMPLES), 5000.0),
        "noise": random.normal(0, 1000, (LEADS, SAMPLES)),
        "beats": beats(1),
        "short": beats(1)[:, :60],
        "one lead": beats(1)[:1],
    }[kind]
    numbers = recording_numbers(signal, RATE)
    assert numbers.shape == (len(NAMES),)
    assert np.all(np.isfinite(numbers))


def test_the_numbers_of_a_lead_tell_what_is_wrong_with_it() -> None:
    signal = beats(1)
    signal[3] = 0
    signal[4] += 500 * np.sin(2 * np.pi * 0.3 * TIME)
    signal[5] += 200 * np.sin(2 * np.pi * 50 * TIME)
    signal[6] = np.random.default_rng(2).normal(0, 300, SAMPLES)
    numbers, _ = lead_numbers(signal)
    worst = {name: int(numbers[LEAD_NUMBERS.index(name)].argmax()) for name in ("quiet_share", "wander", "mains", "fast")}
    assert worst == {"quiet_share": 3, "wander": 4, "mains": 5, "fast": 6}
    assert set(np.argsort(numbers[LEAD_NUMBERS.index("agreement")])[:2]) == {3, 6}


def test_a_longer_recording_gives_its_middle_at_the_models_rate() -> None:
    signal = np.tile(np.arange(8000.0), (2, 1))
    seen = at_quality_rate(signal, 500)
    assert seen.shape == (2, SAMPLES)
    assert seen[0, SAMPLES // 2] == pytest.approx(4000, abs=2)


def test_recordings_come_back_as_they_were_written(tmp_path: Path) -> None:
    steps = np.rint(np.stack([beats(1), beats(2)]) / MICROVOLTS_A_STEP).astype(np.int16)
    halves = np.diff(steps, axis=2, prepend=np.int16(0)).astype("<i2").view(np.uint8).reshape(-1, 2).T
    (tmp_path / "signals.xz").write_bytes(lzma.compress(np.ascontiguousarray(halves).tobytes()))
    assert not holds_quality(tmp_path)
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("record", "label"), ("11", "acceptable"), ("12", "unacceptable")])
    assert holds_quality(tmp_path)
    read = read_quality(tmp_path)
    assert read.names == ("11", "12")
    np.testing.assert_array_equal(read.unacceptable, [0, 1])
    np.testing.assert_allclose(read.microvolts, steps * MICROVOLTS_A_STEP)


def test_two_recordings_of_one_person_are_kept_together() -> None:
    groups = people(np.stack([beats(1), beats(2), beats(1, rate=1.0), np.zeros((LEADS, SAMPLES))]).astype(np.float32))
    assert groups[0] == groups[2]
    assert len({groups[0], groups[1], groups[3]}) == 3
