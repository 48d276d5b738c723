"""DICOM's upper layer (PS3.8) and message exchange (PS3.7) as the node speaks them with its devices."""
