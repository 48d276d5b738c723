"""Decoders run in a process that may die; the caller only hears of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.pixels.utils import pixel_array

from pacs_bridge.transcoding import CannotTranscode, transcode_for_archive, transcode_guarded
from tests.pacs_bridge.transcoding.coded_images import (
    HTJ2K_LOSSLESS,
    LOSSLESS,
    grey,
    htj2k,
    written,
)


def test_the_child_gives_the_same_as_the_function(tmp_path: Path) -> None:
    source = written(tmp_path, grey(12), HTJ2K_LOSSLESS, htj2k(grey(12)), BitsStored=12)
    result = transcode_guarded(source, tmp_path / "guarded.dcm")
    assert result == transcode_for_archive(source, tmp_path / "target.dcm")
    assert (tmp_path / "guarded.dcm").read_bytes() == (tmp_path / "target.dcm").read_bytes()
    assert np.array_equal(pixel_array(dcmread(tmp_path / "guarded.dcm")), grey(12))


def test_what_the_function_refuses_the_child_refuses_with_its_reason(tmp_path: Path) -> None:
    source = written(tmp_path, grey(12), HTJ2K_LOSSLESS, b"no codestream", BitsStored=12)
    with pytest.raises(CannotTranscode, match="does not begin as a JPEG 2000 codestream"):
        transcode_guarded(source, tmp_path / "target.dcm")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(("how", "said"), [("crash", "signal 11"), ("hang", "longer than"), ("quit", "status 7")])
def test_a_decoder_that_crashes_or_never_ends_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, said: str
) -> None:
    source = written(tmp_path, grey(12), HTJ2K_LOSSLESS, htj2k(grey(12)), BitsStored=12)
    body = {
        "crash": f"os.kill(os.getpid(), {int(signal.SIGSEGV)})",
        "hang": "time.sleep(60)",
        "quit": "sys.exit(7)",
    }[how]
    start = subprocess.run

    def bad_decoder(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "target.dcm.part").touch()
        return start([sys.executable, "-c", f"import os, sys, time; {body}"], **options)

    monkeypatch.setattr(subprocess, "run", bad_decoder)
    with pytest.raises(CannotTranscode, match=said):
        transcode_guarded(source, tmp_path / "target.dcm", seconds=2)
    assert list(tmp_path.iterdir()) == [source]


def test_a_picture_that_needs_more_memory_than_allowed_is_an_error(tmp_path: Path) -> None:
    picture = np.zeros((12_000, 9_000), np.uint16)
    source = written(tmp_path, picture, HTJ2K_LOSSLESS, htj2k(picture))
    assert source.stat().st_size < 1 << 20
    started = time.monotonic()
    with pytest.raises(CannotTranscode):
        transcode_guarded(source, tmp_path / "target.dcm", memory_bytes=500 << 20)
    assert time.monotonic() - started < 20
    assert list(tmp_path.iterdir()) == [source]


def test_a_target_longer_than_allowed_is_an_error(tmp_path: Path) -> None:
    picture = grey(8, rows=1000, columns=1000)
    source = written(tmp_path, picture, HTJ2K_LOSSLESS, *[htj2k(picture)] * 20)
    with pytest.raises(CannotTranscode):
        transcode_guarded(source, tmp_path / "target.dcm", most_bytes=1 << 20)
    assert list(tmp_path.iterdir()) == [source]


def test_the_child_hears_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUMU_DATABASE_URL", "postgresql://secret")
    source = written(tmp_path, grey(8), HTJ2K_LOSSLESS, htj2k(grey(8)))
    start, heard = subprocess.run, []

    def listening(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        heard.append(options["env"])
        return start(command, **options)

    monkeypatch.setattr(subprocess, "run", listening)
    transcode_guarded(source, tmp_path / "target.dcm")
    assert "secret" not in str(heard)
    assert heard[0]["PATH"] == os.environ["PATH"]


def test_damaged_bitstreams_never_reach_the_caller_as_anything_but_a_refusal(tmp_path: Path) -> None:
    chance = np.random.default_rng(5)
    for seed, (syntax, coder) in enumerate(LOSSLESS.items()):
        stream = bytearray(coder(grey(12, seed=seed)))
        for _ in range(9):
            stream[int(chance.integers(len(stream)))] = int(chance.integers(256))
        source = written(tmp_path, grey(12), syntax, bytes(stream), BitsStored=12)
        target = tmp_path / "target.dcm"
        with suppress(CannotTranscode):
            transcode_guarded(source, target, seconds=30)
            assert dcmread(target).Rows == 48
            target.unlink()
        assert list(tmp_path.iterdir()) == [source]
