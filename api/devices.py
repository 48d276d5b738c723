"""Which machines may push, where they stand, and when each was last heard: for administrators."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy import func, select
from sqlalchemy.orm import joinedload

from api.house import House, house_of
from api.pages import render
from api.signing_in import require
from core.access import Permission, Person
from core.tables import Device, Instance

router = APIRouter(include_in_schema=False)


@router.get("/devices")
def devices(
    request: Request,
    house: Annotated[House, Depends(house_of)],
    person: Annotated[Person, Depends(require(Permission.ADMINISTER))],
) -> Response:
    """List the devices of the administrator's organisations."""
    with house.database.reading() as session:
        query = select(Device).where(Device.organisation_id.in_(person.organisations)).options(joinedload(Device.organisation))
        known = session.scalars(query.order_by(Device.organisation_id, Device.ae_title)).all()
        heard = select(Instance.device_id, func.max(Instance.received_at), func.count()).group_by(Instance.device_id)
        last = {device: (received, count) for device, received, count in session.execute(heard)}
    return render(request, "devices.html", devices=known, last=last)
