"""Between the machines and the archive: the DICOM node, its spool, delivery, and the archive's client."""
