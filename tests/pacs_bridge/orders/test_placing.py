"""Orders placed by one function, whoever asks, and fulfilled by the images that come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from core.audit import verify
from core.clock import in_county, now
from core.database import Database
from core.errors import ForbiddenTransition, SumuError
from core.lifecycles.order import OrderState
from core.tables import AuditEvent, Door, Order, OrderSource, Patient, Study, Urgency
from pacs_bridge.headers import InstanceFacts
from pacs_bridge.orders.errors import (
    LacksInformation,
    NoSuchOrder,
    NoSuchStation,
    NumberInUse,
    OrderIsOver,
    PatientIsAnother,
)
from pacs_bridge.orders.placing import OrderWish, cancel, change, must_find, place
from pacs_bridge.registration import Arrival, register
from tests.conftest import County

WISH = OrderWish(
    patient_identifier="P1", patient_name="欧阳^震华", birth_date=date(1958, 3, 2), sex="m", modality="dx",
    description="胸部正位", placer_number="N1",
)  # fmt: skip
ZONE = "Asia/Shanghai"


@pytest.fixture
def ask(database: Database, county: County) -> Callable[..., Order]:
    """Place an order in the township, in a transaction of its own."""

    def place_it(wish: OrderWish = WISH, organisation: int | None = None) -> Order:
        with database.writing() as session:
            order = place(
                session, wish, organisation_id=organisation or county.township, source=OrderSource.PAGE, actor="user:operator",
                timezone=ZONE,
            ).order  # fmt: skip
            _ = (order.patient, order.device)
            return order

    return place_it


def facts(**changes: Any) -> InstanceFacts:
    said: dict[str, Any] = {
        "sop_instance_uid": "1.2.3.1", "sop_class_uid": "1.2", "study_instance_uid": "1.2.3", "series_instance_uid": "1.2.4",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1", "modality": "DX", "instance_number": 1, "frames": 1,
        "patient_identifier": "P1", "patient_name": "欧阳震华", "patient_name_latin": "ou yang zhen hua", "sex": "M",
        "birth_date": None, "age_years": None, "accession_number": "", "description": "", "body_part": "", "performed_at": None,
        "urgency": Urgency.ROUTINE,
    }  # fmt: skip
    return InstanceFacts(**{**said, **changes})


def arrive(database: Database, county: County, *, organisation: int | None = None, **changes: Any) -> Study:
    with database.writing() as session:
        arrival = Arrival(
            door=Door.C_STORE, organisation_id=organisation or county.township, received_at=now(), size=1, sha256="0" * 64,
            machine="m", device_id=county.device, spool_name=f"{changes.get('sop_instance_uid', '1.2.3.1')}.dcm",
        )  # fmt: skip
        _, instance = register(session, facts(**changes), arrival)
        return instance.study


def state_of(database: Database, order: Order) -> OrderState:
    with database.reading() as session:
        return session.get_one(Order, order.id).state


def test_an_order_gets_numbers_of_ours_and_its_patient_is_found_by_every_spelling(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    first, second = ask(), ask(replace(WISH, placer_number="N2"))
    day = f"{in_county(now(), ZONE):%y%m%d}"
    assert first.accession_number == f"{day}-{county.township}-001"
    assert second.accession_number == f"{day}-{county.township}-002"
    assert ask(organisation=county.other_township).accession_number == f"{day}-{county.other_township}-001"
    assert first.study_instance_uid.startswith("2.25.")
    assert len(first.study_instance_uid) <= 64
    assert first.study_instance_uid != second.study_instance_uid
    assert (first.modality, first.patient.name, first.patient.sex) == ("DX", "欧阳震华", "M")
    assert first.patient_id == second.patient_id
    assert {"ouyangzhenhua", "oyzh"} <= set(first.patient.search_words.split())
    with database.reading() as session:
        assert verify(session) == 3


def test_the_same_number_with_the_same_content_is_one_order(database: Database, ask: Callable[..., Order]) -> None:
    assert ask().id == ask().id
    with pytest.raises(NumberInUse, match="says something else"):
        ask(replace(WISH, description="腹部平片"))
    with database.reading() as session:
        assert session.query(Order).count() == 1
        assert session.query(AuditEvent).count() == 1


@pytest.mark.parametrize("field", ["patient_identifier", "patient_name", "modality", "description"])
def test_what_a_device_needs_must_be_said(ask: Callable[..., Order], field: str) -> None:
    with pytest.raises(LacksInformation) as caught:
        ask(replace(WISH, **{field: "  "}))
    assert caught.value.field == field


def test_a_patient_identifier_is_not_given_to_somebody_else(database: Database, ask: Callable[..., Order]) -> None:
    ask()
    for other in (
        replace(WISH, placer_number="N2", patient_name="李四"),
        replace(WISH, placer_number="N2", birth_date=date(1990, 1, 1)),
    ):
        with pytest.raises(PatientIsAnother, match="欧阳震华"):
            ask(other)
    with database.reading() as session:
        assert session.query(Patient).one().birth_date == date(1958, 3, 2)


def test_a_patient_whom_a_device_wrote_in_latin_letters_gets_their_characters(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    arrive(database, county, patient_name="OUYANG ZHENHUA", patient_name_latin="ouyang zhenhua")
    assert ask().patient.name == "欧阳震华"
    with database.reading() as session:
        assert session.query(Patient).one().name_latin == "ou yang zhen hua"


def test_a_device_must_stand_in_the_organisation(county: County, ask: Callable[..., Order]) -> None:
    order = ask(replace(WISH, station="TOWNSHIP_DR"))
    assert order.device_id == county.device
    with pytest.raises(NoSuchStation):
        ask(replace(WISH, station="TOWNSHIP_DR"), county.other_township)


def test_an_order_is_changed_and_called_off_only_before_it_begins(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    order = ask()
    with database.writing() as session:
        found = must_find(session, "N1", organisation_id=county.township)
        change(session, found, replace(WISH, description="胸部正侧位", urgency=Urgency.URGENT), actor="hl7:HIS")
        assert (found.description, found.urgency) == ("胸部正侧位", Urgency.URGENT)
        with pytest.raises(NoSuchOrder):
            must_find(session, "N1", organisation_id=county.other_township)
        cancel(session, found, actor="hl7:HIS")
        cancel(session, found, actor="hl7:HIS")
        with pytest.raises(OrderIsOver):
            change(session, found, WISH, actor="hl7:HIS")
    assert state_of(database, order) is OrderState.CANCELLED
    with pytest.raises(NumberInUse, match="cancelled"):
        ask()
    with database.reading() as session:
        actions = [event.action for event in session.query(AuditEvent).order_by(AuditEvent.id)]
    assert actions == ["order_placed", "order_changed", "order_cancelled"]


def test_images_with_the_orders_study_uid_complete_it_and_bring_its_urgency(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    order = ask(replace(WISH, urgency=Urgency.URGENT))
    study = arrive(database, county, study_instance_uid=order.study_instance_uid, patient_identifier="")
    assert (study.urgency, study.requested_urgency, study.urgency_rank) == (Urgency.URGENT, Urgency.URGENT, 1)
    assert state_of(database, order) is OrderState.COMPLETED
    with database.writing() as session, pytest.raises((OrderIsOver, ForbiddenTransition)):
        cancel(session, session.get_one(Order, order.id), actor="user:operator")


def test_images_with_the_orders_accession_number_complete_it(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    order = ask()
    arrive(database, county, accession_number=order.accession_number)
    assert state_of(database, order) is OrderState.COMPLETED
    with database.reading() as session:
        event = session.query(AuditEvent).filter_by(action="order_completed").one()
        assert (event.actor, event.detail) == ("device:TOWNSHIP_DR", {"study": "1.2.3"})


def test_a_mistyped_accession_number_completes_nobodys_order(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    order = ask(replace(WISH, urgency=Urgency.URGENT))
    other = arrive(database, county, accession_number=order.accession_number, patient_identifier="P2", patient_name="李四")
    elsewhere = arrive(
        database, county, organisation=county.other_township, accession_number=order.accession_number,
        study_instance_uid="1.2.9", sop_instance_uid="1.2.9.1",
    )  # fmt: skip
    assert state_of(database, order) is OrderState.SCHEDULED
    assert other.urgency is elsewhere.urgency is Urgency.ROUTINE


def test_an_order_that_its_device_reports_on_stays_with_the_device(
    database: Database, county: County, ask: Callable[..., Order]
) -> None:
    order = ask(replace(WISH, urgency=Urgency.CRITICAL))
    with database.writing() as session:
        session.get_one(Order, order.id).state = OrderState.IN_PROGRESS
    study = arrive(database, county, study_instance_uid=order.study_instance_uid)
    assert state_of(database, order) is OrderState.IN_PROGRESS
    assert study.urgency is Urgency.CRITICAL


def test_every_refusal_tells_what_to_do(ask: Callable[..., Order]) -> None:
    ask()
    for wish in (replace(WISH, modality=""), replace(WISH, station="X"), replace(WISH, patient_name="李四")):
        with pytest.raises(SumuError) as caught:
            ask(replace(wish, placer_number="N9"))
        assert caught.value.remedy
