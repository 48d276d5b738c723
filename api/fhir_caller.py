"""Who asks for results over FHIR: a signed-in person, or a system of an organisation with a device's token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy import Select, select

from api.house import House, house_of
from api.refusals import N_, Refusal, SignInNeeded
from api.signing_in import COOKIE, current_person
from core.access import Permission, reach
from core.passwords import token_hash
from core.tables import Device, Study

_BEARER = "bearer "


class TokenNeeded(SignInNeeded):
    """Neither a sign-in nor a token that we know."""

    message_id = N_("This address needs a sign-in or the token of an admitted device.")
    remedy_id = N_("Send the token as 'Authorization: Bearer …'; an administrator gives it to a device.")


class MayNotQuery(Refusal):
    """The device is admitted, but not for questions."""

    status = 403
    message_id = N_("This device may not search and fetch.")
    remedy_id = N_("Ask an administrator to give the device the permission to query.")


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whose results may be seen, and who is named in the audit chain."""

    actor: str
    organisations: frozenset[int]

    def studies(self) -> Select[Study]:
        """Return the query of all studies that the caller may see."""
        return select(Study).where(Study.organisation_id.in_(self.organisations))


def caller_of(request: Request, house: Annotated[House, Depends(house_of)]) -> Caller:
    """Return who asks: a FastAPI dependency for requests that change nothing.

    Raises
    ------
    TokenNeeded, MayNotQuery
        If nobody is known, or the device has no permission to query.
    """
    authorization = request.headers.get("authorization", "")
    if authorization.lower().startswith(_BEARER):
        return _device(house, authorization[len(_BEARER) :].strip())
    if COOKIE not in request.cookies:
        raise TokenNeeded
    person = current_person(request, house, "")
    person.must(Permission.SEE_WORKLIST)
    return Caller(actor=person.actor, organisations=person.organisations)


def _device(house: House, token: str) -> Caller:
    with house.database.reading() as session:
        device = session.scalar(select(Device).where(Device.token_hash == token_hash(token), Device.dismissed_at.is_(None)))
        if device is None:
            raise TokenNeeded
        if not device.may_query:
            raise MayNotQuery
        return Caller(actor=f"device:{device.ae_title}", organisations=frozenset(reach(session, device.organisation_id)))
