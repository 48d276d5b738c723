"""What the pre-read of a radiograph draws over its images: lines, outlines, boxes, a heat map, and the words beside them.

Places are in pixels of the stored image, as the evidence has them; the page scales the drawing with the picture.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from api.preread_words import latest, term_of
from api.refusals import N_
from api.translations import translate
from core.access import Person
from core.lifecycles.preread import PreReadState
from core.tables import Finding, PreRead, Role, Urgency, Verdict
from inference.vocabulary.terms import vocabulary

#: Columns and rows of the stored image with this SOP Instance UID; None where nobody knows.
Size = Callable[[str], tuple[int, int] | None]

STRUCTURES = {"right_lung": N_("Right lung"), "left_lung": N_("Left lung"), "heart": N_("Heart")}
LINES = {
    "heart_right": N_("Heart, right of the midline"),
    "heart_left": N_("Heart, left of the midline"),
    "thorax": N_("Width of the thorax"),
}
#: Colour of the heat map and its opacity at the peak.
_HEAT = (255, 90, 30, 150)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One of the lines of the cardiothoracic ratio; it is level."""

    code: str
    name: str
    x1: float
    x2: float
    y: float
    #: In mm; None where the header tells no spacing.
    mm: float | None


@dataclass(frozen=True, kw_only=True)
class Outline:
    """The edge of a structure."""

    code: str
    name: str
    #: As SVG has them: ``x,y x,y``.
    points: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """Where a finding was seen."""

    name: str
    probability: float | None
    urgency: Urgency
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Where the network looked for one finding."""

    name: str
    x: float
    y: float
    width: float
    height: float
    #: A small PNG as a ``data:`` address, which the page stretches.
    address: str


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image with everything that is drawn over it."""

    sop_instance_uid: str
    address: str
    columns: int
    rows: int
    #: The cardiothoracic ratio with two digits; empty where there is none.
    ratio: str
    #: ``PA``, ``AP`` or empty.
    projection: str
    #: Whether lengths are those of the detector's plane.
    at_detector: bool
    lines: Sequence[Line] = ()
    outlines: Sequence[Outline] = ()
    boxes: Sequence[Box] = ()
    heat: Sequence[Heat] = ()
    #: Whether validation found that the heat map points to the disease.
    heat_holds: bool = False
    cautions: Sequence[str] = ()

    @property
    def middle(self) -> float | None:
        """Column of the midline from which the heart is measured."""
        return next((line.x1 for line in self.lines if line.code == "heart_right"), None)


def pictures_of(pre_reads: Sequence[PreRead], study_uid: str, person: Person, language: str, size: Size) -> list[Picture]:
    """Return the images of the newest pre-reads over which something is drawn, in the engines' order.

    A heat map that validation did not find to point to the disease is shown to researchers only.
    """
    found: list[Picture] = []
    for pre_read in _drawing(pre_reads):
        for uid in _images(pre_read, person):
            picture = _picture(pre_read, uid, study_uid, person, language, size)
            if picture is not None:
                found.append(picture)
    return found


def drawn_images(pre_reads: Sequence[PreRead], person: Person) -> int:
    """Return how many images of the newest pre-reads something is drawn over."""
    return sum(len(_images(pre_read, person)) for pre_read in _drawing(pre_reads))


def cautions_of(pre_read: PreRead, language: str) -> list[str]:
    """Return why the numbers of a radiograph are to be read with care, or are not there, each once."""
    evidence = pre_read.evidence or {}
    codes = [code for image in (*evidence.get("images", ()), *_chests(pre_read).values()) for code in image.get("cautions") or ()]
    return [_reason(code, language) for code in dict.fromkeys(codes)]


def _drawing(pre_reads: Sequence[PreRead]) -> list[PreRead]:
    return [one for one in latest(pre_reads) if one.engine == "radiograph" and one.state is PreReadState.READ]


def _images(pre_read: PreRead, person: Person) -> list[str]:
    chests = [uid for uid, chest in _chests(pre_read).items() if chest.get("lines")]
    boxed = [str(finding.region["sop_instance_uid"]) for finding in _boxed(pre_read) if finding.region]
    warm = [str(heat["sop_instance_uid"]) for heat in _heat_maps(pre_read, person).values()]
    return list(dict.fromkeys([*chests, *boxed, *warm]))


