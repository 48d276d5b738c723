"""How often a password may be wrong.

Counted from the audit chain, which keeps every refused sign-in anyway: the count holds for all web processes, survives a
restart and needs no table of its own.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.refusals import TooManyTries
from core import audit
from core.clock import now
from core.tables import AuditEvent

WINDOW = timedelta(minutes=15)
#: Wrong passwords for one user name from one address within the window.
TRIES = 5
#: Wrong passwords from one address, whatever the user names: one password tried on many people.
TRIES_OF_AN_ADDRESS = 50
ACTION = "sign_in_refused"


def check(session: Session, username: str, address: str) -> None:
    """Pass, or refuse another try.

    Raises
    ------
    TooManyTries
        Until the oldest tries are as old as the window. A refused try is not counted again.
    """
    recent = session.scalars(
        select(AuditEvent)
        .where(AuditEvent.action == ACTION, AuditEvent.at > now() - WINDOW)
        .order_by(AuditEvent.id.desc())
        .limit(1000)
    )
    from_address = [event for event in recent if event.detail.get("address") == address]
    for_user = [event for event in from_address if event.subject == f"user:{username}"]
    if len(for_user) >= TRIES or len(from_address) >= TRIES_OF_AN_ADDRESS:
        raise TooManyTries(minutes=int(WINDOW.total_seconds() // 60))


def record_refusal(session: Session, username: str, address: str) -> None:
    """Leave the trace that :func:`check` counts."""
    audit.record(session, f"address:{address}", ACTION, f"user:{username}", {"address": address})
