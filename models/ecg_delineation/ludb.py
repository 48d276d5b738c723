"""LUDB as arrays and waves: 12-lead ECGs with P, QRS and T marked by cardiologists in every lead.

Kalyakulina et al. 2020, PhysioNet, ODC-By. A folder holds the records as PhysioNet publishes them (``1.hea``, ``1.dat``, one
annotation file a lead: ``1.ii``), in ``data/`` or in archives ``records-*.tar.xz``.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
#: Hz.
RATE = 500
#: MIT annotation codes: N, ( and ), p, t.
_KINDS = {1: "QRS", 24: "P", 27: "T"}
_OPEN, _CLOSE = 39, 40
_SKIP, _AUX = 59, 63
_NOT_A_TIME = (60, 61, 62)
#: Marks of one beat lie closer than this in all leads.
_ONE_BEAT = round(0.150 * RATE)
_LONGEST_PR = round(0.500 * RATE)
#: A beat is one that half of the leads show.
_QUORUM = len(LEADS) / 2


@dataclass(frozen=True, kw_only=True)
class MarkedWave:
    """One wave of one lead; samples."""

    kind: str
    onset: int
    peak: int
    offset: int

    @property
    def middle(self) -> float:
        """Half way between its ends."""
        return (self.onset + self.offset) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class MarkedRecord:
    """One recording."""

    name: str
    #: (12, samples), in the order of ``LEADS``.
    microvolts: npt.NDArray[np.float32]
    waves: Mapping[str, tuple[MarkedWave, ...]]


def read_ludb(folder: Path) -> Iterator[MarkedRecord]:
    """Read every record of the folder, by number."""
    files = _files(folder)
    for name in sorted(
        (file.removesuffix(".hea") for file in files if file.endswith(".hea")), key=lambda name: (len(name), name)
    ):
        leads = {lead: files.get(f"{name}.{lead.lower()}", b"") for lead in LEADS}
        yield MarkedRecord(
            name=name,
            microvolts=_microvolts(files[f"{name}.hea"].decode("latin-1"), files[f"{name}.dat"]),
            waves={lead: tuple(marked_waves(annotations)) for lead, annotations in leads.items()},
        )


def holds_ludb(folder: Path) -> bool:
    """Return whether the folder holds records."""
    return bool(list(folder.glob("records-*.tar.xz")) or list(folder.glob("data/*.hea")))


def annotated_intervals(record: MarkedRecord) -> dict[str, float]:
    """Return what the marks say: medians over the beats of ``pr``, ``qrs``, ``qt`` in ms, and the mean ``rate`` a minute.

    A beat's onset is the median of the leads' onsets, its offset that of their offsets; a P or T counts where half of the leads
    that show the beat show it, and PR is given where half of the beats have a P.
    """
    beats = _beats(record)
    pr, qrs, qt, peaks = [], [], [], []
    for number, beat in enumerate(beats):
        begin = max((wave.offset for wave in beats[number - 1].values()), default=0) if number else 0
        end = min(wave.onset for wave in beats[number + 1].values()) if number + 1 < len(beats) else record.microvolts.shape[1]
        p = [wave for lead, qrs_wave in beat.items() if (wave := _before(record.waves[lead], qrs_wave, begin))]
        t = [wave for lead, qrs_wave in beat.items() if (wave := _after(record.waves[lead], qrs_wave, end))]
        onset, offset = median(wave.onset for wave in beat.values()), median(wave.offset for wave in beat.values())
        qrs.append((offset - onset) * 1000 / RATE)
        if 2 * len(p) >= len(beat):
            pr.append((onset - median(wave.onset for wave in p)) * 1000 / RATE)
        if 2 * len(t) >= len(beat):
            qt.append((median(wave.offset for wave in t) - onset) * 1000 / RATE)
        peaks.append(median(wave.peak for wave in beat.values()))
    found: dict[str, float] = {}
    if qrs:
        found["qrs"] = median(qrs)
    if pr and 2 * len(pr) >= len(qrs):
        found["pr"] = median(pr)
    if qt:
        found["qt"] = median(qt)
    if len(peaks) > 1:
        found["rate"] = 60 * RATE / float(np.mean(np.diff(peaks)))
    return found


def _beats(record: MarkedRecord) -> list[dict[str, MarkedWave]]:
    marks = sorted(
        ((wave.middle, lead, wave) for lead, waves in record.waves.items() for wave in waves if wave.kind == "QRS"),
        key=lambda mark: mark[:2],
    )
    groups: list[dict[str, MarkedWave]] = []
    last = -np.inf
    for middle, lead, wave in marks:
        if middle - last > _ONE_BEAT:
            groups.append({})
        groups[-1].setdefault(lead, wave)
        last = middle
    return [group for group in groups if len(group) >= _QUORUM]


def _before(waves: tuple[MarkedWave, ...], qrs: MarkedWave, begin: float) -> MarkedWave | None:
    inside = [wave for wave in waves if wave.kind == "P" and max(begin, qrs.onset - _LONGEST_PR) < wave.middle < qrs.onset]
    return inside[-1] if inside else None


def _after(waves: tuple[MarkedWave, ...], qrs: MarkedWave, end: float) -> MarkedWave | None:
    inside = [wave for wave in waves if wave.kind == "T" and qrs.offset < wave.middle < end]
    return inside[0] if inside else None


def marked_waves(annotations: bytes) -> Iterator[MarkedWave]:
    """Return the whole brackets of an annotation file (MIT format): onset, peak, offset; broken brackets are left out."""
    onset: int | None = None
    peak: tuple[str, int] | None = None
    for code, at in _marks(annotations):
        if code == _OPEN:
            onset, peak = at, None
        elif code == _CLOSE:
            if onset is not None and peak is not None:
                yield MarkedWave(kind=peak[0], onset=onset, peak=peak[1], offset=at)
            onset = peak = None
        elif code in _KINDS:
            peak = _KINDS[code], at


def _marks(annotations: bytes) -> Iterator[tuple[int, int]]:
    words = np.frombuffer(annotations[: len(annotations) // 2 * 2], "<u2").astype(np.int64)
    place = at = 0
    while place < len(words):
        code, step = int(words[place]) >> 10, int(words[place]) & 0x3FF
        place += 1
        if code == 0 and step == 0:
            return
        if code == _SKIP:
            at += (int(words[place]) << 16) + int(words[place + 1])
            place += 2
        elif code == _AUX:
            place += (step + 1) // 2
        elif code not in _NOT_A_TIME:
            at += step
            yield code, at


def _microvolts(header: str, data: bytes) -> npt.NDArray[np.float32]:
    lines = header.splitlines()[1 : len(LEADS) + 1]
    raw = np.frombuffer(data, "<i2").reshape(-1, len(LEADS)).T
    rows = {}
    for samples, line in zip(raw, lines, strict=True):
        words = line.split()
        gain, zero = re.match(r"([\d.]+)\((-?\d+)\)/mV", words[2]).groups()  # type: ignore[union-attr]
        rows[words[-1]] = (samples - float(zero)) / float(gain) * 1000
    return np.stack([rows[lead.lower()] for lead in LEADS]).astype(np.float32)


def _files(folder: Path) -> dict[str, bytes]:
    found = {file.name: file.read_bytes() for file in folder.glob("data/*") if file.is_file()}
    for archive in sorted(folder.glob("records-*.tar.xz")):
        with tarfile.open(archive) as opened:
            for member in opened:
                content = opened.extractfile(member) if member.isfile() else None
                if content is not None:
                    found[Path(member.name).name] = content.read()
    return found
