"""Devices: who was turned away, who is let in, what each may do, and that every step leaves its trace."""

from __future__ import annotations

import hashlib
import re
import ssl
import urllib.parse
from collections.abc import Callable
from datetime import timedelta

import pytest
from pydicom.uid import generate_uid

from core.audit import verify
from core.clock import now
from core.database import Database
from core.settings import Settings
from core.tables import (
    Association,
    AuditEvent,
    CharacterSetSighting,
    Device,
    Door,
    Instance,
    RefusedCaller,
    Role,
    Study,
)
from pacs_bridge.devices import DeviceRegister
from pacs_bridge.tls import make_certificate
from tests.api.conftest import Browser, actions, add_person, add_study
from tests.conftest import County
from tests.pacs_bridge.conftest import RunningNode, echo, wait_until

SignedIn = Callable[[str], Browser]
SETTINGS = {
    "name": "新CT", "address": "10.0.0.7", "port": "11113", "may_store": "true", "may_query": "true",
    "told_of_availability": "true", "worklist_character_set": "ISO_IR 192", "max_mib": "512", "max_instances_per_minute": "600",
}  # fmt: skip


def called(database: Database, ae_title: str = "STRANGER", address: str = "10.9.9.9", certificate: str | None = None) -> int:
    with database.writing() as session:
        caller = RefusedCaller(
            ae_title=ae_title, address=address, certificate_sha256=certificate, reason="It is not admitted.",
            remedy="sumu device admit", calls=3, first_at=now(), last_at=now(),
        )  # fmt: skip
        session.add(caller)
        session.flush()
        return caller.id


def device_of(database: Database, ae_title: str) -> Device:
    with database.reading() as session:
        return session.query(Device).filter_by(ae_title=ae_title).one()


def test_a_stranger_is_let_in_with_one_click_as_it_called(signed_in: SignedIn, database: Database, county: County) -> None:
    caller = called(database)
    administrator = signed_in("administrator")
    page = administrator.get("/devices").text
    for words in ("STRANGER", "10.9.9.9", "3 次呼叫", "此 AE 标题尚未准入", "按明文准入", "近苏木卫生院"):
        assert words in page, words
    answer = administrator.post(f"/devices/callers/{caller}/admit", organisation_id=str(county.township))
    assert (answer.status_code, answer.headers["location"]) == (303, "/devices")
    admitted = DeviceRegister(database).admit("STRANGER", "10.9.9.9")
    assert (admitted.organisation_id, admitted.plain, admitted.may_query) == (county.township, True, False)
    assert "被拒绝的呼叫" not in administrator.get("/devices").text
    assert actions(database) == ["device_admitted"]
    with database.reading() as session:
        event = session.query(AuditEvent).one()
        assert (event.actor, event.subject, event.detail["address"]) == ("user:administrator", "device:STRANGER", "10.9.9.9")


