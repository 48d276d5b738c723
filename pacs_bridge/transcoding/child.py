"""The process that decodes: ``python -m pacs_bridge.transcoding.child SOURCE TARGET MEMORY CPU_SECONDS FILE_BYTES``."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from pacs_bridge.transcoding.errors import CannotTranscode
from pacs_bridge.transcoding.guarded import told
from pacs_bridge.transcoding.transcode import transcode_for_archive


def main() -> int:
    """Transcode under limits; say the result, or why there is none, on the standard output."""
    source, target, *limits = sys.argv[1:]
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)
    for kind, limit in zip(kinds, map(int, limits), strict=True):
        resource.setrlimit(kind, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        result = transcode_for_archive(Path(source), Path(target))
    except CannotTranscode as error:
        print(error.problem, end="")
        return os.EX_DATAERR
    except MemoryError:
        print("it needs more memory than is allowed", end="")
        return os.EX_DATAERR
    print(told(result))
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
