"""ECG paper is true to the millimetre: parse the picture and lay a ruler on it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import examples

from api.web.ecg_paper import UnknownLayout, ecg_paper_svg
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg, Filters, read_ecg

SVG = "{http://www.w3.org/2000/svg}"
RATE = 500.0


@pytest.fixture(scope="module")
def device_ecg() -> Ecg:
    return read_ecg(Path(str(examples.get_path("waveform"))))


@pytest.fixture(scope="module")
def ruler() -> Ecg:
    """Every lead: zero, with a square pulse of 1 mV from 1.000 s to 2.000 s and a spike of -0.5 mV at each further second."""
    row = np.zeros(round(10 * RATE), dtype=np.float32)
    row[500:1000] = 1000
    row[1500::500] = -500
    return Ecg(
        sop_instance_uid="1.2.3",
        leads=LEADS,
        microvolts=np.tile(row, (12, 1)),
        sampling_rate=RATE,
        filters=Filters(low_hz=0.05, high_hz=150, notch_hz=50),
    )


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def trace(root: ElementTree.Element, lead: str, number: int = 0) -> npt.NDArray[np.float64]:
    """Return the points of a trace on the sheet, in mm."""
    paths = [path for path in root.iter(f"{SVG}path") if path.get("data-lead") == lead]
    path = paths[number]
    place = re.fullmatch(r"translate\(([\d.]+) ([\d.]+)\) scale\(([\d.]+)\)", path.attrib["transform"])
    assert place is not None
    x, y, scale = map(float, place.groups())
    steps = np.array(re.findall(r"-?\d+", path.attrib["d"]), dtype=float).reshape(-1, 2)
    return np.cumsum(steps, axis=0) * scale + (x, y)


def zero_line(root: ElementTree.Element, lead: str) -> float:
    path = next(path for path in root.iter(f"{SVG}path") if path.get("data-lead") == lead)
    return float(path.attrib["transform"].split(")")[0].split()[1])


def distances(samples: npt.NDArray[np.float64], line: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return how far each sample lies from the drawn line, in mm."""
    begin, along = line[:-1], np.diff(line, axis=0)
    near = np.clip(np.searchsorted(line[:, 0], samples[:, 0]) - 1, 0, len(begin) - 1)
    to_line = []
    for shift in (-1, 0, 1):
        at = np.clip(near + shift, 0, len(begin) - 1)
        offset, way = samples - begin[at], along[at]
        share = np.clip((offset * way).sum(axis=1) / np.maximum((way**2).sum(axis=1), 1e-12), 0, 1)
        to_line.append(np.hypot(*(offset - share[:, None] * way).T))
    return np.min(to_line, axis=0)


def calibrations(root: ElementTree.Element) -> list[str]:
    return [path.attrib["d"] for path in root.iter(f"{SVG}path") if path.get("class") == "ecg-calibration"]


@pytest.mark.parametrize(("layout", "rows"), [("3x4+1", 4), ("6x2", 6), ("12x1", 12)])
def test_the_unit_is_the_millimetre_and_squares_are_squares(ruler: Ecg, layout: str, rows: int) -> None:
    root = parsed(ecg_paper_svg(ruler, layout=layout))
    width, height = (float(root.attrib[side].removesuffix("mm")) for side in ("width", "height"))
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    assert width % 5 == height % 5 == 0
    assert {(p.get("width"), p.get("height")) for p in root.iter(f"{SVG}pattern")} == {("1", "1"), ("5", "5")}
    assert len(calibrations(root)) == rows


@pytest.mark.parametrize(("speed", "gain"), [(25, 10), (50, 20), (25, 5)])
def test_each_row_begins_with_one_millivolt_for_a_fifth_of_a_second(ruler: Ecg, speed: float, gain: float) -> None:
    for mark in calibrations(parsed(ecg_paper_svg(ruler, speed_mm_s=speed, gain_mm_mv=gain))):
        drawn = re.fullmatch(r"M5 [\d.]+(?:h[\d.]+)?v(-[\d.]+)h([\d.]+)v([\d.]+)(?:h[\d.]+)?", mark)
        assert drawn is not None
        up, across, down = map(float, drawn.groups())
        assert (up, across, down) == (-gain, speed / 5, gain)


def test_one_second_is_25_mm_and_one_millivolt_10_mm(ruler: Ecg) -> None:
    points = trace(parsed(ecg_paper_svg(ruler, layout="12x1")), "V3")
    zero = points[0, 1]
    risen = points[points[:, 1] < zero - 9.9]
    assert zero - risen[:, 1].min() == pytest.approx(10, abs=0.05)
    assert np.ptp(risen[:, 0]) == pytest.approx(25, abs=0.1)
    assert risen[0, 0] - points[0, 0] == pytest.approx(25, abs=0.1)
    spikes = points[points[:, 1] > zero + 4.9]
    assert spikes[:, 1].max() - zero == pytest.approx(5, abs=0.05)
    assert np.diff(spikes[:, 0]) == pytest.approx(25, abs=0.1)
    assert np.ptp(points[:, 0]) == pytest.approx(250, abs=0.1)


