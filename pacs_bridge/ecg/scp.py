"""SCP-ECG: what its parser leaves to its caller, the exact sampling rate and the intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser

from pacs_bridge.ecg.formats import SCP
from pacs_bridge.ecg.recording import EcgRecording, PrintedMeasurements
from pacs_bridge.ecg.toolkit import parse, recording_of

#: ISO 11073-91064 5.10: a wave that was not found.
_NOT_FOUND = (0xFFFF, 29999)


def read_scp(file: Path, file_name: str) -> EcgRecording:
    """Read a file.

    Raises
    ------
    UnreadableEcg
        With the parser's own words.
    """
    parsed = parse(SCPECGParser, file, SCP, file_name)
    metadata: dict[str, Any] = parsed.record.raw_metadata
    # 5.9: microseconds between samples; the parser rounds their reciprocal.
    rate = 1_000_000 / metadata["rhythm_sample_interval_us"]
    recording = recording_of(parsed, SCP, file_name, rates={lead.label: rate for lead in parsed.record.leads})
    blocks = metadata.get("measurement_blocks") or [{}]
    return replace(recording, printed=_with_intervals(recording.printed, blocks[0]))


def _with_intervals(printed: PrintedMeasurements, waves: dict[str, int]) -> PrintedMeasurements:
    """Section 7 holds where the waves of the reference beat begin and end, in ms; machines print the differences (5.10)."""

    def between(begins: str, ends: str) -> int | None:
        first, last = waves.get(begins), waves.get(ends)
        if first is None or last is None or first in _NOT_FOUND or last in _NOT_FOUND or last <= first:
            return None
        return last - first

    return replace(
        printed,
        pr_ms=between("p_onset", "qrs_onset"),
        qrs_ms=between("qrs_onset", "qrs_offset"),
        qt_ms=between("qrs_onset", "t_offset"),
    )
