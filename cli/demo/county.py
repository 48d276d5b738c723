"""The demo's county: four hospitals, three devices, three accounts."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from cli.admission import add_account, new_password
from core.clock import now
from core.tables import Device, Level, Organisation, Role

DR, CART, CENTRE = "BAIYIN_DR", "BAYAN_CART", "HAIRIHAN_CT"


@dataclass(frozen=True, kw_only=True)
class Account:
    """A demo account, with the password that is printed."""

    username: str
    password: str
    role: Role
    home: str


def settle_county(session: Session) -> list[Account]:
    """Write the county into an empty database and return its accounts."""
    city = _organisation(session, "CITY", Level.CITY, "市中心医院", "City Central Hospital", None)
    county = _organisation(session, "COUNTY", Level.COUNTY, "苏木县人民医院", "Sumu County People's Hospital", city)
    baiyin = _organisation(session, "BAIYIN", Level.TOWNSHIP, "白音苏木卫生院", "Baiyin Township Health Centre", county)
    bayan = _organisation(session, "BAYAN", Level.TOWNSHIP, "巴彦苏木卫生院", "Bayan Township Health Centre", county)
    centre = _organisation(session, "HAIRIHAN", Level.TOWNSHIP, "海日罕镇中心卫生院", "Hairihan Central Health Centre", county)
    for ae_title, home, name in (
        (DR, baiyin, "数字化X线机 DR"),
        (CART, bayan, "心电与超声推车"),
        (CENTRE, centre, "CT、磁共振与病理扫描"),
    ):
        session.add(Device(ae_title=ae_title, organisation_id=home.id, name=name, plain=True, admitted_at=now()))
    accounts = []
    for username, name, role, home in (
        ("doctor", "其其格", Role.DOCTOR, county),
        ("operator", "巴特尔", Role.OPERATOR, baiyin),
        ("admin", "管理员", Role.ADMINISTRATOR, county),
    ):
        password = new_password()
        add_account(session, username, password, home, [role], name)
        accounts.append(Account(username=username, password=password, role=role, home=home.name_zh))
    return accounts


def _organisation(session: Session, code: str, level: Level, zh: str, en: str, parent: Organisation | None) -> Organisation:
    row = Organisation(code=code, level=level, name_zh=zh, name_en=en, parent_id=parent.id if parent else None)
    session.add(row)
    session.flush()
    return row
