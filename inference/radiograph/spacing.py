"""How far apart the pixels of a radiograph are, and in which plane (PS3.3 10.7.1).

A detector stands behind the patient: lengths in its plane are larger than those in the body, for a chest at 1.8 m by about
a tenth. Only a calibrated spacing is that of the body.
"""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

#: Spacing of the detector or of the scanned film, never of the body.
_AT_DETECTOR = ("ImagerPixelSpacing", "NominalScannedPixelSpacing")


def spacing_of(header: Dataset) -> dict[str, Any] | None:
    """Return ``row_mm`` and ``column_mm`` (between the centres of neighbouring rows and columns) and ``at_detector``.

    None where the header tells no spacing. Pixel Spacing (0028,0030) is that of the body only where a calibration is named or it
    differs from the detector's (PS3.3 10.7.1.3).
    """
    detector = next((pair for keyword in _AT_DETECTOR if (pair := _pair(header, keyword))), None)
    pixel = _pair(header, "PixelSpacing")
    found = pixel or detector
    if found is None:
        return None
    calibrated = bool(header.get("PixelSpacingCalibrationType")) or (detector is not None and pixel not in (None, detector))
    return {"row_mm": found[0], "column_mm": found[1], "at_detector": not (pixel and calibrated)}


def _pair(header: Dataset, keyword: str) -> tuple[float, float] | None:
    """Return a spacing's two values, or None where it is missing, incomplete or zero."""
    values = header.get(keyword) or ()
    try:
        row, column = (float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return (row, column) if row > 0 and column > 0 else None
