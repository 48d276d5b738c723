"""The lean graph says what openecg's own says, and marked recordings are read as they were marked."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from openecg.deploy import bundled_codec_onnx_path
from openecg.dsp import rank_normalize

from models.bundle import BUNDLES, read_bundle
from models.ecg_delineation.ludb import LEADS, RATE, annotated_intervals, holds_ludb, marked_waves, read_ludb
from tests.inference.ecg.hearts import heart, regular

N, P, T, OPEN, CLOSE, SKIP, NOTE = 1, 24, 27, 39, 40, 59, 22


def annotations(marks: list[tuple[int, int]]) -> bytes:
    """An annotation file (MIT format) of (sample, code), with a long step written as the format wants it."""
    words, last = [], 0
    for at, code in marks:
        step = at - last
        if step > 1023:
            words += [SKIP << 10, step >> 16, step & 0xFFFF]
            step = 0
        words.append(code << 10 | step)
        last = at
    return np.array([*words, 0], "<u2").tobytes()


def marks_of(onsets: list[float], *, pr: float = 0.16, qrs: float = 0.09, qt: float = 0.38) -> list[tuple[int, int]]:
    """Brackets of P, QRS and T around each onset, in samples."""
    marks = []
    for at in onsets:
        for code, begin, peak, end in ((P, -pr, 0.05 - pr, 0.1 - pr), (N, 0, 0.04, qrs), (T, qt - 0.2, qt - 0.1, qt)):
            marks += [(round((at + place) * RATE), mark) for place, mark in ((begin, OPEN), (peak, code), (end, CLOSE))]
    return marks


def write_record(folder: Path, name: str, onsets: list[float], **intervals: float) -> None:
    """A record of LUDB's form whose heart is known."""
    eight = heart(onsets, **intervals)
    one, two = eight["I"], eight["II"]
    leads = {**eight, "III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    rows = [f"{name}.dat 16 2000(7)/mV 0 0 0 0 0 {lead.lower()}" for lead in LEADS]
    (folder / f"{name}.hea").write_text("\n".join([f"{name} 12 {RATE} 5000", *rows, "#<age>: 51"]), encoding="latin-1")
    samples = np.stack([np.rint(leads[lead] * 2 + 7) for lead in LEADS], axis=1)
    (folder / f"{name}.dat").write_bytes(samples.astype("<i2").tobytes())
    for lead in LEADS:
        (folder / f"{name}.{lead.lower()}").write_bytes(annotations(marks_of(onsets, **intervals)))


def test_the_lean_graph_gives_the_labels_of_the_published_one() -> None:
    bundle = read_bundle(BUNDLES / "ecg_delineation")
    lean, published = (
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (bundle.weights, bundled_codec_onnx_path())
    )
    windows = np.stack([rank_normalize(row) for row in list(heart(regular(0.85)).values())[:3]]).astype(np.float32)
    found = lean.run(None, {"signal": windows})[0]
    expected = np.concatenate([published.run(["frame_logits"], {"signal": window[None]})[0] for window in windows])
    assert found.shape == expected.shape == (3, 5000, 4)
    # The published one holds its weights in eight bits.
    assert (found.argmax(axis=-1) == expected.argmax(axis=-1)).mean() > 0.98
    assert np.abs(found - expected).mean() < 0.2


def test_a_shorter_window_goes_through_the_lean_graph() -> None:
    session = onnxruntime.InferenceSession(
        str(read_bundle(BUNDLES / "ecg_delineation").weights), providers=["CPUExecutionProvider"]
    )
    window = rank_normalize(heart(regular(0.85))["II"][:3000]).astype(np.float32)
    labels = session.run(None, {"signal": window[None]})[0][0].argmax(axis=-1)
    assert labels.shape == (3000,)
    assert set(labels) == {0, 1, 2, 3}


def test_brackets_are_read_and_broken_ones_left_out() -> None:
    whole = marks_of([1.0, 4.0])
    broken = [(100, CLOSE), (110, OPEN), (120, OPEN), (130, N), (140, CLOSE), (150, OPEN), (160, CLOSE), *whole]
    waves = list(marked_waves(annotations(broken)))
    assert [(wave.kind, wave.onset, wave.peak, wave.offset) for wave in waves[:1]] == [("QRS", 120, 130, 140)]
    assert [wave.kind for wave in waves[1:]] == ["P", "QRS", "T"] * 2
    assert waves[2].onset == 500
    assert not list(marked_waves(b""))


@pytest.mark.parametrize("packed", [True, False])
def test_a_record_gives_its_signal_and_its_intervals(tmp_path: Path, packed: bool) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_record(data, "3", regular(0.8), pr=0.18, qt=0.40)
    if packed:
        with tarfile.open(tmp_path / "records-odd.tar.xz", "w:xz") as archive:
            archive.add(data, arcname="data")
        data.rename(tmp_path / "elsewhere")
    assert holds_ludb(tmp_path)
    (record,) = read_ludb(tmp_path)
    np.testing.assert_allclose(record.microvolts[LEADS.index("V5")], heart(regular(0.8), pr=0.18, qt=0.40)["V5"], atol=0.3)
    intervals = annotated_intervals(record)
    assert intervals == pytest.approx({"pr": 180, "qrs": 90, "qt": 400, "rate": 75}, abs=2)


def test_without_marks_there_is_nothing_to_compare(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write_record(tmp_path / "data", "5", [])
    (record,) = read_ludb(tmp_path)
    assert annotated_intervals(record) == {}
    assert not holds_ludb(tmp_path / "data")
