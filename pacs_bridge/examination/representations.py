"""Value representations (PS3.5 6.2): how long their length field is, which are text, which are bulk."""

from __future__ import annotations

from typing import NamedTuple

from pydicom._dicom_dict import DicomDictionary

#: Text whose bytes follow (0008,0005) (PS3.5 6.1.2.3).
_TEXT = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
_BULK = {"OB", "OD", "OF", "OL", "OV", "OW", "UN", ""}
_SHORT = {
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
}  # fmt: skip


class Representation(NamedTuple):
    """One VR."""

    name: str
    #: Two reserved bytes and a length of four (PS3.5 7.1.2).
    long: bool
    #: Passed over, however long.
    bulk: bool
    #: A sequence of items.
    sequence: bool
    #: Content of unknown make, which may be items all the same.
    opaque: bool
    text: bool


def _representation(name: str) -> Representation:
    return Representation(name, name in _LONG, name in _BULK, name == "SQ", name in {"UN", ""}, name in _TEXT)


#: By the two bytes of an explicit VR.
EXPLICIT = {name.encode(): _representation(name) for name in _LONG | _SHORT}
#: A private or unknown element of an implicit data set.
UNKNOWN = _representation("")


def _of_dictionary(names: str) -> Representation:
    if "OW" in names or "OB" in names:
        return EXPLICIT[b"OW"]
    return EXPLICIT.get(names[:2].encode(), UNKNOWN)


#: By tag, for implicit data sets; repeating groups (overlays, curves) are unknown, which is bulk.
IMPLICIT = {tag: _of_dictionary(row[0]) for tag, row in DicomDictionary.items()}
