"""Files of ECG machines, turned into DICOM ECG objects before they enter the archive."""
