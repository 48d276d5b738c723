"""Which format a file of an ECG machine has, by its content; and what is said when it cannot be read.

File names lie: every maker calls its files ``.xml``, ``.dat`` or ``.ecg``. A refusal names what was found.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from core.errors import SumuError
from pacs_bridge.ecg.xml_text import xml_text
from pacs_bridge.file_names import readable

#: A resting ECG has less than 1 MB, a day of three leads about 100 MB. Reading takes ten times as much memory.
LARGEST_BYTES = 128 << 20
#: No lead has more; a header that claims more would have us reserve memory for nothing. A day at 500 Hz has 43 million.
LONGEST_SAMPLES = 50_000_000
_HEAD = 8192
#: What to do with a damaged copy.
AGAIN = "Copy or export it from the machine again."
_EXPORT = "Export the recording from the machine as SCP-ECG, HL7 aECG or DICOM."


class UnreadableEcg(SumuError):
    """A file cannot be turned into an ECG; the message names its format and what is missing."""

    def __init__(self, file_name: str, found: str, missing: str, *, remedy: str = _EXPORT) -> None:
        self.file_name, self.found, self.missing = readable(file_name), found, missing
        super().__init__(f"{self.file_name} is {found}; {missing.rstrip('.')}.", remedy=remedy)


@dataclass(frozen=True, kw_only=True)
class EcgFormat:
    """What a file is."""

    name: str
    #: Empty for formats that are read; otherwise why this one is not.
    missing: str = ""
    remedy: str = _EXPORT

    @property
    def is_read(self) -> bool:
        """Whether there is a reader."""
        return not self.missing


HL7 = EcgFormat(name="HL7 aECG")
SCP = EcgFormat(name="SCP-ECG")
MUSE = EcgFormat(name="GE MUSE XML")
SIERRA = EcgFormat(name="Philips Sierra XML")
MORTARA = EcgFormat(name="Mortara ELI XML")
CARDIOSOFT = EcgFormat(name="GE CardioSoft XML")
CONTEC = EcgFormat(name="Contec ECG90A")
EDF = EcgFormat(name="EDF")
WFDB = EcgFormat(name="WFDB")

_NO_READER = "there is no reader for it here"
EMPTY = EcgFormat(name="empty", missing="there is nothing in it", remedy="Copy it from the machine again.")
UNKNOWN = EcgFormat(name="of a format that is not known here", missing=_NO_READER)

#: By the root of the document.
_XML = {
    "annotatedecg": HL7,
    "restingecg": MUSE,
    "restingecgdata": SIERRA,
    "cardiologyxml": CARDIOSOFT,
}
#: By the first bytes and where they stand.
_MAGIC = (
    (128, b"DICM", EcgFormat(name="DICOM", missing="it needs no conversion", remedy="Send it or import it as it is.")),
    (0, b"\xffBIOSEMI", EcgFormat(name="BDF (24-bit EDF)", missing=_NO_READER)),
    (0, b"ISHNE1.0", EcgFormat(name="ISHNE Holter", missing=_NO_READER, remedy="Export it as EDF or DICOM.")),
    (0, b"@  MFR ", EcgFormat(name="MFER", missing=_NO_READER)),
    (0, b"%PDF", EcgFormat(name="a PDF document", missing="a picture of an ECG has no samples")),
    (0, b"\x89PNG", EcgFormat(name="a PNG picture", missing="a picture of an ECG has no samples")),
    (0, b"\xff\xd8\xff", EcgFormat(name="a JPEG picture", missing="a picture of an ECG has no samples")),
    (0, b"BM", EcgFormat(name="a BMP picture", missing="a picture of an ECG has no samples")),
    (0, b"PK\x03\x04", EcgFormat(name="a ZIP archive", missing="it was not unpacked", remedy="Unpack it, and import that.")),
    (0, b"Rar!", EcgFormat(name="a RAR archive", missing="it was not unpacked", remedy="Unpack it, and import that.")),
    (0, b"7z\xbc\xaf", EcgFormat(name="a 7z archive", missing="it was not unpacked", remedy="Unpack it, and import that.")),
    (0, b"MZ", EcgFormat(name="a Windows program", missing="it holds no recording", remedy="Nothing needs to be done.")),
)
#: The second word keeps other documents whose root is called ECG out.
_MORTARA = re.compile(r"\b(ACQUISITION_TIME|UNITS_PER_MV|TYPICAL_CYCLE|NUM_QRS|VENT_RATE)\b")
_ROOT = re.compile(r"<(?!\?|!)(?:[\w.-]+:)?([\w.-]+)")
_COMMENTS = re.compile(r"<!--.*?-->|<!DOCTYPE[^>]*>", re.DOTALL)
_WFDB_RECORD = re.compile(rb"^[\w-]+(?:/\d+)? +\d+(?: +[\d.]+[^\n]*)?\r?\n")
_CONTEC_TIME = re.compile(rb"\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{2}:\d{2}\x00")


def format_of(file: Path) -> EcgFormat:
    """Return what ``file`` is."""
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        return EMPTY
    for offset, magic, found in _MAGIC:
        if head[offset:].startswith(magic):
            return found
    return _binary(head) or _markup(head) or _wfdb(file, head) or UNKNOWN


def readable_format_of(file: Path) -> EcgFormat:
    """Return what ``file`` is, if there is a reader for it.

    Raises
    ------
    UnreadableEcg
        If there is none, or the file is too large.
    """
    found = format_of(file)
    if not found.is_read:
        raise UnreadableEcg(file.name, found.name, found.missing, remedy=found.remedy)
    if file.stat().st_size > LARGEST_BYTES:
        raise UnreadableEcg(file.name, found.name, f"it is larger than {LARGEST_BYTES >> 20} MiB")
    return found


def _binary(head: bytes) -> EcgFormat | None:
    if head[:8] == b"0       " and head[184:192].strip().isdigit():
        return EDF
    # ISO 11073-91064 5.3: section 0 stands first and its own pointer says so.
    if len(head) >= 32 and head[8:10] == b"\0\0" and head[22:24] == b"\0\0" and struct.unpack_from("<I", head, 28)[0] == 7:
        return SCP
    if _CONTEC_TIME.match(head, 10) and len(head) >= 43:
        return CONTEC
    return None


def _markup(head: bytes) -> EcgFormat | None:
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] != b"<" and head[:2] not in (b"\xff\xfe", b"\xfe\xff") and head[:2] != b"<\x00":
        return None
    # A cut in the middle of a letter is no fault of the file.
    text = _COMMENTS.sub("", xml_text(_whole_letters(head)))
    root = match[1] if (match := _ROOT.search(text)) else ""
    if root.lower() == "ecg" and _MORTARA.search(text):
        return MORTARA
    found = _XML.get(root.lower())
    return found or EcgFormat(name=f"XML with the root <{root}>" if root else "text that begins like XML", missing=_NO_READER)


def _whole_letters(head: bytes) -> bytes:
    """Return the head up to its last closing bracket, which no multi-byte letter contains."""
    end = head.rfind(b">\x00") + 2 if head[:2] in (b"\xff\xfe", b"<\x00") else head.rfind(b">") + 1
    return head[: end or len(head)]


def _wfdb(file: Path, head: bytes) -> EcgFormat | None:
    if file.suffix.lower() == ".hea":
        lines = [line for line in head.splitlines(keepends=True) if line.strip() and not line.startswith(b"#")]
        if lines and _WFDB_RECORD.match(lines[0].rstrip(b"\r\n") + b"\n"):
            return WFDB
    return None