def test_columns_continue_in_time_and_the_rhythm_runs_below(ruler: Ecg, device_ecg: Ecg) -> None:
    root = parsed(ecg_paper_svg(device_ecg))
    starts = [trace(root, lead)[0, 0] for lead in ("I", "aVR", "V1", "V4")]
    assert np.diff(starts) == pytest.approx(62.5, abs=0.02)
    assert np.ptp(trace(root, "II", 1)[:, 0]) == pytest.approx(250, abs=0.1)
    # aVR's column begins at 2.5 s: the ruler's spike of 3 s stands half a second, 12.5 mm, after its beginning.
    column = trace(parsed(ecg_paper_svg(ruler)), "aVR")
    assert column[column[:, 1].argmax(), 0] - column[0, 0] == pytest.approx(12.5, abs=0.05)


def test_the_line_stays_within_a_twentieth_of_a_millimetre_of_every_sample(device_ecg: Ecg) -> None:
    root = parsed(ecg_paper_svg(device_ecg, layout="12x1"))
    for lead in LEADS:
        points = trace(root, lead)
        samples = device_ecg.lead(lead)
        assert samples is not None
        x = np.arange(len(samples)) / device_ecg.sampling_rate * 25 + points[0, 0]
        y = zero_line(root, lead) - (samples - np.median(samples)) / 100
        assert distances(np.stack([x, y], axis=1), points).max() <= 0.05
        assert len(points) < 0.7 * len(samples)


@pytest.mark.parametrize("layout", ["3x4+1", "6x2", "12x1"])
def test_even_a_noisy_sheet_stays_below_300_kb(device_ecg: Ecg, layout: str) -> None:
    noisy = device_ecg.microvolts + np.random.default_rng(0).normal(0, 30, device_ecg.microvolts.shape)
    for ecg in (device_ecg, replace(device_ecg, microvolts=noisy.astype(np.float32))):
        assert len(ecg_paper_svg(ecg, layout=layout).encode()) < 300_000


def test_labels_name_every_lead_and_say_which_is_missing(ruler: Ecg) -> None:
    def labels(ecg: Ecg, layout: str) -> list[str]:
        return [
            str(text.text)
            for text in parsed(ecg_paper_svg(ecg, layout=layout)).iter(f"{SVG}text")
            if text.get("class") == "ecg-label"
        ]

    assert labels(ruler, "12x1") == list(LEADS)
    assert labels(ruler, "3x4+1") == ["I", "aVR", "V1", "V4", "II", "aVL", "V2", "V5", "III", "aVF", "V3", "V6", "II"]
    limb = replace(ruler, leads=LEADS[:6], microvolts=ruler.microvolts[:6])
    assert labels(limb, "6x2")[:2] == ["I", "V1 —"]


def test_the_footer_says_speed_gain_and_filters_in_both_languages(ruler: Ecg) -> None:
    def line(ecg: Ecg, language: str) -> str:
        texts = parsed(ecg_paper_svg(ecg, language=language)).iter(f"{SVG}text")
        return " ".join(str(next(text.text for text in texts if text.get("class") == "ecg-footer")).split())

    assert line(ruler, "zh") == "25 mm/s 10 mm/mV 滤波 0.05–150 Hz 陷波 50 Hz 采样 500 Hz"
    assert line(ruler, "en") == "25 mm/s 10 mm/mV filter 0.05–150 Hz notch 50 Hz 500 Hz"
    silent = replace(ruler, filters=Filters(), derived=("III",))
    assert line(silent, "en") == "25 mm/s 10 mm/mV filter not stated 500 Hz derived III"


def test_waves_of_the_pre_read_are_marked_where_they_are(ruler: Ecg) -> None:
    beats = [
        {"p_on": 1.0, "p_off": 1.1, "qrs_on": 1.16, "r": 1.2, "qrs_off": 1.25, "t_on": None, "t_off": None},
        {"p_on": None, "p_off": None, "qrs_on": 9.99, "r": 10.0, "qrs_off": 10.04, "t_on": None, "t_off": None},
    ]
    root = parsed(ecg_paper_svg(ruler, beats=beats))
    marks = [path.attrib["d"] for g in root.iter(f"{SVG}g") if g.get("class") == "ecg-beats" for path in g]
    spans = [tuple(map(float, re.fullmatch(r"M([\d.]+) [\d.]+H([\d.]+)", mark).groups())) for mark in marks]  # type: ignore[union-attr]
    assert spans == [(40.0, 42.5), (44.0, 46.25)]


def test_a_stretch_fits_a_phone_at_true_size(ruler: Ecg) -> None:
    root = parsed(ecg_paper_svg(ruler, layout="12x1", start=1.0, seconds=3.0))
    # 390 CSS pixels are 103 mm.
    assert float(root.attrib["width"].removesuffix("mm")) <= 100
    points = trace(root, "I")
    assert np.ptp(points[:, 0]) == pytest.approx(75, abs=0.1)
    assert points[0, 1] == points[:, 1].min()


def test_a_recording_that_is_short_or_of_one_lead_is_drawn_as_far_as_it_goes(ruler: Ecg) -> None:
    strip = replace(ruler, leads=("II",), microvolts=ruler.microvolts[:1, :1500])
    root = parsed(ecg_paper_svg(strip))
    assert np.ptp(trace(root, "II", 1)[:, 0]) == pytest.approx(75, abs=0.1)
    assert not [path for path in root.iter(f"{SVG}path") if path.get("data-lead") == "V1"]


def test_an_unknown_layout_is_refused_and_names_the_known_ones(ruler: Ecg) -> None:
    with pytest.raises(UnknownLayout, match="3x4"):
        ecg_paper_svg(ruler, layout="4x3")
