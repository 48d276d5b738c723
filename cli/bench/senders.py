"""DCMTK's storescu as township machines: several at once, each over one association, every acknowledgement timed."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import SumuError


class SenderFailed(SumuError):
    """A sender did not bring all its instances through."""

    def __init__(self, output: str) -> None:
        super().__init__(f"storescu failed: {output[-400:]}", remedy="Run it again; if this stays, read the receiver's log.")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What came of one burst."""

    #: From the start of the first sender to the last acknowledgement.
    seconds: float
    #: From a request to its acknowledgement, one for each instance.
    waits: tuple[float, ...]
    #: When the burst began, on the monotonic clock.
    began: float


def send(
    folders: Sequence[Path],
    port: int,
    *,
    calling: str,
    called: str,
    proposing: Mapping[Path, Sequence[str]] | None = None,
) -> Sent:
    """Send one folder a sender, all at once, and return how long it took; ``proposing``: options of a folder's sender.

    Raises
    ------
    SenderFailed
        If one of them ends with an error or an instance was not acknowledged.
    """
    waits: list[float] = []
    failures: list[str] = []
    last = [0.0]

    def run(folder: Path) -> None:
        options = (proposing or {}).get(folder, ())
        names = ["-aet", calling, "-aec", called]
        command = ["storescu", "-v", *names, *options, "--scan-directories", "127.0.0.1", str(port), str(folder)]
        process = subprocess.Popen(
            command, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True, env={**os.environ, "TCP_NODELAY": "1"}
        )
        assert process.stdout is not None
        asked, output, answered = 0.0, "", 0
        for line in process.stdout:
            if line.startswith("I: Sending Store Request"):
                asked = time.monotonic()
            elif line.startswith("I: Received Store Response (Success)"):
                last[0] = time.monotonic()
                waits.append(last[0] - asked)
                answered += 1
            else:
                output = (output + line)[-2000:]
        if process.wait() or answered != sum(1 for _ in folder.iterdir()):
            failures.append(output)

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SenderFailed(failures[0])
    return Sent(seconds=last[0] - began, waits=tuple(waits), began=began)
