"""Slide files of scanners, turned into DICOM Whole Slide Microscopy before they enter the archive."""