def test_a_device_that_moved_or_lost_its_tls_is_let_in_again_as_it_called(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    administrator = signed_in("administrator")
    with database.writing() as session:
        device = session.get_one(Device, county.device)
        device.address, device.plain = "10.0.0.1", False
    moved = called(database, "TOWNSHIP_DR", "10.0.0.2")
    assert "设备已迁到此地址" in administrator.get("/devices").text
    administrator.post(f"/devices/callers/{moved}/admit")
    device = device_of(database, "TOWNSHIP_DR")
    assert (device.address, device.plain, device.organisation_id) == ("10.0.0.2", True, county.township)
    assert DeviceRegister(database).admit("TOWNSHIP_DR", "10.0.0.2").id == county.device


def test_a_caller_with_a_certificate_that_we_know_is_admitted_with_tls(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    administrator = signed_in("administrator")
    pem, _ = make_certificate("TOWNSHIP_DR", ["localhost"])
    administrator.post(f"/devices/{county.device}/certificate", certificate=pem)
    shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    known, unknown = called(database, "SECOND", "10.0.0.3", shown), called(database, "THIRD", "10.0.0.4", "ab" * 32)
    administrator.post(f"/devices/callers/{known}/admit", organisation_id=str(county.township))
    assert DeviceRegister(database).admit("SECOND", "10.0.0.3", shown).plain is False
    answer = administrator.post(f"/devices/callers/{unknown}/admit", organisation_id=str(county.township))
    third = device_of(database, "THIRD")
    assert answer.headers["location"] == f"/devices/{third.id}", "its certificate has to be given there"
    assert (third.plain, third.certificate_sha256) == (False, None)
    assert "TLS，等待证书" in administrator.get(f"/devices/{third.id}").text


def test_a_caller_that_is_not_ours_leaves_the_list(signed_in: SignedIn, database: Database) -> None:
    caller = called(database)
    signed_in("administrator").post(f"/devices/callers/{caller}/forget")
    with database.reading() as session:
        assert session.query(RefusedCaller).count() == 0
        assert session.query(Device).filter_by(ae_title="STRANGER").count() == 0
    assert actions(database) == ["caller_forgotten"]


def test_an_administrator_reaches_only_their_own_organisations(signed_in: SignedIn, database: Database, county: County) -> None:
    with database.writing() as session:
        session.add(Device(organisation_id=county.city, ae_title="CITY_CT", name="市CT", plain=True, admitted_at=now()))
    foreign = device_of(database, "CITY_CT").id
    caller = called(database, "CITY_CT", "10.6.6.6")
    stranger = called(database)
    administrator = signed_in("administrator")
    page = administrator.get("/devices").text
    assert "CITY_CT" not in page
    for path, fields in (
        (f"/devices/{foreign}/dismiss", {}),
        (f"/devices/{foreign}/token", {}),
        (f"/devices/callers/{caller}/admit", {"organisation_id": str(county.township)}),
        (f"/devices/callers/{stranger}/admit", {"organisation_id": str(county.city)}),
        (f"/devices/{county.device}", {"organisation_id": str(county.city), **SETTINGS}),
    ):
        assert administrator.post(path, **fields).status_code == 404, path
    assert administrator.get(f"/devices/{foreign}").status_code == 404
    assert device_of(database, "CITY_CT").address is None
    assert actions(database) == []


@pytest.mark.parametrize("username", ["doctor", "operator"])
def test_only_administrators_may_look_or_change(signed_in: SignedIn, database: Database, county: County, username: str) -> None:
    person = signed_in(username)
    for path in ("/devices", f"/devices/{county.device}"):
        assert person.get(path).status_code == 403
    for path in (
        f"/devices/{county.device}/token",
        f"/devices/{county.device}/dismiss",
        f"/devices/callers/{called(database)}/admit",
    ):
        assert person.post(path).status_code == 403
    assert actions(database) == []


def test_a_form_of_somebody_else_changes_nothing(signed_in: SignedIn, database: Database, county: County) -> None:
    administrator = signed_in("administrator")
    caller = called(database)
    for path in (
        f"/devices/callers/{caller}/admit", f"/devices/{county.device}/token", f"/devices/{county.device}/dismiss",
        f"/devices/{county.device}/certificate/make", f"/devices/{county.device}/rule", "/devices",
    ):  # fmt: skip
        answer = administrator.http.post(path, data={"organisation_id": str(county.township), "ae_title": "X"})
        assert answer.status_code == 403, path
    assert actions(database) == []


def test_everything_of_a_device_is_changed_by_one_form(signed_in: SignedIn, database: Database, county: County) -> None:
    administrator = signed_in("administrator")
    answer = administrator.post(f"/devices/{county.device}", organisation_id=str(county.other_township), **SETTINGS)
    assert answer.headers["location"] == f"/devices/{county.device}"
    device = device_of(database, "TOWNSHIP_DR")
    assert (device.organisation_id, device.name, device.address, device.port) == (
        county.other_township,
        "新CT",
        "10.0.0.7",
        11113,
    )
    assert (device.may_store, device.may_ask_worklist, device.may_query, device.may_forward) == (True, False, True, False)
    assert (device.plain, device.max_instance_bytes, device.max_instances_per_minute) == (False, 512 << 20, 600)
    assert device.told_of_availability
    page = administrator.get(f"/devices/{county.device}").text
    assert 'value="512"' in page
    assert 'name="told_of_availability" value="true" checked' in page
    with database.reading() as session:
        event = session.query(AuditEvent).one()
        assert (event.action, event.detail["may_query"], event.detail["plain"]) == ("device_changed", True, False)
        assert event.detail["told_of_availability"] is True
        assert "may_store" not in event.detail, "only what became different"
    administrator.post(
        f"/devices/{county.device}", organisation_id=str(county.other_township), **{**SETTINGS, "address": "", "max_mib": ""}
    )
    device = device_of(database, "TOWNSHIP_DR")
    assert (device.address, device.max_instance_bytes) == (None, None)
    assert "尚无法通知" not in page
    assert "尚无法通知" in administrator.get(f"/devices/{county.device}").text


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("address", "yonder", "10.1.2.3"), ("port", "0", "65535"), ("max_mib", "-1", "大于 0"),
        ("worklist_character_set", "EBCDIC", "GB18030"), ("port", "many", "port"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_with_its_remedy(
    signed_in: SignedIn, database: Database, county: County, field: str, value: str, says: str
) -> None:
    answer = signed_in("administrator").post(
        f"/devices/{county.device}", organisation_id=str(county.township), **{**SETTINGS, field: value}
    )
    assert answer.status_code == 422
    assert says in answer.text
    assert device_of(database, "TOWNSHIP_DR").name == "DR"


def test_a_device_may_be_admitted_before_it_calls(signed_in: SignedIn, database: Database, county: County) -> None:
    administrator = signed_in("administrator")
    answer = administrator.post("/devices", ae_title="NEW_US", organisation_id=str(county.township), name="超声")
    device = device_of(database, "NEW_US")
    assert answer.headers["location"] == f"/devices/{device.id}"
    assert (device.plain, device.name) == (False, "超声")
    taken = administrator.post("/devices", ae_title="NEW_US", organisation_id=str(county.township))
    assert (taken.status_code, "已有设备" in taken.text) == (422, True)
    assert administrator.post("/devices", ae_title="苏木", organisation_id=str(county.township)).status_code == 422


def test_a_token_is_shown_once_and_kept_as_its_hash(signed_in: SignedIn, database: Database, county: County) -> None:
    administrator = signed_in("administrator")
    page = administrator.post(f"/devices/{county.device}/token")
    found = re.search(r'<code class="secret">([\w-]{22})</code>', page.text)
    assert found
    assert page.headers["cache-control"] == "no-store"
    assert device_of(database, "TOWNSHIP_DR").token_hash == hashlib.sha256(found[1].encode()).hexdigest()
    later = administrator.get(f"/devices/{county.device}").text
    assert found[1] not in later
    assert "已有令牌" in later
    administrator.post(f"/devices/{county.device}/token/withdraw")
    assert device_of(database, "TOWNSHIP_DR").token_hash is None
    assert actions(database) == ["device_token_issued", "device_token_withdrawn"]
    with database.reading() as session:
        assert found[1] not in str([event.detail for event in session.query(AuditEvent)])


def test_a_certificate_is_made_with_a_key_that_belongs_to_it_and_is_kept_nowhere(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    administrator = signed_in("administrator")
    page = administrator.post(f"/devices/{county.device}/certificate/make").text
    texts = [urllib.parse.unquote(one) for one in re.findall(r'href="data:application/x-pem-file,([^"]+)"', page)]
    assert [text.splitlines()[0] for text in texts] == ["-----BEGIN PRIVATE KEY-----", "-----BEGIN CERTIFICATE-----"]
    device = device_of(database, "TOWNSHIP_DR")
    assert device.certificate_sha256 == hashlib.sha256(ssl.PEM_cert_to_DER_cert(texts[1])).hexdigest()
    later = administrator.get(f"/devices/{county.device}").text
    assert "PRIVATE KEY" not in later
    assert device.certificate_sha256 in later
    administrator.post(f"/devices/{county.device}/certificate", certificate="")
    assert device_of(database, "TOWNSHIP_DR").certificate is None
    refused = administrator.post(f"/devices/{county.device}/certificate", certificate="-----BEGIN CERTIFICATE-----\nx")
    assert (refused.status_code, "这不是证书" in refused.text) == (422, True)


def test_a_device_is_shut_out_and_let_in_again(signed_in: SignedIn, database: Database, county: County) -> None:
    administrator = signed_in("administrator")
    administrator.post(f"/devices/{county.device}/dismiss")
    assert DeviceRegister(database).all() == {}
    assert "停用" in administrator.get("/devices").text
    administrator.post(f"/devices/{county.device}/admit")
    assert "TOWNSHIP_DR" in DeviceRegister(database).all()
    assert actions(database) == ["device_dismissed", "device_admitted"]
    with database.reading() as session:
        verify(session)


def sent(database: Database, county: County, uid: str, *, minutes_ago: float, size: int = 1 << 20) -> str:
    instance = generate_uid()
    with database.writing() as session:
        study = session.query(Study).filter_by(study_instance_uid=uid).one()
        study.last_received_at = now()
        at = now() - timedelta(minutes=minutes_ago)
        session.add(
            Instance(
                study_id=study.id, sop_instance_uid=instance, sop_class_uid="1.2", series_instance_uid="1.3",
                transfer_syntax_uid="1.2.840.10008.1.2.1", size=size, sha256="0" * 64, door=Door.C_STORE, device_id=county.device,
                machine="m", received_at=at, next_try_at=at,
            )
        )  # fmt: skip
    return instance


def test_the_list_tells_what_each_device_did_today(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    sent(database, county, uid, minutes_ago=0)
    sent(database, county, uid, minutes_ago=0)
    sent(database, county, uid, minutes_ago=60 * 49)
    page = signed_in("administrator").get("/devices").text
    assert re.search(r"\b2 ?[幅张]", page)
    assert "2.0 MiB" in page
    assert "刚刚" in page
    with database.writing() as session:
        session.query(Instance).delete()
        session.add(
            Association(id="a", device_id=county.device, node="m/1", address="10.0.0.1", opened_at=now() - timedelta(minutes=5))
        )
    assert "5分钟前" in signed_in("administrator").get("/devices").text


def test_character_sets_are_told_in_words_and_ruled_by_a_person(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    example = sent(database, county, uid, minutes_ago=1)
    with database.writing() as session:
        for declared, found, count in (("ISO_IR 100", "GB18030", 214), ("", "undecided", 3), ("ISO_IR 192", "ISO_IR 192", 9)):
            session.add(
                CharacterSetSighting(
                    device_id=county.device, declared=declared, found=found, count=count, last_at=now(), example_uid=example
                )
            )
    administrator = signed_in("administrator")
    page = administrator.get(f"/devices/{county.device}").text
    assert "声明 ISO_IR 100，实际写的是 GB18030：214 次。" in page
    assert "未声明字符集，无法判定实际写的是什么：3 次。" in page
    assert "声明 ISO_IR 192，实际相符：9 次。" in page
    assert f'href="/studies/{uid}"' in page
    assert "字符集不明" in administrator.get("/devices").text
    assert administrator.post(f"/devices/{county.device}/rule", rule="GBK").status_code == 303
    assert device_of(database, "TOWNSHIP_DR").character_set_rule == "GBK"
    assert "字符集不明" not in administrator.get("/devices").text, "a person has decided"
    assert administrator.post(f"/devices/{county.device}/rule", rule="EBCDIC").status_code == 422
    administrator.post(f"/devices/{county.device}/rule", rule="")
    assert device_of(database, "TOWNSHIP_DR").character_set_rule is None
    assert actions(database) == ["device_changed", "device_changed"]


def test_an_administrator_of_a_township_sees_no_example_of_another(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    example = sent(database, county, add_study(database, county.other_township), minutes_ago=1)
    with database.writing() as session:
        session.add(
            CharacterSetSighting(
                device_id=county.device, declared="X", found="undecided", count=1, last_at=now(), example_uid=example
            )
        )
    add_person(database, county.township, "local", Role.ADMINISTRATOR, language="en")
    page = signed_in("local").get(f"/devices/{county.device}").text
    assert "nobody could tell what it wrote: 1 times" in page
    assert "/studies/" not in page


def test_names_and_reasons_are_shown_as_text(signed_in: SignedIn, database: Database, county: County) -> None:
    called(database, "<b>X</b>", "10.1.1.1")
    assert "<b>X</b>" not in signed_in("administrator").get("/devices").text


def test_a_machine_that_calls_the_node_is_admitted_by_one_click_and_calls_again(
    signed_in: SignedIn, settings: Settings, database: Database, county: County
) -> None:
    node = RunningNode(settings)
    try:
        assert not echo(settings, "NEWCOMER")
        administrator = signed_in("administrator")
        wait_until(lambda: "NEWCOMER" in administrator.get("/devices").text)
        found = re.search(r'action="(/devices/callers/\d+/admit)"', administrator.get("/devices").text)
        assert found
        administrator.post(found[1], organisation_id=str(county.township))
        wait_until(lambda: echo(settings, "NEWCOMER"))
    finally:
        node.stop()
