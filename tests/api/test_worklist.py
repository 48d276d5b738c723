"""What the worklist shows to whom, in which order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import update

from api.worklist_query import PAGE_SIZE
from core.clock import now
from core.database import Database
from core.lifecycles.preread import PreReadState
from core.lifecycles.study import StudyState
from core.tables import Patient, Study, Urgency
from pacs_bridge.patient_names import search_words
from tests.api.conftest import Browser, add_pre_read, add_study
from tests.conftest import County

SignedIn = Callable[[str], Browser]


def uids(worklist: Any) -> list[str]:
    return [study["study_instance_uid"] for study in worklist["studies"]]


def test_the_county_sees_both_townships_and_a_township_only_itself(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    near, far = add_study(database, county.township), add_study(database, county.other_township)
    assert set(uids(signed_in("doctor").json("/api/worklist"))) == {near, far}
    operator = signed_in("operator")
    assert uids(operator.json("/api/worklist")) == [near]
    assert uids(operator.json("/api/worklist", organisation=str(county.other_township))) == []
    assert far not in operator.get("/worklist?state=all").text


def test_the_most_urgent_comes_first_then_the_oldest(signed_in: SignedIn, database: Database, county: County) -> None:
    late = add_study(database, county.township, minutes_ago=5)
    old = add_study(database, county.township, minutes_ago=500)
    urgent = add_study(database, county.township, minutes_ago=4, urgency=Urgency.URGENT)
    critical = add_study(database, county.township, minutes_ago=1, urgency=Urgency.CRITICAL)
    doctor = signed_in("doctor")
    assert uids(doctor.json("/api/worklist")) == [critical, urgent, old, late]
    assert uids(doctor.json("/api/worklist", state="all")) == [critical, urgent, old, late], "the last to arrive first"


def test_a_study_is_found_by_characters_pinyin_identifier_and_accession(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    wanted = add_study(database, county.township, name="欧阳震华", name_latin="OUYANG^ZHENHUA")
    add_study(database, county.township)
    doctor = signed_in("doctor")
    with database.reading() as session:
        study = session.query(Study).filter_by(study_instance_uid=wanted).one()
        accession, identifier = study.accession_number, study.patient.identifier
    for words in ("震华", "欧阳 震华", "ouyang", "Ouyang Zhenhua", "ouyangzhen", identifier, accession):
        assert uids(doctor.json("/api/worklist", search=words)) == [wanted], words
    assert uids(doctor.json("/api/worklist", search="%")) == []


def test_a_name_with_search_words_is_found_by_every_way_of_typing_it(
    signed_in: SignedIn, database: Database, county: County
) -> None:
    wanted = add_study(database, county.township, name="吕曾尉", name_latin="lv zeng wei")
    other = add_study(database, county.township, name="吕四娘", name_latin="lv si niang")
    with database.writing() as session:
        for patient in session.query(Patient):
            patient.search_words = search_words(patient.name, patient.name_latin)
    doctor = signed_in("doctor")
    for words in ("曾尉", "吕曾", "lvzengwei", "lü zeng", "lv zengwei", "luzengwei", "lyuzengwei", "lzw", "LZW", "zeng"):
        assert uids(doctor.json("/api/worklist", search=words)) == [wanted], words
    assert uids(doctor.json("/api/worklist", search="lv")) == [wanted, other]
    for words in ("zengx", "l%w", "吕%尉", "·", "^"):
        assert uids(doctor.json("/api/worklist", search=words)) == [], words


def test_each_shelf_counts_under_the_other_filters(signed_in: SignedIn, database: Database, county: County) -> None:
    add_study(database, county.township, modality="CT")
    add_study(database, county.township, modality="CT", state=StudyState.ARRIVING)
    mine = add_study(database, county.township, modality="ECG")
    doctor = signed_in("doctor")
    doctor.post(f"/studies/{mine}/claim")
    counts = doctor.json("/api/worklist")["counts"]
    assert counts == {"to_read": 2, "mine": 1, "signed": 0, "arriving": 1, "all": 3}
    assert doctor.json("/api/worklist", modality="CT")["counts"]["to_read"] == 1
    assert uids(doctor.json("/api/worklist", state="mine")) == [mine]


def test_a_day_is_a_day_of_the_county(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    with database.writing() as session:  # half past midnight in the county is still yesterday in UTC
        session.execute(update(Study).values(first_received_at=now().replace(year=2026, month=3, day=1, hour=16, minute=30)))
    doctor = signed_in("doctor")
    assert uids(doctor.json("/api/worklist", since="2026-03-02", until="2026-03-02")) == [uid]
    assert uids(doctor.json("/api/worklist", until="2026-03-01")) == []
    assert "2026-03-02 00:30" in doctor.get("/worklist").text


def test_a_long_list_has_pages(signed_in: SignedIn, database: Database, county: County) -> None:
    for _ in range(PAGE_SIZE + 1):
        add_study(database, county.township)
    doctor = signed_in("doctor")
    first, second = doctor.json("/api/worklist"), doctor.json("/api/worklist", page="2")
    assert (len(first["studies"]), first["has_next"]) == (PAGE_SIZE, True)
    assert (len(second["studies"]), second["has_next"]) == (1, False)
    assert "第 1 页，共 2 页" in doctor.get("/worklist").text


def test_every_state_of_a_pre_read_is_told(signed_in: SignedIn, database: Database, county: County) -> None:
    told = {
        PreReadState.QUEUED: "等待AI",
        PreReadState.READING: "AI预读中",
        PreReadState.NO_MODEL: "无适用模型",
        PreReadState.DECLINED: "AI未判读",
        PreReadState.FAILED: "out of memory",
    }
    for state in told:
        add_pre_read(
            database, add_study(database, county.township), state=state, reason="no_engine", error="RuntimeError: out of memory"
        )
    add_pre_read(
        database,
        add_study(database, county.township),
        ("ecg_sinus_rhythm", None),
        ("ecg_critical_pause", 0.91),
    )
    page = signed_in("doctor").get("/worklist").text
    for words in told.values():
        assert words in page
    assert page.index("长 RR 间期（危急值）") < page.index("窦性心律"), "the most urgent finding is named first"
    assert "91%" in page


def test_a_poll_that_finds_nothing_new_leaves_the_page_alone(signed_in: SignedIn, database: Database, county: County) -> None:
    add_study(database, county.township, minutes_ago=10.5)
    doctor = signed_in("doctor")
    found = re.search(r'name="seen" value="(\w+)"', doctor.get("/worklist").text)
    assert found
    assert doctor.get("/worklist/rows", params={"seen": found[1]}).status_code == 204
    add_study(database, county.township, name="新来的")
    answer = doctor.get("/worklist/rows", params={"seen": found[1]})
    assert answer.status_code == 200
    assert "新来的" in answer.text


def test_empty_fields_of_the_filter_form_are_no_wishes(signed_in: SignedIn, database: Database, county: County) -> None:
    uid = add_study(database, county.township)
    answer = signed_in("doctor").get("/worklist?state=&urgency=&modality=&organisation=&since=&until=&search=&page=")
    assert answer.status_code == 200
    assert uid in answer.text


def test_a_wish_that_makes_no_sense_names_the_field(signed_in: SignedIn) -> None:
    answer = signed_in("doctor").get("/worklist?since=yesterday")
    assert answer.status_code == 422
    assert "since" in answer.text


def test_names_are_shown_as_text(signed_in: SignedIn, database: Database, county: County) -> None:
    add_study(database, county.township, name="<script>alert(1)</script>")
    assert "<script>alert" not in signed_in("doctor").get("/worklist").text


def test_the_next_to_read_is_the_first_that_nobody_holds(
    signed_in: SignedIn, database: Database, county: County, second_doctor: str
) -> None:
    done = add_study(database, county.township, urgency=Urgency.CRITICAL)
    held = add_study(database, county.township, urgency=Urgency.URGENT)
    free = add_study(database, county.township)
    signed_in(second_doctor).post(f"/studies/{held}/claim")
    doctor = signed_in("doctor")
    assert doctor.get(f"/worklist/next?after={done}").headers["location"] == f"/studies/{free}"
    assert signed_in("operator").get("/worklist/next").headers["location"] == f"/studies/{done}"
