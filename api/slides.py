"""The microscope page: a pathology slide as tiles, for signed-in persons and for visitors of a film."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import select

from api.house import House, house_of
from api.image_access import Looks, Onlooker, looks_of, onlooker
from api.images_of_study import SLIDE_SOP_CLASS
from api.pages import render
from api.refusals import NoSuchPage
from api.slide_pyramid import Pyramid, read_pyramid
from core.access import Person
from core.tables import Instance, Study

#: Pyramids of the slides that are open just now.
_MOST_KEPT = 200
#: A tile never changes; it is kept by the browser that was allowed to see it.
_CACHED = {"Cache-Control": "private, max-age=3600"}

router = APIRouter(prefix="/slides", tags=["slides"])


class LevelInfo(BaseModel):
    """One magnification, as the page needs it."""

    width: int = Field(description="Width of the level in pixels.")
    height: int = Field(description="Height of the level in pixels.")
    tile_width: int = Field(description="Width of every tile, also on the edge.")
    tile_height: int = Field(description="Height of every tile, also on the edge.")
    columns: int = Field(description="Tiles in a row.")
    rows: int = Field(description="Tiles in a column.")


class SlideInfo(BaseModel):
    """A slide's magnifications from the smallest to the largest."""

    levels: list[LevelInfo]
    micrometres_per_pixel: float | None = Field(description="Of the largest level; null when the scanner did not say.")


def pyramid(
    study_uid: str,
    series_uid: str,
    request: Request,
    who: Annotated[Onlooker, Depends(onlooker)],
    looks: Annotated[Looks, Depends(looks_of)],
    house: Annotated[House, Depends(house_of)],
) -> Pyramid:
    """Return the slide that may be seen under these UIDs: a FastAPI dependency."""
    request.state.in_whose_name = looks.must_see(who, study_uid)
    kept = _kept(request)
    if (study_uid, series_uid) not in kept:
        with house.database.reading() as session:
            query = (
                select(Instance)
                .join(Study)
                .where(
                    Study.study_instance_uid == study_uid,
                    Instance.series_instance_uid == series_uid,
                    Instance.sop_class_uid == SLIDE_SOP_CLASS,
                )
            )
            instances = session.scalars(query).all()
            session.expunge_all()
        if not instances:
            raise NoSuchPage
        found = read_pyramid(house.archive, instances)
        if len(kept) >= _MOST_KEPT:
            kept.clear()
        if all(one.archive_id for one in instances):
            kept[study_uid, series_uid] = found
        return found
    return kept[study_uid, series_uid]


def _kept(request: Request) -> dict[tuple[str, str], Pyramid]:
    state = request.app.state
    if not hasattr(state, "slide_pyramids"):
        state.slide_pyramids = {}
    kept: dict[tuple[str, str], Pyramid] = state.slide_pyramids
    return kept


@router.get("/{study_uid}/{series_uid}", include_in_schema=False)
def slide_page(study_uid: str, series_uid: str, request: Request, slide: Annotated[Pyramid, Depends(pyramid)]) -> Response:
    """Show the slide."""
    by_person = isinstance(request.state.in_whose_name, Person)
    back = f"/studies/{study_uid}" if by_person else "/film"
    address = f"/slides/{study_uid}/{series_uid}"
    return render(request, "slide.html", slide=slide, address=address, back=back)


@router.get("/{study_uid}/{series_uid}/info.json", operation_id="slide_info", summary="Describe a slide's levels and scale")
def info(slide: Annotated[Pyramid, Depends(pyramid)]) -> SlideInfo:
    """Return sizes of levels and tiles, and the scale."""
    levels: list[Any] = [LevelInfo.model_validate(level, from_attributes=True) for level in slide.levels]
    return SlideInfo(levels=levels, micrometres_per_pixel=slide.micrometres_per_pixel)


@router.get("/{study_uid}/{series_uid}/tiles/{level}/{column}_{row}.jpg", operation_id="slide_tile", summary="One tile as JPEG")
def tile(
    level: int, column: int, row: int, slide: Annotated[Pyramid, Depends(pyramid)], house: Annotated[House, Depends(house_of)]
) -> Response:
    """Return a tile; level 0 is the smallest."""
    if not 0 <= level < len(slide.levels):
        raise NoSuchPage
    content = slide.levels[level].tile(house.archive, column, row)
    return Response(content, media_type="image/jpeg", headers=_CACHED)


@router.get("/{study_uid}/{series_uid}/thumbnail.jpg", operation_id="slide_thumbnail", summary="The whole slide, small")
def thumbnail(slide: Annotated[Pyramid, Depends(pyramid)], house: Annotated[House, Depends(house_of)]) -> Response:
    """Return a small picture of the whole slide."""
    return Response(slide.preview(house.archive), media_type="image/jpeg", headers=_CACHED)
