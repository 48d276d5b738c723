"""An engine that does what a study's description says: reads, hangs in native code, crashes, grows; and a worker that has it."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pydicom import Dataset

from core.settings import Settings
from inference.engine import Engine, Outcome, Reading, StudyFiles


class Misbehaving:
    """It wants CT, and notes each start of a reading in a file of the data folder."""

    name = "misbehaving"

    def __init__(self, folder: Path) -> None:
        self.folder, self.warmed, self.kept = folder, False, [b""]

    def warm(self) -> None:
        self.warmed = True

    def wants(self, instance: Dataset) -> bool:
        return str(instance.Modality) == "CT"

    def read(self, study: StudyFiles) -> Reading:
        told = str(study.instances[0].header.StudyDescription)
        with (self.folder / f"starts-{study.study_instance_uid}").open("a", encoding="ascii") as starts:
            starts.write(f"{os.getpid()}\n")
        if told == "segfault":
            ctypes.string_at(0)
        elif told == "abort":
            os.abort()
        elif told == "hang":
            ctypes.PyDLL(None).sleep(3600)  # it does not let go of the interpreter, so no thread in here can end it
        elif told == "grow":
            self.kept.append(b"x" * 400_000_000)
        elif told == "raise":
            raise RuntimeError("the network stumbled")
        elif told == "together":
            time.sleep(1)
        elif told == "wait":
            while not (self.folder / "go").exists():
                time.sleep(0.02)
        evidence = {"pid": os.getpid(), "warm": self.warmed}
        return Reading(outcome=Outcome.DECLINED, reason="no_engine", evidence=evidence)


def engines_of(settings: Settings) -> Mapping[str, Engine]:
    """Return the one engine."""
    return {Misbehaving.name: Misbehaving(settings.data)}


def main() -> None:
    """Be a worker whose only engine is the misbehaving one."""
    import inference.roster
    from cli.processes import ProcessKind, run

    inference.roster.engines_of = engines_of
    run(ProcessKind.WORKER, Settings(), name=sys.argv[1])


if __name__ == "__main__":
    main()
