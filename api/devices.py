"""The administrator's pages of devices: who may call, how each may call and what it may do, and who was turned away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, field_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import device_admission
from api.device_admission import NotYours
from api.device_words import callers_of, certificate_ends, devices_of, sightings_of, traffic_of, undecided_counts
from api.house import House, house_of
from api.pages import render
from api.refusals import NoSuchPage
from api.signing_in import require
from core.access import Permission, Person
from core.tables import Device, Organisation, RefusedCaller

router = APIRouter(prefix="/devices", include_in_schema=False)

OurHouse = Annotated[House, Depends(house_of)]
Administrator = Annotated[Person, Depends(require(Permission.ADMINISTER))]

#: A key of a table.
Key = Annotated[int, Path(ge=1, le=2**31 - 1)]

_MIB = 1 << 20


class DeviceForm(BaseModel):
    """What the form of a device says; an unticked box is not sent."""

    model_config = ConfigDict(extra="ignore")

    organisation_id: int
    name: str = Field("", max_length=128)
    address: str = Field("", max_length=64)
    port: int | None = None
    plain: bool = False
    may_store: bool = False
    may_ask_worklist: bool = False
    may_query: bool = False
    may_forward: bool = False
    told_of_availability: bool = False
    worklist_character_set: str = Field("GB18030", max_length=64)
    max_mib: int | None = Field(None, le=1 << 30)
    max_instances_per_minute: int | None = Field(None, le=1 << 30)

    @field_validator("port", "max_mib", "max_instances_per_minute", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    def fields(self) -> dict[str, Any]:
        """Return columns of the table."""
        said = self.model_dump(exclude={"max_mib"})
        return {**said, "max_instance_bytes": None if self.max_mib is None else self.max_mib * _MIB}


@router.get("")
def devices(request: Request, house: OurHouse, person: Administrator) -> Response:
    """List the devices of the administrator's organisations, and the callers who were refused."""
    with house.database.reading() as session:
        known = devices_of(session, person)
        return render(
            request,
            "devices.html",
            devices=known,
            traffic=traffic_of(session, known, house.settings.county.timezone),
            undecided=undecided_counts(session),
            callers=callers_of(session, person),
            places=_places(session, person),
        )


@router.post("")
def admit_device(
    house: OurHouse,
    person: Administrator,
    ae_title: Annotated[str, Form(max_length=64)],
    organisation_id: Annotated[int, Form()],
    name: Annotated[str, Form(max_length=128)] = "",
    address: Annotated[str, Form(max_length=64)] = "",
    plain: Annotated[bool, Form()] = False,
) -> Response:
    """Let a device in before it has called."""
    with house.database.writing() as session:
        _ours(person, organisation_id)
        device = device_admission.admit(
            session, ae_title, organisation_id, actor=person.actor, name=name or ae_title, address=address, plain=plain
        )
    return _to_device(device.id)


@router.post("/callers/{caller_id}/admit")
def admit_caller(
    house: OurHouse, person: Administrator, caller_id: Key, organisation_id: Annotated[int | None, Form()] = None
) -> Response:
    """Let a refused caller in as it called."""
    with house.database.writing() as session:
        caller, device = _caller(session, person, caller_id)
        place = device.organisation_id if device else organisation_id or person.organisation_id
        _ours(person, place)
        admitted = device_admission.admit_caller(session, caller, place, actor=person.actor)
        complete = admitted.plain or admitted.certificate is not None
    return _to_list() if complete else _to_device(admitted.id)


@router.post("/callers/{caller_id}/forget")
def forget_caller(house: OurHouse, person: Administrator, caller_id: Key) -> Response:
    """Take a refused caller off the list."""
    with house.database.writing() as session:
        caller, _ = _caller(session, person, caller_id)
        device_admission.forget_caller(session, caller, actor=person.actor)
    return _to_list()


