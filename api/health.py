"""Whether the service can work: asked by a supervisor, a balancer and an administrator's eye."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from api.house import House, house_of
from core.errors import SumuError

router = APIRouter(prefix="/api", tags=["service"])


class Health(BaseModel):
    """What answers and what does not."""

    ok: bool = Field(description="Whether everything answers.")
    database: bool = Field(description="Whether the database answers.")
    archive: bool = Field(description="Whether Orthanc answers.")


@router.get("/health", operation_id="health", summary="Is the service able to work?", responses={503: {"model": Health}})
def health(response: Response, house: Annotated[House, Depends(house_of)]) -> Health:
    """Ask the database and the archive; 503 when one of them is silent. Needs no sign-in and tells nothing of patients."""
    database, archive = _database_answers(house), _archive_answers(house)
    if not (database and archive):
        response.status_code = 503
    return Health(ok=database and archive, database=database, archive=archive)


def _database_answers(house: House) -> bool:
    try:
        with house.database.reading() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError:
        return False
    return True


def _archive_answers(house: House) -> bool:
    try:
        house.archive.system()
    except SumuError:
        return False
    return True
