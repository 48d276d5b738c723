"""WFDB records: a header and the signal files that it names, which must lie beside it."""

from __future__ import annotations

from pathlib import Path

from ecgdatakit.parsing.parsers.wfdb import WFDBParser

from pacs_bridge.ecg.formats import LONGEST_SAMPLES, WFDB, UnreadableEcg
from pacs_bridge.ecg.recording import EcgRecording
from pacs_bridge.ecg.toolkit import parse, recording_of

#: The sample that stands for none, by storage format (signal-5).
_INVALID = {
    16: -(1 << 15), 61: -(1 << 15), 160: -(1 << 15), 24: -(1 << 23), 32: -(1 << 31),
    80: -128, 212: -2048, 310: -512, 311: -512,
}  # fmt: skip
_HEADER = ".hea"


def signal_files(header: Path) -> list[Path]:
    """Return the other files of a record: those that its header names.

    Raises
    ------
    UnreadableEcg
        If one is missing, or named outside of the header's folder.
    """
    found: dict[str, Path] = {}
    for name in _named_in(header):
        file = header.parent / name
        if Path(name).name != name or "\\" in name:
            raise UnreadableEcg(header.name, WFDB.name, f"it names a file outside of its folder ('{name}')")
        if not file.is_file() or file.is_symlink():
            raise UnreadableEcg(
                header.name, WFDB.name, f"its file {name} is missing", remedy=f"Put {name} beside it and import both."
            )
        found[name] = file
        if file.suffix == _HEADER and name != header.name:
            found |= {other.name: other for other in signal_files(file)}
    return list(found.values())


def read_wfdb(header: Path, file_name: str) -> EcgRecording:
    """Read a record by its header.

    Raises
    ------
    UnreadableEcg
        If a signal file is missing or a signal has no gain.
    """
    signal_files(header)
    if _claimed_samples(header) > LONGEST_SAMPLES:
        raise UnreadableEcg(file_name, WFDB.name, f"its header claims more than {LONGEST_SAMPLES} samples")
    parsed = parse(WFDBParser, header, WFDB, file_name)
    record = parsed.record
    specs = record.raw_metadata["signal_specs"]
    frequency = float(record.raw_metadata["sampling_frequency"])
    if record.raw_metadata["sampling_frequency_stated"] is False:
        raise UnreadableEcg(file_name, WFDB.name, "its header states no sampling frequency")
    labels = [lead.label for lead in record.leads]
    return recording_of(
        parsed,
        WFDB,
        file_name,
        rates={label: frequency * spec["samples_per_frame"] for label, spec in zip(labels, specs, strict=True)},
        invalid={label: _INVALID[spec["fmt"]] for label, spec in zip(labels, specs, strict=True) if spec["fmt"] in _INVALID},
    )


def _claimed_samples(header: Path) -> int:
    """Return the largest length that the header, or a line of its segments, claims."""
    lines = [line.split() for line in header.read_text("latin-1").splitlines() if line.strip() and not line.startswith("#")]
    claimed = [words[3] for words in lines[:1] if len(words) > 3]
    claimed += [words[1] for words in lines[1:] if len(words) == 2]
    return max((int(word) for word in claimed if word.isdigit()), default=0)


def _named_in(header: Path) -> list[str]:
    """Return the signal files, or for a record of several segments their headers."""
    lines = [line.split() for line in header.read_text("latin-1").splitlines() if line.strip() and not line.startswith("#")]
    if not lines or len(lines[0]) < 2 or not lines[0][1].isdigit():
        return []
    record, signals = lines[0][0], int(lines[0][1])
    if "/" in record:
        return [f"{words[0]}{_HEADER}" for words in lines[1:] if words[0] != "~" and words[0] + _HEADER != header.name]
    return sorted({words[0] for words in lines[1 : signals + 1] if words[0] != "~"})
