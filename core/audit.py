"""The audit chain: each event carries the hash of the one before, so a missing or changed row shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from core.clock import now
from core.errors import SumuError
from core.tables.audit import AuditEvent

#: What the first event chains to.
GENESIS = "0" * 64
#: Any constant will do; it names our lock among PostgreSQL's advisory locks.
_CHAIN_LOCK = 0x53554D55


class BrokenChain(SumuError):
    """An audit event does not follow from the one before it."""

    def __init__(self, event_id: int) -> None:
        super().__init__(
            f"The audit chain breaks at event {event_id}.",
            remedy="Compare with the latest backup: this row was changed, or the one before it was removed.",
        )
        self.event_id = event_id


def record(session: Session, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None) -> AuditEvent:
    """Append an event in the caller's transaction, so that what happened and its trace are kept together or not at all.

    The session must come from ``Database.writing()``: on SQLite its lock, on PostgreSQL an advisory lock until the
    commit, keeps two writers from chaining to the same event.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHAIN_LOCK})
    session.flush()
    last = session.scalar(select(AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)) or GENESIS
    event = AuditEvent(at=now(), actor=actor, action=action, subject=subject, detail=dict(detail or {}), previous=last)
    event.hash = digest(event)
    session.add(event)
    session.flush()
    return event


def digest(event: AuditEvent) -> str:
    """Return the SHA-256 of an event's content and of the hash that it follows."""
    content = [event.previous, event.at.isoformat(), event.actor, event.action, event.subject, event.detail]
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def verify(session: Session) -> int:
    """Walk the whole chain and return the number of events.

    Raises
    ------
    BrokenChain
        At the first event that does not follow.
    """
    previous, count = GENESIS, 0
    for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id).execution_options(yield_per=1000)):
        if event.previous != previous or event.hash != digest(event):
            raise BrokenChain(event.id)
        previous, count = event.hash, count + 1
    return count
