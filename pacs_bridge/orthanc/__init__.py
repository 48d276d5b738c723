"""Orthanc's side of the archive: its configuration, written by us, and the plugin that runs inside it."""
