"""Names of files that come from elsewhere, as text that can be printed, stored and sent."""

from __future__ import annotations

import os
from pathlib import PurePath


def readable(name: str | PurePath) -> str:
    """Return a file's name; bytes that are no UTF-8 are read as the GBK that Chinese Windows writes on sticks and CDs."""
    raw = os.fsencode(name)
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")
