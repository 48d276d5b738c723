"""People who sign in, what they may do, and where they are signed in."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from core.tables.base import Base, Key, Sha256, words
from core.tables.organisations import Organisation


class Role(StrEnum):
    """What a person is for in the county's imaging service."""

    OPERATOR = "operator"
    DOCTOR = "doctor"
    RESEARCHER = "researcher"
    ADMINISTRATOR = "administrator"


class User(Base):
    """A person with an account."""

    __tablename__ = "users"

    id: Mapped[Key]
    organisation_id: Mapped[int] = mapped_column(ForeignKey("organisations.id"), index=True)
    username: Mapped[str] = mapped_column(String(64), unique=True)
    display_name: Mapped[str] = mapped_column(String(64))
    #: argon2id, with its own parameters and salt.
    password_hash: Mapped[str] = mapped_column(String(256))
    language: Mapped[str] = mapped_column(String(8), default="zh")
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship()
    roles: Mapped[list[UserRole]] = relationship(cascade="all, delete-orphan")


class UserRole(Base):
    """One role of one person."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    role: Mapped[Role] = mapped_column(words(Role), primary_key=True)


class SignIn(Base):
    """A browser that a person has signed in with. The cookie holds the token, the row only its hash."""

    __tablename__ = "sign_ins"

    token_hash: Mapped[Sha256] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    #: Proves that a form was sent from our own page (see api.forms).
    form_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
