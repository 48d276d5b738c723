"""HL7 v2 orders: what is read from them, what is done, what their sender is told."""

from __future__ import annotations

import random
import re
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from core.database import Database
from core.lifecycles.order import OrderState
from core.settings import OrdersSettings, Settings
from core.tables import Order, OrderSource, Urgency
from pacs_bridge.orders.er7 import NotHl7, read_message
from pacs_bridge.orders.hl7 import ACCEPTED, CONTENT_ERROR, REJECTED, Acknowledgement, answer
from tests.conftest import County
from tests.pacs_bridge.orders.messages import order_message

hl7 = pytest.importorskip("hl7", reason="python-hl7 reads our answers independently of our own reader")


@pytest.fixture
def house(settings: Settings, database: Database, county: County) -> tuple[Settings, Database]:
    """Settings and database of the small county."""
    return settings, database


def told(house: tuple[Settings, Database], data: bytes) -> Acknowledgement:
    return answer(data, settings=house[0], database=house[1])


def only_order(database: Database) -> Order:
    with database.reading() as session:
        order = session.query(Order).one()
        _ = (order.patient, order.device, order.organisation)
        return order


def test_an_order_is_placed_with_everything_that_it_says(house: tuple[Settings, Database], county: County) -> None:
    said = told(house, order_message(priority="S"))
    order = only_order(house[1])
    assert (said.code, order.accession_number in said.text) == (ACCEPTED, True)
    assert (order.organisation_id, order.source, order.placer_number) == (county.township, OrderSource.HL7, "HIS-1001")
    assert (order.patient.identifier, order.patient.name, order.patient.sex) == ("P77", "王建国", "M")
    assert order.patient.birth_date == date(1958, 3, 2)
    assert (order.modality, order.description, order.body_part, order.reason) == ("CT", "胸部CT平扫", "CHEST", "咳嗽两周")
    assert (order.requested_by, order.urgency) == ("王医生", Urgency.URGENT)
    assert order.scheduled_at == datetime(2026, 11, 25, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [("UNICODE UTF-8", "utf-8"), ("GB 18030-2000", "gb18030"), ("GBK", "gbk"), ("", "utf-8")],
)
def test_chinese_arrives_whole_in_every_character_set(house: tuple[Settings, Database], declared: str, encoding: str) -> None:
    # In GBK the second bytes of these two are the bar and the hat.
    name, reason = "张亅玘", r"胸痛\T\气短\.br\两天"
    assert {b"|", b"^"} <= {bytes((byte,)) for byte in name.encode("gbk")}
    said = told(house, order_message(encoding, character_set=declared, name=name, reason=reason, facility="NEAR"))
    assert said.code == ACCEPTED
    order = only_order(house[1])
    assert (order.patient.name, order.reason) == (name, "胸痛&气短\n两天")
    header = hl7.parse(said.data.decode(encoding)).segment("MSH")
    assert str(header[18]) == (declared or "UNICODE UTF-8")


def test_what_names_no_character_set_is_read_as_the_setting_says(house: tuple[Settings, Database]) -> None:
    settings, database = house
    refused = told(house, order_message("gb18030", character_set=""))
    assert (refused.code, "MSH-18" in refused.text) == (REJECTED, True)
    county_settings = settings.model_copy(update={"orders": OrdersSettings(character_set="GB 18030-2000")})
    said = answer(order_message("gb18030", character_set=""), settings=county_settings, database=database)
    assert (said.code, only_order(database).patient.name) == (ACCEPTED, "王建国")


def test_names_in_two_writings_and_hexadecimal_escapes(house: tuple[Settings, Database]) -> None:
    name = r"WANG^JIANGUO^^^^^^A~王^\XE5BBBA\国^^^^^^I"
    assert told(house, order_message(name=name)).code == ACCEPTED
    patient = only_order(house[1]).patient
    assert (patient.name, patient.name_latin) == ("王建国", "wang jianguo")


