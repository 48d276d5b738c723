"""Drawn slides as the engine gets them: DICOM files of a study, on disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pytest

from inference.engine import InstanceFile, StudyFiles
from inference.pathology import PathologyEngine
from models.bundle import BUNDLES
from pacs_bridge.slides.convert import convert_slide
from pacs_bridge.slides.description import SlidePatient
from tests.pacs_bridge.slides.slide_files import draw_slide, write_svs

Draw = Callable[..., StudyFiles]


def study_of(*sources: Path, folder: Path) -> StudyFiles:
    """Convert slide files into one study."""
    uid = "2.25.20261120"
    files: list[Path] = []
    for number, source in enumerate(sources, start=1):
        patient = SlidePatient(
            name="Li^Na=李^娜",
            patient_id="P-2",
            accession_number="B2026-0002",
            studied_at=datetime(2026, 11, 20, 1, 30, tzinfo=UTC),
            container=f"B2026-0002-{number}",
            study_instance_uid=uid,
            series_number=number,
        )
        files += convert_slide(source, folder, patient)
    instances = tuple(InstanceFile(path=file, header=pydicom.dcmread(file, stop_before_pixels=True)) for file in files)
    return StudyFiles(study_instance_uid=uid, instances=instances)


@pytest.fixture(scope="session")
def engine() -> PathologyEngine:
    """The engine with the bundle that is shipped."""
    return PathologyEngine(BUNDLES / "slide_tiles")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Draw:
    """Draw one slide and return the study of it; the arguments are those of ``draw_slide``."""

    def draw(um_per_px: float = 0.5, **how: float) -> StudyFiles:
        folder = tmp_path_factory.mktemp("slide")
        return study_of(write_svs(folder / "drawn.svs", draw_slide(1024, **how), um_per_px=um_per_px), folder=folder / "dicom")

    return draw


@pytest.fixture(scope="session")
def sharp_study(drawn: Draw) -> StudyFiles:
    """A slide with tissue, in focus."""
    return drawn()
