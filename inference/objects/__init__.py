"""Results of a pre-read as DICOM objects beside its structured report: masks, drawings, key images."""
