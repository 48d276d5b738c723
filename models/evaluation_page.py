"""The page that an evaluation writes: what was measured, reliability diagrams, and the images that the model got most wrong.

One HTML file with everything in it, so that it can be kept with the records of acceptance and opened anywhere.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

TEMPLATE = Path(__file__).parent / "evaluation_page.html"
#: Longest side of a picture in the gallery, pixels.
PICTURE = 256


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How often a probability came true: groups of images from low to high."""

    name: str
    #: Mean probability given, share found, number of images.
    groups: tuple[tuple[float, float, int], ...]

    @property
    def images(self) -> int:
        """Return how many images there are."""
        return sum(count for *_, count in self.groups)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One image that the model got wrong."""

    #: Grey values as displayed.
    grey: NDArray[np.uint8]
    caption: str

    @property
    def picture(self) -> str:
        """Return the image as the text of a JPEG."""
        image = Image.fromarray(self.grey)
        image.thumbnail((PICTURE, PICTURE))
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=80)
        return base64.b64encode(stream.getvalue()).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Failures of one kind, the worst first."""

    name: str
    failures: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a heading; the first row names the columns."""

    name: str
    rows: Sequence[Sequence[str]]


def evaluation_page(
    title: str, facts: Sequence[str], tables: Sequence[Table], reliabilities: Sequence[Reliability], galleries: Sequence[Gallery]
) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(TEMPLATE.name).render(
        title=title, facts=facts, tables=tables, reliabilities=reliabilities, galleries=galleries
    )
