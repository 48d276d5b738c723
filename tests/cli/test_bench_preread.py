"""What the pre-read measurement stands on: its images are read as chests, and its bare runs are those of the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from cli.bench import radiographs as module
from cli.bench.bare import ENGINE, recorded
from cli.bench.radiographs import CODINGS, SENDERS, Radiographs, study_of
from core.settings import Settings
from inference.engine import InstanceFile, Outcome, StudyFiles
from inference.radiograph.rendering import displayed
from inference.roster import engines_of


@pytest.fixture(scope="module")
def radiographs() -> Radiographs:
    """One drawn chest in every coding."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DRAWN", 1)
        return Radiographs()


def study(file: Path) -> StudyFiles:
    header = dcmread(file, stop_before_pixels=True)
    return StudyFiles(study_instance_uid=str(header.StudyInstanceUID), instances=(InstanceFile(path=file, header=header),))


def test_a_burst_has_as_many_studies_as_asked_for_and_every_sender_its_coding(radiographs: Radiographs, tmp_path: Path) -> None:
    batches = radiographs.burst(tmp_path / "burst", 6)
    assert [batch.coding for batch in batches] == list(SENDERS)
    files = [file for batch in batches for file in batch.folder.iterdir()]
    assert len({study_of(file) for file in files}) == 6
    for batch in batches:
        syntaxes = {dcmread(file, stop_before_pixels=True).file_meta.TransferSyntaxUID for file in batch.folder.iterdir()}
        assert syntaxes == {CODINGS[batch.coding].syntax}


def test_the_same_chest_looks_the_same_in_every_coding(radiographs: Radiographs, tmp_path: Path) -> None:
    shown = {
        name: displayed(next(radiographs.write(tmp_path / str(number), name, 1).folder.iterdir()))
        for number, name in enumerate(CODINGS)
    }
    assert np.array_equal(shown["native"], shown["JPEG lossless"])
    assert np.abs(shown["native"] - shown["JPEG baseline"]).mean() < 0.01


def test_a_drawn_chest_is_read_and_its_model_runs_can_be_repeated_alone(radiographs: Radiographs, tmp_path: Path) -> None:
    file = next(radiographs.write(tmp_path / "native", "native", 1).folder.iterdir())
    engine = engines_of(Settings(data=tmp_path))[ENGINE]
    reading = engine.read(study(file))
    assert reading.outcome is Outcome.READ, reading.reason
    calls = recorded(engine, study(file))
    # The chest network, then heart and lungs on the image and its mirror image.
    assert len(calls) >= 2
    probabilities = calls[0]()[0][0]
    assert round(float(probabilities.max()), 4) == max(reading.evidence["probabilities"].values())
