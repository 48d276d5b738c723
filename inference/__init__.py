"""Pre-reads: ONNX engines, the durable workflow that runs them, and their results as DICOM objects."""
