"""The ground of all tables: naming of constraints and column types that the house uses again."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import JSON, Enum, MetaData, String
from sqlalchemy.orm import DeclarativeBase, mapped_column

from core.database import UtcDateTime

#: A DICOM unique identifier (PS3.5 9.1): at most 64 characters.
Uid = Annotated[str, mapped_column(String(64))]
#: SHA-256, hexadecimal.
Sha256 = Annotated[str, mapped_column(String(64))]
Key = Annotated[int, mapped_column(primary_key=True)]


def words(kind: type[StrEnum]) -> Enum:
    """Return a column type that stores an enumeration's words, readable in the database and open to new ones."""
    return Enum(kind, native_enum=False, create_constraint=False, length=24, values_callable=lambda e: [m.value for m in e])


class Base(DeclarativeBase):
    """Base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {datetime: UtcDateTime, dict[str, Any]: JSON}
