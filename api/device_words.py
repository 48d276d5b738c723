"""What there is to say of a device beside its own row: what it did today, how its text is written, how it may call."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time

from cryptography import x509
from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from core.access import Person
from core.clock import in_county, now
from core.tables import Association, CharacterSetSighting, Device, Instance, RefusedCaller, Study
from pacs_bridge.character_sets.detective import UNDECIDED


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What was heard of a device."""

    #: Its last call or instance.
    last_at: datetime | None = None
    #: Instances since midnight of the county, and their bytes.
    today: int = 0
    bytes_today: int = 0


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """How often a device declared one character set and wrote another."""

    #: Empty: none declared.
    declared: str
    found: str
    count: int
    last_at: datetime
    #: Study of an example, where the person may see it.
    study_instance_uid: str | None

    @property
    def undecided(self) -> bool:
        """Whether nobody could tell what it wrote."""
        return self.found == UNDECIDED

    @property
    def agrees(self) -> bool:
        """Whether it wrote what it declared."""
        return self.declared == self.found


@dataclass(frozen=True, kw_only=True)
class KnownCaller:
    """A refused caller, and the device whose AE title it used."""

    caller: RefusedCaller
    device: Device | None
    #: Where a stranger likely stands: the organisation of the devices in its network (/24, /64); None: nobody knows.
    likely_organisation_id: int | None


def devices_of(session: Session, person: Person) -> Sequence[Device]:
    """Return the devices that a person administers, by organisation."""
    query = select(Device).where(Device.organisation_id.in_(person.organisations)).options(joinedload(Device.organisation))
    return session.scalars(query.order_by(Device.dismissed_at.is_not(None), Device.organisation_id, Device.ae_title)).all()


def traffic_of(session: Session, devices: Sequence[Device], timezone: str) -> Mapping[int, Traffic]:
    """Return when each device was last heard and what it sent today."""
    ids = [device.id for device in devices]
    local = in_county(now(), timezone)
    midnight = datetime.combine(local.date(), time(), local.tzinfo)
    calls = (
        select(Association.device_id, func.max(Association.opened_at))
        .where(Association.device_id.in_(ids))
        .group_by(Association.device_id)
    )
    # Studies first: years of instances have no index by time.
    recent = select(Study.id).where(Study.last_received_at >= midnight)
    sent = (
        select(Instance.device_id, func.count(), func.sum(Instance.size), func.max(Instance.received_at))
        .where(Instance.device_id.in_(ids), Instance.study_id.in_(recent), Instance.received_at >= midnight)
        .group_by(Instance.device_id)
    )
    traffic = {device: Traffic(last_at=called) for device, called in session.execute(calls).tuples() if device}
    for device, count, size, received in session.execute(sent).tuples():
        called = traffic[device].last_at if device in traffic else None
        traffic[device or 0] = Traffic(last_at=max(called or received, received), today=count, bytes_today=int(size))
    return {device: traffic.get(device, Traffic()) for device in ids}


def sightings_of(session: Session, device: Device, person: Person) -> list[Sighting]:
    """Return a device's character-set statistics, the most frequent first."""
    rows = session.execute(
        select(CharacterSetSighting, Study)
        .outerjoin(Instance, Instance.sop_instance_uid == CharacterSetSighting.example_uid)
        .outerjoin(Study, Study.id == Instance.study_id)
        .where(CharacterSetSighting.device_id == device.id)
        .order_by(CharacterSetSighting.count.desc(), CharacterSetSighting.id)
    )
    return [
        Sighting(
            declared=row.declared,
            found=row.found,
            count=row.count,
            last_at=row.last_at,
            study_instance_uid=study.study_instance_uid if study and study.organisation_id in person.organisations else None,
        )
        for row, study in rows
    ]


def undecided_counts(session: Session) -> Mapping[int, int]:
    """Return for each device how many instances nobody could read, where there are any and no rule says what they are."""
    query = (
        select(CharacterSetSighting.device_id, func.sum(CharacterSetSighting.count))
        .join(Device, Device.id == CharacterSetSighting.device_id)
        .where(CharacterSetSighting.found == UNDECIDED, Device.character_set_rule.is_(None))
        .group_by(CharacterSetSighting.device_id)
    )
    return {device: int(count) for device, count in session.execute(query).tuples()}


def callers_of(session: Session, person: Person) -> list[KnownCaller]:
    """Return the refused callers whom the person may let in: strangers, and devices of their own organisations; newest first."""
    rows = session.execute(
        select(RefusedCaller, Device)
        .outerjoin(Device, Device.ae_title == RefusedCaller.ae_title)
        .options(joinedload(Device.organisation))
        .order_by(RefusedCaller.last_at.desc())
    ).tuples()
    neighbours = {_network(device.address): device.organisation_id for device in devices_of(session, person) if device.address}
    return [
        KnownCaller(caller=caller, device=device, likely_organisation_id=neighbours.get(_network(caller.address)))
        for caller, device in rows
        if device is None or device.organisation_id in person.organisations
    ]


def certificate_ends(device: Device) -> datetime | None:
    """Return until when a device's certificate is valid."""
    if not device.certificate:
        return None
    return x509.load_pem_x509_certificate(device.certificate.encode()).not_valid_after_utc


def _network(address: str) -> str:
    """Return the network in which an address likely has its neighbours; an address that is none is alone."""
    try:
        version = ipaddress.ip_address(address).version
    except ValueError:
        return address
    return str(ipaddress.ip_network(f"{address}/{24 if version == 4 else 64}", strict=False))
