"""What an ECG machine printed beside its curves, as annotations of the DICOM object (PS3.3 C.10.10): written, and read back.

Numbers are items of the Waveform Annotation Sequence (0040,B020) with a concept name, a unit and a numeric value; statements
are items of unformatted text. Reading goes by codes, and by words where a maker has codes of his own, so that objects of other
makers give their numbers too. Nothing is computed or rounded on either way.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from pacs_bridge.ecg.codes import code_item, measurement_codes, unit_of
from pacs_bridge.ecg.recording import PrintedMeasurements

#: Length of Unformatted Text Value (0070,0006), an ST.
_ST = 1024
_ALL_CHANNELS = [1, 0]
#: Marks of moments and of single beats, no statements about the recording.
_MOMENTS = ("POINT", "MULTIPOINT")
#: ISO 11073-10101 writes the codes of its block 2, ``2:n``, as this and n.
_MDC_BLOCK = 2 << 16
#: No angle is larger, and no interval or rate of a heart; devices write such numbers for what they did not find.
_LARGEST_ANGLE, _LARGEST = 360, 10_000


def annotations_of(printed: PrintedMeasurements) -> list[Dataset]:
    """Return the items of the sequence: group 0 the statements, group 1 the numbers."""
    items = []
    for statement in printed.statements:
        item = Dataset()
        item.UnformattedTextValue = statement[:_ST]
        item.ReferencedWaveformChannels, item.AnnotationGroupNumber = _ALL_CHANNELS, 0
        items.append(item)
    for name, code in measurement_codes().items():
        if (value := getattr(printed, name)) is None:
            continue
        item = Dataset()
        item.ConceptNameCodeSequence = [code_item(code.value, code.scheme, code.meaning)]
        item.MeasurementUnitsCodeSequence = [code_item(code.unit, "UCUM", code.unit)]
        item.NumericValue = DSfloat(value, auto_format=True)
        item.ReferencedWaveformChannels, item.AnnotationGroupNumber = _ALL_CHANNELS, 1
        items.append(item)
    return items


def printed_in(ecg: Dataset) -> PrintedMeasurements:
    """Return what a DICOM ECG says that its machine measured and stated.

    Numbers of single leads or beats, of unknown meaning or in another unit are passed over, and so is what the machine did not
    find: an interval or a rate of zero, a number that no heart has. Where the same number stands twice the first one holds.
    """
    numbers: dict[str, float] = {}
    statements: list[str] = []
    for item in ecg.get("WaveformAnnotationSequence") or []:
        if not isinstance(item, Dataset) or not _is_of_the_whole(item):
            continue
        if text := _statement(item):
            statements.append(text)
        elif (found := _number(item)) is not None and found[0] not in numbers:
            numbers[found[0]] = found[1]
    return PrintedMeasurements(**numbers, statements=tuple(statements))


def _is_of_the_whole(item: Dataset) -> bool:
    """C.10.10.1.1: channel 0 stands for all channels of a group; one channel alone is a single lead."""
    channels = list(item.get("ReferencedWaveformChannels") or _ALL_CHANNELS)[1::2]
    return (0 in channels or len(channels) > 1) and item.get("TemporalRangeType") not in _MOMENTS


def _statement(item: Dataset) -> str:
    """Return the text, or the meaning of a finding that is only coded; empty for a number."""
    if text := str(item.get("UnformattedTextValue") or "").strip():
        return text
    coded = item.get("ConceptCodeSequence") or []
    return "" if "NumericValue" in item or not coded else str(coded[0].get("CodeMeaning") or "").strip()


def _number(item: Dataset) -> tuple[str, float] | None:
    concepts = item.get("ConceptNameCodeSequence") or []
    name = _name_of(concepts[0]) if concepts else None
    if name is None:
        return None
    try:
        values = item.get("NumericValue")
        value = float(values[0] if isinstance(values, MultiValue) else values)
    except (TypeError, ValueError):  # empty, or no number
        return None
    units = item.get("MeasurementUnitsCodeSequence") or []
    unit = unit_of(str(units[0].get("CodeValue") or "")) if units else measurement_codes()[name].unit
    if unit != measurement_codes()[name].unit or not _is_found(value, unit):
        return None
    return name, int(value) if value == int(value) else value


def _is_found(value: float, unit: str) -> bool:
    return abs(value) <= _LARGEST_ANGLE if unit == "deg" else 0 < value < _LARGEST


def _name_of(concept: Dataset) -> str | None:
    # PS3.3 8.1: what is longer than 16 characters stands in Long Code Value (0008,0119).
    value = str(concept.get("CodeValue") or concept.get("LongCodeValue") or "").strip()
    words = " ".join(str(concept.get("CodeMeaning") or "").split())
    codes = measurement_codes()
    if value.isdigit() and int(value) > _MDC_BLOCK:
        value = f"2:{int(value) - _MDC_BLOCK}"
    by_code = next((name for name, code in codes.items() if value.lower() in map(str.lower, (code.value, *code.also))), None)
    return by_code or next((name for name, code in codes.items() if code.words.fullmatch(words)), None)
