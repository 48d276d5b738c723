"""Which statements belong to which of PTB-XL's five diagnostic superclasses; no torch here, evaluation uses it too."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

_TABLES = tomllib.loads(Path(__file__).with_name("statements.toml").read_text(encoding="utf-8"))

#: Superclass to its statements, in the order of the network's second output.
SUPERCLASSES: Mapping[str, tuple[str, ...]] = {name: tuple(members) for name, members in _TABLES["superclass"].items()}


def superclass_labels(labels: npt.NDArray[np.float32], statements: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return (records, superclasses): a record belongs to each superclass of which it carries a statement."""
    columns = [[statements.index(code) for code in members] for members in SUPERCLASSES.values()]
    return np.stack([labels[:, column].max(axis=1) for column in columns], axis=1)
