"""ECG paper as a picture: the recording on a millimetre grid, as a doctor has always read it.

A pure function from values to SVG. One unit of the viewBox is one millimetre, so a ruler laid on the print, or a measuring
tool laid on the screen, reads true at any zoom. IEC 60601-2-25: 25 mm/s, 10 mm/mV, a calibration mark on every sheet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import SumuError
from inference.ecg.leads import LEADS
from inference.ecg.waveform import Ecg, Filters

#: One beat of a pre-read's evidence: seconds by the wave's name, None for a wave that was not seen, ``kind`` its annotation.
Beat = Mapping[str, Any]

_LIMB, _CHEST = LEADS[:6], LEADS[6:]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Rows of leads; a row's leads share its time, one after the other."""

    rows: tuple[tuple[str, ...], ...]
    row_mm: float

    @property
    def marked_row(self) -> int:
        """Row under which the waves of the pre-read are marked: where lead II is longest, the lowest of those."""
        rows = [number for number, leads in enumerate(self.rows) if "II" in leads]
        return min(reversed(rows), key=lambda number: len(self.rows[number]))


_LAYOUTS = {
    "3x4+1": _Layout(rows=(*(LEADS[row::3] for row in range(3)), ("II",)), row_mm=35),
    "6x2": _Layout(rows=tuple(zip(_LIMB, _CHEST, strict=True)), row_mm=30),
    "12x1": _Layout(rows=tuple((lead,) for lead in LEADS), row_mm=25),
}

_SECONDS = 10.0
_LEFT, _MARK, _RIGHT, _TOP, _FOOT = 5.0, 10.0, 5.0, 5.0, 10.0
#: The zero line stands a little below the middle of its row: R waves need more room than S waves.
_ZERO = 0.6
_PAPER, _FINE, _BOLD, _INK, _TEXT = "#fffafa", "#f7d3d1", "#eca9a6", "#16161d", "#3a3a44"
#: Kinds of beats that get their letter; the others are the patient's usual ones, or not judged.
_UNUSUAL = ("V", "S")
_MARKS = (("p_on", "p_off", "#2f8f5b"), ("qrs_on", "qrs_off", "#2b5fa8"), ("t_on", "t_off", "#8a5a9e"))

#: How far the drawn line may leave the samples, in mm, rounding apart: a sixth of the ink's width.
_TOLERANCE = 0.038
#: A recording full of noise, whose file would pass the limit, is drawn by the highest and lowest sample of columns as wide as
#: this, in mm; the widest is the ink's width, so that the picture stays the same.
_COLUMNS = (0.0, 0.06, 0.12, 0.25)
_LARGEST_PATHS = 288_000
#: Paths count in fiftieths of a millimetre: short whole numbers.
_STEP = 0.02


class UnknownLayout(SumuError):
    """The paper cannot be laid out in this way."""

    def __init__(self, layout: str) -> None:
        super().__init__(f"There is no ECG layout '{layout}'.", remedy=f"Choose one of {', '.join(_LAYOUTS)}.")
        self.layout = layout