@router.get("/{device_id}")
def device_page(request: Request, house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Show everything of one device."""
    return _show(request, house, person, device_id)


@router.post("/{device_id}")
def change_device(house: OurHouse, person: Administrator, device_id: Key, form: Annotated[DeviceForm, Form()]) -> Response:
    """Change what a device is and may do."""
    _ours(person, form.organisation_id)
    return _step(house, person, device_id, lambda session, device: device_admission.change(
        session, device, actor=person.actor, **form.fields()
    ))  # fmt: skip


@router.post("/{device_id}/rule")
def set_rule(house: OurHouse, person: Administrator, device_id: Key, rule: Annotated[str, Form(max_length=64)] = "") -> Response:
    """Say what a device's text truly is, or leave it to the detective."""
    return _step(house, person, device_id, lambda session, device: device_admission.change(
        session, device, actor=person.actor, character_set_rule=rule
    ))  # fmt: skip


@router.post("/{device_id}/certificate")
def set_certificate(
    house: OurHouse, person: Administrator, device_id: Key, certificate: Annotated[str, Form(max_length=65536)] = ""
) -> Response:
    """Register the certificate that a device shows; an empty text takes it away."""
    return _step(house, person, device_id, lambda session, device: device_admission.change(
        session, device, actor=person.actor, certificate=certificate.strip()
    ))  # fmt: skip


@router.post("/{device_id}/certificate/make")
def make_certificate(request: Request, house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Make a certificate with its key and show both: the answer itself, because the key is kept nowhere."""
    with house.database.writing() as session:
        pem, key = device_admission.make_key(session, _device(session, person, device_id), actor=person.actor)
    return _show(request, house, person, device_id, made_certificate=pem, made_key=key)


@router.post("/{device_id}/token")
def issue_token(request: Request, house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Give a device a new token and show it: the answer itself, because nobody can ever read it again."""
    with house.database.writing() as session:
        token = device_admission.issue_token(session, _device(session, person, device_id), actor=person.actor)
    return _show(request, house, person, device_id, token=token)


@router.post("/{device_id}/token/withdraw")
def withdraw_token(house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Take the token away."""
    return _step(
        house, person, device_id, lambda session, device: device_admission.withdraw_token(session, device, actor=person.actor)
    )


@router.post("/{device_id}/dismiss")
def dismiss_device(house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Shut a device out."""
    return _step(house, person, device_id, lambda session, device: device_admission.dismiss(session, device, actor=person.actor))


@router.post("/{device_id}/admit")
def admit_again(house: OurHouse, person: Administrator, device_id: Key) -> Response:
    """Let a device in again."""
    return _step(
        house, person, device_id, lambda session, device: device_admission.let_in_again(session, device, actor=person.actor)
    )


def _show(request: Request, house: House, person: Person, device_id: int, **shown_once: str) -> Response:
    with house.database.reading() as session:
        device = _device(session, person, device_id)
        sightings = sightings_of(session, device, person)
        own = house.settings.node.tls_certificate if house.settings.node.tls_certificate.name else None
        once: dict[str, Any] = {"token": "", "made_certificate": "", "made_key": "", **shown_once}
        return render(
            request,
            "device.html",
            device=device,
            traffic=traffic_of(session, [device], house.settings.county.timezone)[device.id],
            sightings=sightings,
            rules=_rules(device, [row.found for row in sightings if not row.undecided]),
            character_sets=_with(device_admission.WORKLIST_CHARACTER_SETS, device.worklist_character_set),
            certificate_ends=certificate_ends(device),
            node_certificate=own or house.settings.secrets / "node.pem",
            places=_places(session, person),
            mib=None if device.max_instance_bytes is None else -(-device.max_instance_bytes // _MIB),
            **once,
        )


def _step(house: House, person: Person, device_id: int, step: Callable[[Session, Device], object]) -> Response:
    with house.database.writing() as session:
        step(session, _device(session, person, device_id))
    return _to_device(device_id)


def _device(session: Session, person: Person, device_id: int) -> Device:
    device = session.get(Device, device_id)
    if device is None:
        raise NoSuchPage
    _ours(person, device.organisation_id)
    _ = device.organisation
    return device


def _caller(session: Session, person: Person, caller_id: int) -> tuple[RefusedCaller, Device | None]:
    """Return a refused caller, and the device of that AE title; another administrator's device is nobody's to change."""
    caller = session.get(RefusedCaller, caller_id)
    if caller is None:
        raise NoSuchPage
    device = device_admission.device_called(session, caller.ae_title)
    if device is not None:
        _ours(person, device.organisation_id)
    return caller, device


def _ours(person: Person, organisation_id: int) -> None:
    if organisation_id not in person.organisations:
        raise NotYours


def _places(session: Session, person: Person) -> list[Organisation]:
    query = select(Organisation).where(Organisation.id.in_(person.organisations)).order_by(Organisation.level, Organisation.id)
    return list(session.scalars(query))


def _rules(device: Device, found: list[str]) -> list[str]:
    return _with(device_admission.RULES, device.character_set_rule, *found)


def _with(usual: tuple[str, ...], *others: str | None) -> list[str]:
    return list(dict.fromkeys((*usual, *(one for one in others if one))))


def _to_device(device_id: int) -> Response:
    return RedirectResponse(f"/devices/{device_id}", status_code=303)


def _to_list() -> Response:
    return RedirectResponse("/devices", status_code=303)
