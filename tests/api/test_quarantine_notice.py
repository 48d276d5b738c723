"""A reader is told that something of their study was set aside."""

from __future__ import annotations

from collections.abc import Callable

from core.clock import now
from core.database import Database
from core.tables import Quarantined, Study
from tests.api.conftest import Browser, add_study
from tests.conftest import County

SignedIn = Callable[[str], Browser]


def set_aside(database: Database, uid: str, name: str) -> None:
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=uid).one()
        session.add(
            Quarantined(
                at=now(), study_id=study.id, sop_instance_uid="1.2.3", file_name=name, reason="<b>Other bytes.</b>",
                remedy="Compare both.",
            )
        )  # fmt: skip


def test_the_reader_is_told_of_what_was_set_aside_of_this_study_alone(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    whole, other = add_study(database, county.township), add_study(database, county.township)
    set_aside(database, other, "a.dcm")
    set_aside(database, other, "b.dcm")
    doctor = signed_in("doctor")
    assert "set-aside" not in doctor.get(f"/studies/{whole}").text
    page = doctor.get(f"/studies/{other}").text
    assert "本检查有 2 幅影像被隔离" in page
    assert "Compare both." in page
    assert "<b>Other" not in page
    assert "2 images of this study were set aside" in doctor.get(f"/studies/{other}?lang=en").text