def ecg_paper_svg(
    ecg: Ecg,
    *,
    layout: str = "3x4+1",
    speed_mm_s: float = 25,
    gain_mm_mv: float = 10,
    language: str = "zh",
    beats: Sequence[Beat] | None = None,
    start: float = 0.0,
    seconds: float = _SECONDS,
) -> str:
    """Draw a recording.

    Parameters
    ----------
    layout
        ``3x4+1`` (columns of 2.5 s and a rhythm strip), ``6x2`` (columns of 5 s) or ``12x1`` (every lead all the time).
    language
        ``zh`` or ``en``: the words of the footer.
    beats
        The evidence of the pre-read: draws where P, QRS and T were seen, R and the RR intervals in ms, and the kind of each
        beat where the evidence names one; under the rhythm strip or lead II.
    start, seconds
        Which stretch; ``12x1`` with 3 s fills a phone at true size.

    Raises
    ------
    UnknownLayout
        If there is no such layout.
    """
    if layout not in _LAYOUTS:
        raise UnknownLayout(layout)
    plan = _LAYOUTS[layout]
    strip = seconds * speed_mm_s
    width = _five(_LEFT + _MARK + strip + _RIGHT)
    height = _five(_TOP + plan.row_mm * len(plan.rows) + _FOOT)
    sheet = _Sheet(ecg=ecg, speed=speed_mm_s, gain=gain_mm_mv, start=start, seconds=seconds)
    for column in _COLUMNS:
        rows = [sheet.row(leads, _TOP + plan.row_mm * (number + _ZERO), column) for number, leads in enumerate(plan.rows)]
        if sum(map(len, rows)) <= _LARGEST_PATHS:
            break
    marked = plan.marked_row
    foot = _TOP + plan.row_mm * (marked + 1) - 2
    marks = "" if beats is None else sheet.marks(beats, plan.rows[marked], foot)
    name = hashlib.sha256(f"{ecg.sop_instance_uid} {layout} {start}".encode()).hexdigest()[:8]
    title = {"zh": "心电图", "en": "Electrocardiogram"}.get(language, "Electrocardiogram")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="ecg-paper" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="ecg-{name}">'
        f'<title id="ecg-{name}">{title} {speed_mm_s:g} mm/s {gain_mm_mv:g} mm/mV</title>'
        f"{_grid(name, width, height)}"
        f'<g fill="none" stroke="{_INK}" stroke-linejoin="round" stroke-linecap="round" stroke-width="0.25">{"".join(rows)}</g>'
        f"{marks}"
        f'<g font-family="Arial, Helvetica, sans-serif" fill="{_TEXT}">'
        f"{''.join(sheet.labels(leads, _TOP + plan.row_mm * number) for number, leads in enumerate(plan.rows))}"
        f'<text class="ecg-footer" x="{_LEFT:g}" y="{height - 3:g}" font-size="3">'
        f"{escape(footer(ecg, speed_mm_s, gain_mm_mv, language))}</text></g></svg>"
    )


def footer(ecg: Ecg, speed_mm_s: float, gain_mm_mv: float, language: str) -> str:
    """Return the line that every ECG sheet carries."""
    # Em spaces: SVG folds common ones.
    return "\u2003".join([f"{speed_mm_s:g} mm/s", f"{gain_mm_mv:g} mm/mV", *recording_words(ecg, language)])


def recording_words(ecg: Ecg, language: str) -> list[str]:
    """Return what a sheet says of the recording itself: the device's filters, the sampling, the leads that were computed."""
    words = [*_filter_words(ecg.filters, language), f"{ecg.sampling_rate:g} Hz"]
    if language == "zh":
        words[-1] = f"采样 {words[-1]}"
    if ecg.derived:
        words.append(("推算导联 " if language == "zh" else "derived ") + " ".join(ecg.derived))
    return words


def paper_plan() -> dict[str, Any]:
    """Return the measures of a sheet, in mm, so that a page which draws by itself draws the same paper."""
    return {
        "layouts": {
            name: {"rows": plan.rows, "row_mm": plan.row_mm, "marked_row": plan.marked_row} for name, plan in _LAYOUTS.items()
        },
        "seconds": _SECONDS,
        "left": _LEFT,
        "mark": _MARK,
        "right": _RIGHT,
        "top": _TOP,
        "foot": _FOOT,
        "zero": _ZERO,
        "tolerance": _TOLERANCE,
        "colours": {"paper": _PAPER, "fine": _FINE, "bold": _BOLD, "ink": _INK, "text": _TEXT},
        "waves": [{"on": begin, "off": end, "colour": colour} for begin, end, colour in _MARKS],
    }


