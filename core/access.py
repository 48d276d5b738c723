"""Who may do what, and to whose data: the one place that decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from core.errors import NotAllowed
from core.tables.organisations import Level, Organisation
from core.tables.people import Role, User
from core.tables.studies import Study


class Permission(StrEnum):
    """What can be allowed."""

    SEE_WORKLIST = "see_worklist"
    SEE_IMAGES = "see_images"
    JUDGE_FINDINGS = "judge_findings"
    WRITE_REPORT = "write_report"
    SIGN_REPORT = "sign_report"
    GRANT_FILM = "grant_film"
    PLACE_ORDER = "place_order"
    ADMINISTER = "administer"


ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.OPERATOR: frozenset({Permission.SEE_WORKLIST, Permission.SEE_IMAGES, Permission.GRANT_FILM, Permission.PLACE_ORDER}),
    Role.DOCTOR: frozenset(
        {
            Permission.SEE_WORKLIST,
            Permission.SEE_IMAGES,
            Permission.JUDGE_FINDINGS,
            Permission.WRITE_REPORT,
            Permission.SIGN_REPORT,
            Permission.GRANT_FILM,
            Permission.PLACE_ORDER,
        }
    ),
    Role.RESEARCHER: frozenset(),
    Role.ADMINISTRATOR: frozenset({Permission.SEE_WORKLIST, Permission.ADMINISTER}),
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """A signed-in person, as every later room knows them."""

    user_id: int
    username: str
    display_name: str
    language: str
    organisation_id: int
    roles: frozenset[Role]
    #: Their own organisation and all below it: whose data they may see.
    organisations: frozenset[int]

    @property
    def actor(self) -> str:
        """Their name in the audit chain."""
        return f"user:{self.username}"

    @property
    def permissions(self) -> frozenset[Permission]:
        """Everything that their roles allow."""
        return frozenset().union(*(ROLE_PERMISSIONS[role] for role in self.roles))

    def may(self, permission: Permission) -> bool:
        """Return whether one of their roles allows it."""
        return permission in self.permissions

    def must(self, permission: Permission) -> None:
        """Pass, or raise :class:`core.errors.NotAllowed`."""
        if not self.may(permission):
            raise NotAllowed(self.display_name, permission)


def person_of(session: Session, user: User) -> Person:
    """Return ``user`` with roles and reach resolved."""
    return Person(
        user_id=user.id,
        username=user.username,
        display_name=user.display_name,
        language=user.language,
        organisation_id=user.organisation_id,
        roles=frozenset(held.role for held in user.roles),
        organisations=frozenset(reach(session, user.organisation_id)),
    )


def reach(session: Session, organisation_id: int) -> Iterable[int]:
    """Return the organisations whose studies may be seen from ``organisation_id``.

    A township sees itself and a county everything below it. A city sees only itself: it helps with single studies that a
    county sends up, and does not look into the county's daily work.
    """
    organisation = session.get_one(Organisation, organisation_id)
    if organisation.level is Level.CITY:
        return {organisation_id}
    known, frontier = {organisation_id}, [organisation_id]
    while frontier:
        frontier = list(session.scalars(select(Organisation.id).where(Organisation.parent_id.in_(frontier))))
        known.update(frontier)
    return known


def visible_studies(person: Person) -> Select[Study]:
    """Return the query of all studies that ``person`` may see; every page and API starts from it."""
    return select(Study).where(Study.organisation_id.in_(person.organisations))