def test_a_message_sent_again_is_the_same_order(house: tuple[Settings, Database]) -> None:
    first, second = told(house, order_message()), told(house, order_message(control_id="MSG0002"))
    assert (first.code, second.code) == (ACCEPTED, ACCEPTED)
    assert "was placed before" in second.text
    third = told(house, order_message(code="MR01^头颅MR^L", section="MR"))
    assert (third.code, "XO" in third.text) == (CONTENT_ERROR, True)
    only_order(house[1])


def test_orders_are_changed_and_called_off(house: tuple[Settings, Database]) -> None:
    assert told(house, order_message(control="XO")).code == CONTENT_ERROR, "nobody placed it"
    told(house, order_message())
    assert told(house, order_message(control="XO", code="CT02^腹部CT平扫^L")).code == ACCEPTED
    assert only_order(house[1]).description == "腹部CT平扫"
    assert told(house, order_message(control="CA")).code == ACCEPTED
    assert only_order(house[1]).state is OrderState.CANCELLED
    late = told(house, order_message(control="XO"))
    assert (late.code, "new order" in late.text) == (CONTENT_ERROR, True)


def test_two_orders_in_one_message_are_placed_together_or_not_at_all(house: tuple[Settings, Database]) -> None:
    second = "ORC|NW|HIS-1002\rOBR|1|HIS-1002||US1^腹部超声^L|||||||||||||||||||||"
    both = order_message() + f"{second}\r".encode()
    said = told(house, both)
    assert (said.code, "modality" in said.text) == (CONTENT_ERROR, True)
    with house[1].reading() as session:
        assert session.query(Order).count() == 0
    assert told(house, order_message() + f"{second[:-1]}|RUS\r".encode()).code == CONTENT_ERROR, "a field too few"
    fields = ["OBR", "1", "HIS-1002", "", "US1^腹部超声^L", *[""] * 19, "RUS"]
    assert told(house, order_message() + ("ORC|NW|HIS-1002\r" + "|".join(fields)).encode()).code == ACCEPTED
    with house[1].reading() as session:
        assert {order.modality for order in session.query(Order)} == {"CT", "US"}


@pytest.mark.parametrize("kind", ["OMI^O23", "OMG^O19^OMG_O19"])
def test_newer_orders_say_the_same_in_other_segments(house: tuple[Settings, Database], county: County, kind: str) -> None:
    data = order_message(kind=kind, section="", start="")
    data += b"TQ1|1||||||20261126||S\rIPC|A|B|1.2|S|DX||||TOWNSHIP_DR\r"
    said = told(house, data)
    assert said.code == ACCEPTED, said.text
    order = only_order(house[1])
    assert (order.modality, order.urgency, order.device_id) == ("DX", Urgency.URGENT, county.device)


def test_the_county_may_order_for_a_township_and_a_township_not_for_the_county(
    house: tuple[Settings, Database], county: County
) -> None:
    assert told(house, order_message(facility="COUNTY", receiver="NEAR")).code == ACCEPTED
    assert only_order(house[1]).organisation_id == county.township
    refused = told(house, order_message(receiver="COUNTY"))
    assert (refused.code, "MSH-6" in refused.text) == (REJECTED, True)


def test_a_facility_of_another_name_is_known_by_the_settings(house: tuple[Settings, Database], county: County) -> None:
    settings, database = house
    refused = told(house, order_message(facility="近苏木HIS"))
    assert (refused.code, "orders.facilities" in refused.text) == (REJECTED, True)
    known = settings.model_copy(update={"orders": OrdersSettings(facilities={"近苏木HIS": "NEAR"})})
    assert answer(order_message(facility="近苏木HIS"), settings=known, database=database).code == ACCEPTED
    assert only_order(database).organisation_id == county.township