def _filter_words(filters: Filters, language: str) -> list[str]:
    chinese = language == "zh"
    words = []
    if filters.low_hz or filters.high_hz:
        band = "–".join(f"{edge:g}" if edge else "" for edge in (filters.low_hz, filters.high_hz))
        words.append(f"{'滤波' if chinese else 'filter'} {band} Hz")
    if filters.notch_hz:
        words.append(f"{'陷波' if chinese else 'notch'} {filters.notch_hz:g} Hz")
    return words or ["滤波未注明" if chinese else "filter not stated"]


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """One recording at one scale."""

    ecg: Ecg
    speed: float
    gain: float
    start: float
    seconds: float

    def row(self, leads: Sequence[str], zero: float, column: float) -> str:
        """Return the calibration mark of a row, then its traces."""
        return self._calibration(zero) + "".join(self._trace(leads, number, zero, column) for number in range(len(leads)))

    def labels(self, leads: Sequence[str], top: float) -> str:
        """Return the names of a row's leads, each over the beginning of its trace."""
        share = self.seconds * self.speed / len(leads)
        return "".join(
            f'<text class="ecg-label" x="{_LEFT + _MARK + share * number + 1:g}" y="{top + 4.5:g}" font-size="3.6" '
            f'font-weight="bold" stroke="{_PAPER}" stroke-width="0.9" paint-order="stroke">'
            f"{lead}{'' if lead in self.ecg.leads else ' —'}</text>"
            for number, lead in enumerate(leads)
        )

    def marks(self, beats: Sequence[Beat], leads: Sequence[str], y: float) -> str:
        """Return a strip for every wave of the pre-read that falls into lead II's share of its row, R marks, RR in ms."""
        share = self.seconds / len(leads)
        first = self.start + share * leads.index("II")
        drawn = []
        for beat in beats:
            for begin, end, colour in _MARKS:
                a, b = beat.get(begin), beat.get(end)
                if a is not None and b is not None and a >= first and b <= first + share:
                    drawn.append(f'<path stroke="{colour}" d="M{self._x(a):.2f} {y:g}H{self._x(b):.2f}"/>')
        peaks = [
            (float(beat["r"] or 0), str(beat.get("kind") or ""))
            for beat in beats
            if first <= (beat.get("r") or -1) <= first + share
        ]
        ticks = "".join(f'<path stroke-width="0.25" stroke="{_TEXT}" d="M{self._x(r):.2f} {y - 1.2:g}v2.4"/>' for r, _ in peaks)
        words = [(self._x(r), y - 1.8, kind) for r, kind in peaks if kind in _UNUSUAL]
        words += [(self._x((a + b) / 2), y + 3.4, f"{(b - a) * 1000:.0f}") for (a, _), (b, _) in pairwise(peaks)]
        texts = "".join(f'<text x="{x:.2f}" y="{at:g}">{escape(word)}</text>' for x, at, word in words)
        return (
            f'<g class="ecg-beats" fill="none" stroke-width="0.9">{"".join(drawn)}</g><g class="ecg-rr">{ticks}'
            f'<g font-family="Arial, Helvetica, sans-serif" font-size="2.6" fill="{_TEXT}" text-anchor="middle">{texts}</g></g>'
        )

    def _x(self, second: float) -> float:
        return _LEFT + _MARK + (second - self.start) * self.speed

    def _calibration(self, zero: float) -> str:
        """1 mV for 0.2 s: 10 mm by 5 mm at the usual scale."""
        pulse, side = 0.2 * self.speed, (_MARK - 0.2 * self.speed) / 2
        lead_in = f"h{side:g}" if side > 0 else ""
        return f'<path class="ecg-calibration" d="M{_LEFT:g} {zero:g}{lead_in}v{-self.gain:g}h{pulse:g}v{self.gain:g}{lead_in}"/>'

    def _trace(self, leads: Sequence[str], number: int, zero: float, column: float) -> str:
        samples = self.ecg.lead(leads[number])
        if samples is None:
            return ""
        rate, share = self.ecg.sampling_rate, self.seconds / len(leads)
        first = round((self.start + share * number) * rate)
        piece = samples[first : round((self.start + share * (number + 1)) * rate) + 1]
        if len(piece) < 2:
            return ""
        # The device's offset is no finding: the trace hangs on its own middle, taken over the whole lead so that columns agree.
        y = (piece.astype(np.float64) - float(np.median(samples))) / 1000 * self.gain
        x = np.arange(len(piece)) / rate * self.speed
        left = self._x(first / rate)
        d = _path(x, -y, column)
        tick = f'<path d="M{left:.2f} {zero - 9:g}v-3" stroke-width="0.35"/>' if number else ""
        place = f"translate({left:.2f} {zero:g}) scale({_STEP})"
        return (
            f'{tick}<path class="ecg-trace" data-lead="{leads[number]}" transform="{place}" '
            f'stroke-width="{0.25 / _STEP:g}" d="{d}"/>'
        )


