"""An examining process that dies of files by their names, as a fault in an interpreter or a library would kill it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from pacs_bridge.examination.child import main
from pacs_bridge.examination.examine import examine
from pacs_bridge.examination.examined import Examined
from pacs_bridge.examination.limits import Limits


def look(path: Path, limits: Limits) -> Examined:
    """Examine a file, or die of it."""
    once = path.with_suffix(".died")
    if path.name.startswith("deadly") or (path.name.startswith("unlucky") and not once.is_symlink()):
        if not once.is_symlink():
            once.symlink_to(path)  # it may write no byte into any file
        os.kill(os.getpid(), signal.SIGSEGV)
    if path.name.startswith("greedy"):
        bytearray(1 << 30)
    if path.name.startswith("endless"):
        while True:
            pass
    if path.name.startswith("stuck"):
        time.sleep(600)
    if path.name.startswith("curious"):
        descriptors = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")[:-1]]
        raise ValueError(" ".join(descriptors))
    if path.name.startswith("writing"):
        path.with_suffix(".written").write_text("x")
    return examine(path, limits)


if __name__ == "__main__":
    main(look)