@pytest.mark.parametrize(
    ("changes", "code", "tells"),
    [
        ({"kind": "ADT^A01"}, REJECTED, "ORM^O01"),
        ({"control": "SC"}, REJECTED, "NW, XO or CA"),
        ({"section": "QQ"}, CONTENT_ERROR, "CT"),
        ({"section": ""}, CONTENT_ERROR, "a modality"),
        ({"patient": ""}, CONTENT_ERROR, "a patient ID"),
        ({"name": '""'}, CONTENT_ERROR, "a patient name"),
        ({"number": ""}, CONTENT_ERROR, "ORC-2"),
        ({"birth": "19581399"}, CONTENT_ERROR, "PID-7"),
        ({"start": "tomorrow"}, CONTENT_ERROR, "YYYYMMDDHHMMSS"),
        ({"start": "20261125+9999"}, CONTENT_ERROR, "YYYYMMDDHHMMSS"),
        ({"character_set": "KLINGON"}, REJECTED, "GB 18030-2000"),
    ],
)
def test_what_cannot_be_taken_is_answered_with_its_remedy(
    house: tuple[Settings, Database], changes: dict[str, str], code: str, tells: str
) -> None:
    said = told(house, order_message(**changes))
    assert (said.code, tells in said.text) == (code, True), said.text
    message = hl7.parse(said.data.decode())
    assert str(message.segment("MSA")[1]) == code
    with house[1].reading() as session:
        assert session.query(Order).count() == 0


def test_the_acknowledgement_names_its_message_and_goes_back_to_the_sender(house: tuple[Settings, Database]) -> None:
    said = told(house, order_message(control_id="42", number=r"A\F\1"))
    message = hl7.parse(said.data.decode())
    header, answered = message.segment("MSH"), message.segment("MSA")
    assert [str(header[number]) for number in (3, 5, 6, 9, 12)] == ["SUMU", "HIS", "NEAR", "ACK^O01^ACK", "2.4"]
    assert [str(answered[number]) for number in (1, 2)] == ["AA", "42"]
    assert only_order(house[1]).placer_number == "A|1"
    assert said.data.endswith(b"\r")


def test_bytes_of_all_kinds_are_refused_and_never_break_the_reader(house: tuple[Settings, Database]) -> None:
    """300 messages with bytes changed, cut and put in: each is answered, each answer is a message."""
    rng, whole = random.Random(20261125), order_message()
    noise = (b"|", b"^", b"\\", b"\r", b"\x00", b"\xff", b"&~", b"X41")
    codes = []
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            place = rng.randrange(len(data))
            data[place : place + rng.choice((0, 1, 1, 5))] = rng.choice(noise)
        said = told(house, bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.3 else data))
        assert said.data.startswith(b"MSH")
        codes.append(said.code)
    assert set(codes) <= {ACCEPTED, CONTENT_ERROR, REJECTED}
    assert codes.count(REJECTED) > 20


@pytest.mark.parametrize("data", [b"", b"MSH", b"MSHMSHMSHMSH", b"MSH|||||||", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 99])
def test_bytes_that_are_no_message_say_so(data: bytes) -> None:
    with pytest.raises(NotHl7) as caught:
        read_message(data, usual_character_set="UTF-8")
    assert caught.value.remedy


def test_a_message_of_nothing_but_a_header_is_read() -> None:
    assert read_message(b"MSH|^~\\&", usual_character_set="UTF-8").header.part(9) == ""


def test_control_characters_reach_no_column(house: tuple[Settings, Database]) -> None:
    assert told(house, order_message(reason=r"a\X00\b\.br\c", doctor=r"D^\X0007\王")).code == ACCEPTED
    order = only_order(house[1])
    assert (order.reason, order.requested_by) == ("ab\nc", "王")


def test_the_example_of_the_document_is_taken(house: tuple[Settings, Database]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "orders.md").read_text(encoding="utf-8")
    example = re.search(r"```\n(MSH.*?)```", page, re.DOTALL)
    assert example
    assert told(house, example[1].encode()).code == ACCEPTED
    order = only_order(house[1])
    assert (order.patient.name, order.modality, order.urgency) == ("王建国", "CT", Urgency.URGENT)
