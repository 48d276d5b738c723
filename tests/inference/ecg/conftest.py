"""What every ECG test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import examples

from inference.ecg.delineation import Delineator
from inference.ecg.waveform import Ecg, read_ecg


@pytest.fixture(scope="session")
def device_ecg() -> Ecg:
    """A real recording, whose device wrote what it measured: RR 982, PR 161, QRS 75, QT 368 ms; axes P 74, QRS 52, T 57."""
    return read_ecg(Path(str(examples.get_path("waveform"))))


@pytest.fixture(scope="session")
def delineator() -> Delineator:
    """The network, loaded once."""
    return Delineator()
