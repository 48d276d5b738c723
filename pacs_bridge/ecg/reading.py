"""Reads a file of an ECG machine, whatever its format."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from ecgdatakit.parsing.parser import Parser
from ecgdatakit.parsing.parsers.edf import EDFParser
from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser
from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser
from ecgdatakit.parsing.parsers.mortara_el250 import MortaraEL250Parser
from ecgdatakit.parsing.parsers.sierra_xml import SierraXMLParser

from pacs_bridge.ecg import formats
from pacs_bridge.ecg.cardiosoft import read_cardiosoft
from pacs_bridge.ecg.contec import read_contec
from pacs_bridge.ecg.derived_leads import with_derived_leads
from pacs_bridge.ecg.formats import AGAIN, EcgFormat, UnreadableEcg, readable_format_of
from pacs_bridge.ecg.recording import EcgRecording, in_paper_order
from pacs_bridge.ecg.scp import read_scp
from pacs_bridge.ecg.sierra import without_calibration_mark
from pacs_bridge.ecg.toolkit import parse, recording_of
from pacs_bridge.ecg.wfdb import read_wfdb
from pacs_bridge.ecg.xml_text import UnsafeXml, xml_root, xml_text

_XML_PARSERS: dict[str, type[Parser]] = {
    formats.HL7.name: HL7aECGParser,
    formats.MUSE.name: GEMuseXMLParser,
    formats.SIERRA.name: SierraXMLParser,
    formats.MORTARA.name: MortaraEL250Parser,
}
_XML = {*_XML_PARSERS, formats.CARDIOSOFT.name}


def read_recording(file: Path) -> EcgRecording:
    """Read a file, with the limb leads that it left out.

    Raises
    ------
    UnreadableEcg
        Naming the format that was found, and what is missing.
    """
    found = readable_format_of(file)
    try:
        recording = _read(file, found)
    except UnreadableEcg:
        raise
    except Exception as error:  # whatever a broken file makes a reader trip over
        raise UnreadableEcg(file.name, found.name, f"it cannot be read to its end: {error}", remedy=AGAIN) from error
    if not recording.leads or not recording.length:
        raise UnreadableEcg(file.name, found.name, "it holds no samples", remedy=AGAIN)
    return with_derived_leads(replace(recording, leads=in_paper_order(recording.leads)))


def _read(file: Path, found: EcgFormat) -> EcgRecording:
    if found.name in _XML:
        return _read_xml(file, found)
    if found is formats.CONTEC:
        return read_contec(file.read_bytes(), file.name)
    if found is formats.WFDB:
        return read_wfdb(file, file.name)
    if found is formats.SCP:
        return read_scp(file, file.name)
    parsed = parse(EDFParser, file, found, file.name)
    recording = recording_of(parsed, found, file.name, rates=parsed.record.raw_metadata.get("exact_sampling_rates"))
    if any("gaps between data records" in note for note in recording.notes):
        raise UnreadableEcg(file.name, "EDF+D", "the recording has gaps, and joined ends would read as heartbeats")
    return recording


def _read_xml(file: Path, found: EcgFormat) -> EcgRecording:
    text = xml_text(file.read_bytes())
    try:
        root = xml_root(text)
    except UnsafeXml as error:
        raise UnreadableEcg(file.name, found.name, "it declares entities, which no ECG machine does", remedy=AGAIN) from error
    except ParseError as error:
        raise UnreadableEcg(file.name, found.name, f"its XML breaks off or is malformed ({error})", remedy=AGAIN) from error
    if found is formats.CARDIOSOFT:
        return read_cardiosoft(root, file.name)
    with tempfile.NamedTemporaryFile("w", suffix=".xml", encoding="utf-8") as clean:
        clean.write(text)
        clean.flush()
        parsed = parse(_XML_PARSERS[found.name], Path(clean.name), found, file.name)
    metadata: dict[str, Any] = parsed.record.raw_metadata
    exact = metadata.get("rhythm_time", {}).get("sampling_rate_exact")  # HL7: the increment's reciprocal
    rates = {lead.label: _tidy(float(exact)) for lead in parsed.record.leads} if exact else None
    recording = recording_of(parsed, found, file.name, rates=rates)
    return without_calibration_mark(recording) if found is formats.SIERRA else recording


def _tidy(rate: float) -> float:
    """Return 500 for 1 / 0.002, which floating point makes 499.99999999999994."""
    return round(rate, 6)
