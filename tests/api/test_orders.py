"""Orders entered on the page: what is asked for, who may ask, what a day shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from core.clock import in_county, now
from core.database import Database
from core.lifecycles.order import OrderState
from core.tables import AuditEvent, Order, OrderSource, Role, Study, Urgency
from tests.api.conftest import Browser, actions, add_person, add_study
from tests.conftest import County

SignedIn = Callable[[str], Browser]
FORM = {
    "patient_identifier": "P1", "patient_name": "欧阳震华", "patient_name_latin": "", "sex": "M", "birth_date": "1958-03-02",
    "modality": "DX", "station": "TOWNSHIP_DR", "description": "胸部正位", "body_part": "CHEST", "reason": "咳嗽两周",
    "requested_by": "王医生", "urgency": "urgent", "scheduled": "",
}  # fmt: skip


@pytest.fixture
def form(county: County) -> dict[str, str]:
    """A whole form for the township."""
    return {**FORM, "organisation_id": str(county.township)}


def only_order(database: Database) -> Order:
    with database.reading() as session:
        order = session.query(Order).one()
        _ = (order.patient, order.device)
        return order


def today() -> str:
    return in_county(now(), "Asia/Shanghai").date().isoformat()


def test_an_operator_places_an_order_and_sees_its_number(
    signed_in: SignedIn, database: Database, county: County, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    assert "没有检查单" in operator.get("/orders").text
    answer = operator.post("/orders", **form)
    order = only_order(database)
    assert answer.headers["location"] == f"/orders?day={today()}&placed={order.accession_number}"
    page = operator.get(answer.headers["location"]).text
    for words in (
        order.accession_number,
        "欧阳震华",
        "ou yang zhen hua",
        "1958-03-02",
        "胸部正位",
        "咳嗽两周",
        "王医生",
        "待检查",
        "紧急",
    ):
        assert words in page, words
    assert (order.organisation_id, order.device_id, order.source) == (county.township, county.device, OrderSource.PAGE)
    assert (order.urgency, order.state, order.body_part) == (Urgency.URGENT, OrderState.SCHEDULED, "CHEST")
    with database.reading() as session:
        event = session.query(AuditEvent).one()
        assert (event.actor, event.action, event.subject) == (
            "user:operator", "order_placed", f"order:{order.accession_number}"
        )  # fmt: skip


def test_the_page_proposes_pinyin_and_a_person_corrects_it(signed_in: SignedIn, database: Database, form: dict[str, str]) -> None:
    operator = signed_in("operator")
    assert 'value="shan xiong"' in operator.get("/orders/pinyin", params={"patient_name": "单雄"}).text
    operator.post("/orders", **{**form, "patient_name": "单雄", "patient_name_latin": "Dan Xiong"})
    assert only_order(database).patient.name_latin == "dan xiong"


def test_a_time_is_a_time_of_the_county(signed_in: SignedIn, database: Database, form: dict[str, str]) -> None:
    operator = signed_in("operator")
    tomorrow = (datetime.fromisoformat(today()) + timedelta(days=1)).date().isoformat()
    operator.post("/orders", **{**form, "scheduled": f"{tomorrow}T00:30"})
    assert only_order(database).scheduled_at == datetime.fromisoformat(f"{today()}T16:30:00+00:00").astimezone(UTC)
    assert "欧阳震华" not in operator.get("/orders").text
    assert "欧阳震华" in operator.get(f"/orders?day={tomorrow}").text
    refused = operator.post("/orders", **{**form, "scheduled": "soon"})
    assert (refused.status_code, "不是时间" in refused.text) == (422, True)


def test_what_still_waits_from_earlier_days_stands_with_todays(
    signed_in: SignedIn, database: Database, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    yesterday = (datetime.fromisoformat(today()) - timedelta(days=1)).date().isoformat()
    operator.post("/orders", **{**form, "scheduled": f"{yesterday}T10:00"})
    assert "欧阳震华" in operator.get("/orders").text
    with database.writing() as session:
        session.query(Order).one().state = OrderState.COMPLETED
    assert "欧阳震华" not in operator.get("/orders").text
    assert "已检查" in operator.get(f"/orders?day={yesterday}").text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"patient_identifier": " "}, "未填写患者号"),
        ({"patient_name": ""}, "未填写患者姓名"),
        ({"modality": ""}, "未选择检查类型"),
        ({"description": ""}, "未填写检查项目"),
        ({"station": "ELSEWHERE"}, "不在该机构"),
    ],
)
def test_what_is_missing_is_told_and_the_form_keeps_its_fields(
    signed_in: SignedIn, database: Database, form: dict[str, str], changes: dict[str, str], says: str
) -> None:
    answer = signed_in("operator").post("/orders", **{**form, **changes})
    assert answer.status_code == 409
    assert says in answer.text
    assert "咳嗽两周" in answer.text
    assert actions(database) == []


def test_an_identifier_of_another_person_is_refused_with_their_name(
    signed_in: SignedIn, database: Database, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    operator.post("/orders", **form)
    answer = operator.post("/orders", **{**form, "patient_name": "李四"})
    assert "患者号 P1 属于 欧阳震华" in answer.text
    only_order(database)


def test_an_order_is_called_off_once_and_only_before_it_begins(
    signed_in: SignedIn, database: Database, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    operator.post("/orders", **form)
    order = only_order(database)
    assert operator.http.post(f"/orders/{order.id}/cancel").status_code == 403, "without the form's token"
    assert operator.post(f"/orders/{order.id}/cancel").headers["location"] == "/orders"
    assert only_order(database).state is OrderState.CANCELLED
    assert "已取消" in operator.get("/orders").text
    with database.writing() as session:
        session.query(Order).one().state = OrderState.IN_PROGRESS
    late = operator.post(f"/orders/{order.id}/cancel")
    assert (late.status_code, "已开始或已结束" in late.text) == (409, True)
    assert actions(database) == ["order_placed", "order_cancelled"]


def test_the_county_orders_for_a_township_and_a_township_only_for_itself(
    signed_in: SignedIn, database: Database, county: County, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    foreign = operator.post("/orders", **{**form, "organisation_id": str(county.other_township), "station": ""})
    assert (foreign.status_code, actions(database)) == (403, [])
    doctor = signed_in("doctor")
    doctor.post("/orders", **{**form, "organisation_id": str(county.other_township), "station": ""})
    order = only_order(database)
    assert order.organisation_id == county.other_township
    assert "欧阳震华" in doctor.get("/orders").text
    assert "欧阳震华" not in operator.get("/orders").text
    assert operator.post(f"/orders/{order.id}/cancel").status_code == 404


def test_who_may_not_place_orders_sees_no_page_of_them(
    signed_in: SignedIn, database: Database, county: County, form: dict[str, str]
) -> None:
    add_person(database, county.county, "curious", Role.RESEARCHER)
    for username in ("administrator", "curious"):
        person = signed_in(username)
        assert person.get("/orders").status_code == 403
        assert person.post("/orders", **form).status_code == 403
    assert 'href="/orders"' not in signed_in("administrator").get("/worklist").text
    assert 'href="/orders"' in signed_in("operator").get("/worklist").text
    assert actions(database) == []


def test_an_order_that_was_examined_leads_to_its_study(
    signed_in: SignedIn, database: Database, county: County, form: dict[str, str]
) -> None:
    operator = signed_in("operator")
    operator.post("/orders", **form)
    order = only_order(database)
    uid = add_study(database, county.township)
    with database.writing() as session:
        session.query(Study).one().accession_number = order.accession_number
        session.query(Order).one().state = OrderState.COMPLETED
    page = operator.get("/orders").text
    assert re.search(rf'href="/studies/{re.escape(uid)}">\s*已检查', page)
    assert "cancel" not in page


def test_words_of_people_are_shown_as_text(signed_in: SignedIn, form: dict[str, str]) -> None:
    operator = signed_in("operator")
    operator.post("/orders", **{**form, "description": "<img src=x onerror=alert(1)>", "reason": "</textarea><script>"})
    page = operator.get("/orders").text
    assert "<img" not in page.replace('<img src="/static/sumu.svg"', "")
    assert "</textarea><script>" not in page