def _path(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64], column: float) -> str:
    if (crowd := int(column / (x[1] - x[0]))) > 2:
        extremes = _extremes(y, crowd)
        x, y = x[extremes], y[extremes]
    kept = _thinned(x.tolist(), y.tolist())
    points = np.rint(np.stack([x[kept], y[kept]], axis=1) / _STEP).astype(int)
    steps = np.diff(points, axis=0).tolist()
    return f"M{points[0, 0]} {points[0, 1]}l" + " ".join(f"{dx}{'' if dy < 0 else ' '}{dy}" for dx, dy in steps)


def _extremes(y: npt.NDArray[np.float64], crowd: int) -> npt.NDArray[np.intp]:
    """Return the positions of the lowest and the highest of every ``crowd`` samples, and of both ends."""
    columns = y[: len(y) // crowd * crowd].reshape(-1, crowd)
    begins = np.arange(len(columns)) * crowd
    return np.unique(np.concatenate(([0], begins + columns.argmin(axis=1), begins + columns.argmax(axis=1), [len(y) - 1])))


def _thinned(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """Keep the samples without which the line would leave the others by more than the tolerance (Reumann and Witkam's cone)."""
    kept, anchor, low, high = [0], 0, -np.inf, np.inf
    for i in range(1, len(x)):
        slope = (y[i] - y[anchor]) / (x[i] - x[anchor])
        if not low <= slope <= high:
            # The line to the sample before is the last one that passes every sample since the anchor.
            anchor = i - 1
            kept.append(anchor)
            low, high = -np.inf, np.inf
        run = x[i] - x[anchor]
        low, high = max(low, (y[i] - _TOLERANCE - y[anchor]) / run), min(high, (y[i] + _TOLERANCE - y[anchor]) / run)
    return [*kept, len(x) - 1]


def _grid(name: str, width: float, height: float) -> str:
    """Squares of 1 mm and of 5 mm; the bold lines lie over the fine ones."""
    return (
        f'<defs><pattern id="fine-{name}" width="1" height="1" patternUnits="userSpaceOnUse">'
        f'<path d="M0 0H1M0 0V1" fill="none" stroke="{_FINE}" stroke-width="0.16"/></pattern>'
        f'<pattern id="bold-{name}" width="5" height="5" patternUnits="userSpaceOnUse">'
        f'<rect width="5" height="5" fill="url(#fine-{name})"/>'
        f'<path d="M0 0H5M0 0V5" fill="none" stroke="{_BOLD}" stroke-width="0.32"/></pattern></defs>'
        f'<rect width="{width:g}" height="{height:g}" fill="{_PAPER}"/>'
        f'<rect width="{width:g}" height="{height:g}" fill="url(#bold-{name})"/>'
    )


def _five(length: float) -> float:
    """Round up to whole large squares."""
    return 5.0 * ceil(length / 5 - 1e-9)
