"""The process that converts: ``python -m pacs_bridge.services.conversion_child MEMORY``, one JSON list a line.

A line holds source, target and transfer syntax; the answer is ``null``, or what went wrong as the end of a sentence.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

import pydicom
from pydicom.uid import UID, ImplicitVRLittleEndian


def main() -> None:
    """Convert until the input ends."""
    memory = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Libraries that print may not disturb the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        source, target, transfer_syntax = json.loads(line)
        try:
            convert(Path(source), Path(target), transfer_syntax)
            problem = None
        except MemoryError:
            problem = "it needs more memory than is allowed"
        # Decoders raise whatever their libraries raise.
        except Exception as error:
            problem = str(error) or type(error).__name__
        answers.write(json.dumps(problem) + "\n")
        answers.flush()


def convert(source: Path, target: Path, transfer_syntax: str) -> None:
    """Write an instance anew, decompressed and in the other transfer syntax."""
    instance = pydicom.dcmread(source)
    if instance.file_meta.TransferSyntaxUID.is_compressed and "PixelData" in instance:
        instance.decompress(generate_instance_uid=False)
    instance.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    implicit = transfer_syntax == ImplicitVRLittleEndian
    instance.save_as(target, implicit_vr=implicit, little_endian=True, enforce_file_format=True)


if __name__ == "__main__":
    main()