def _chests(pre_read: PreRead) -> dict[str, dict[str, Any]]:
    return {chest["sop_instance_uid"]: chest for chest in (pre_read.evidence or {}).get("cardiothoracic", ())}


def _boxed(pre_read: PreRead) -> list[Finding]:
    """Return the findings with a place that no doctor has struck."""
    return [one for one in pre_read.findings if one.region and one.region.get("box") and one.verdict is not Verdict.STRUCK]


def _heat_maps(pre_read: PreRead, person: Person) -> Mapping[str, dict[str, Any]]:
    evidence = pre_read.evidence or {}
    shown = evidence.get("localises") or Role.RESEARCHER in person.roles
    struck = {finding.code for finding in pre_read.findings if finding.verdict is Verdict.STRUCK}
    return {code: heat for code, heat in evidence.get("heatmaps", {}).items() if shown and code not in struck}


def _picture(pre_read: PreRead, uid: str, study_uid: str, person: Person, language: str, size: Size) -> Picture | None:
    chest = _chests(pre_read).get(uid, {})
    known = tuple(chest["size"]) if chest.get("size") else size(uid)
    if known is None:
        return None
    columns, rows = known
    spacing = chest.get("spacing")
    return Picture(
        sop_instance_uid=uid,
        address=f"/studies/{study_uid}/radiographs/{uid}.jpg",
        columns=columns,
        rows=rows,
        ratio=f"{chest['ratio']:.2f}" if chest.get("ratio") else "",
        projection=str(chest.get("projection") or ""),
        at_detector=bool(spacing and spacing["at_detector"]),
        lines=[_line(code, line, spacing, language) for code, line in (chest.get("lines") or {}).items()],
        outlines=[
            Outline(code=code, name=translate(language, STRUCTURES[code]), points=" ".join(f"{x},{y}" for x, y in points))
            for code, points in (chest.get("outlines") or {}).items()
        ],
        boxes=[_box(finding, language) for finding in _boxed(pre_read) if (finding.region or {})["sop_instance_uid"] == uid],
        heat=[
            _heat(code, heat, language) for code, heat in _heat_maps(pre_read, person).items() if heat["sop_instance_uid"] == uid
        ],
        heat_holds=bool((pre_read.evidence or {}).get("localises")),
        cautions=[_reason(code, language) for code in chest.get("cautions") or ()],
    )


def _line(code: str, line: list[list[float]], spacing: dict[str, Any] | None, language: str) -> Line:
    (x1, y), (x2, _) = line
    mm = abs(x2 - x1) * float(spacing["column_mm"]) if spacing else None
    return Line(code=code, name=translate(language, LINES[code]), x1=x1, x2=x2, y=y, mm=mm)


def _box(finding: Finding, language: str) -> Box:
    term = term_of(finding.code)
    x, y, width, height = (finding.region or {})["box"]
    return Box(
        name=(term.zh if language == "zh" else term.en) if term else finding.code,
        probability=finding.probability,
        urgency=Urgency(term.urgency) if term else Urgency.ROUTINE,
        x=x,
        y=y,
        width=width,
        height=height,
    )


def _heat(code: str, heat: dict[str, Any], language: str) -> Heat:
    term = term_of(code)
    x, y, width, height = heat["area"]
    grid = np.asarray(heat["grid"], np.float32)
    red, green, blue, peak = _HEAT
    colours = np.empty((*grid.shape, 4), np.uint8)
    # The lower half is no finding's place: only what stands out is coloured.
    colours[..., :3], colours[..., 3] = (red, green, blue), np.clip(2 * grid - 1, 0, 1) * peak
    png = io.BytesIO()
    Image.fromarray(colours, "RGBA").save(png, "PNG")
    return Heat(
        name=(term.zh if language == "zh" else term.en) if term else code,
        x=x,
        y=y,
        width=width,
        height=height,
        address=f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}",
    )


def _reason(code: str, language: str) -> str:
    term = vocabulary().reasons.get(code)
    return (term.zh if language == "zh" else term.en) if term else code
