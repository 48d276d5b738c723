"""Instance Availability Notification with pynetdicom as SCP, with TLS and without: told once, and until the device takes it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from sqlalchemy import select, update

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.lifecycles.study import StudyState
from core.settings import CompletenessSettings
from core.tables import AuditEvent, Device, Instance, PerformedStep
from core.tables import Study as StudyRow
from core.tables.organisations import AvailabilityNotice
from pacs_bridge.completeness import settle_due
from pacs_bridge.services.commitment_reports import report_due
from pacs_bridge.services.sop_classes import INSTANCE_AVAILABILITY, PERFORMED_STEP, STORAGE_COMMITMENT
from tests.pacs_bridge.services.conftest import Station, make_study

AT_ONCE = CompletenessSettings(quiet_seconds=0, gap_seconds=0, missing_seconds=0, quiet_seconds_by_modality={})


@dataclass
class Heard:
    """What a listening device was told."""

    #: Affected SOP Instance UID and attribute list of each notification that it took.
    notices: list[tuple[str, Dataset]] = field(default_factory=list)
    #: Affected SOP Instance UID of each that came, taken or not.
    uids: list[str] = field(default_factory=list)


@pytest.fixture
def marked(station: Station) -> Iterator[Callable[..., None]]:
    """Settle what other tests left, then mark devices; the marks are taken away at the end."""
    settle(station)

    def mark(*ae_titles: str) -> None:
        with station.database.writing() as session:
            session.execute(update(Device).where(Device.ae_title.in_(ae_titles)).values(told_of_availability=True))

    yield mark
    with station.database.writing() as session:
        session.execute(update(Device).values(told_of_availability=False))


def settle(station: Station) -> None:
    with station.database.writing() as session:
        settle_due(session, AT_ONCE)


@contextmanager
def listener(
    station: Station, ae_title: str, *, tls: bool = False, answers: list[int] | None = None, speaks: str = INSTANCE_AVAILABILITY
) -> Iterator[Heard]:
    """Listen for notifications as a device; ``answers`` are the statuses that it gives before it takes one."""
    heard, waiting = Heard(), list(answers or [])

    def take(event: Any) -> tuple[int, Dataset | None]:
        heard.uids.append(str(event.request.AffectedSOPInstanceUID))
        if waiting:
            return waiting.pop(0), None
        heard.notices.append((str(event.request.AffectedSOPInstanceUID), event.attribute_list))
        return 0, Dataset()

    entity = AE(ae_title=ae_title)
    entity.add_supported_context(speaks)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(station.credentials.certificate, station.credentials.key)
        context.load_verify_locations(station.node_certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    server: Any = entity.start_server(
        ("127.0.0.1", station.ports[ae_title]), block=False, ssl_context=context, evt_handlers=[(evt.EVT_N_CREATE, take)]
    )
    try:
        yield heard
    finally:
        server.shutdown()


def notice_of(station: Station, ae_title: str, study_uid: str) -> AvailabilityNotice:
    with station.database.reading() as session:
        return session.scalars(
            select(AvailabilityNotice)
            .join(Device, AvailabilityNotice.device_id == Device.id)
            .join(StudyRow, AvailabilityNotice.study_id == StudyRow.id)
            .where(Device.ae_title == ae_title, StudyRow.study_instance_uid == study_uid)
        ).one()


def make_due(station: Station) -> None:
    with station.database.writing() as session:
        session.execute(update(AvailabilityNotice).values(next_try_at=now()))


@pytest.mark.parametrize(("ae_title", "tls"), [("WORKSTATION", False), ("TLS_STATION", True)])
def test_a_marked_device_is_told_of_a_settled_study_once(
    station: Station, marked: Callable[..., None], ae_title: str, tls: bool
) -> None:
    marked(ae_title)
    made = make_study(2, series=2)
    step = generate_uid()
    with station.database.writing() as session:
        session.add(
            PerformedStep(
                sop_instance_uid=step, device_id=station.device_id("WORKSTATION"), study_instance_uid=made.uid,
                status="COMPLETED", started_at=now(), attributes={},
            )
        )  # fmt: skip
    station.store(*made.instances)
    with listener(station, ae_title, tls=tls) as heard:
        assert report_due(station.database, station.settings) == 0  # nobody is told before it has settled
        settle(station)
        assert report_due(station.database, station.settings) == 1
        assert report_due(station.database, station.settings) == 0
    ((uid, told),) = heard.notices
    assert uid == notice_of(station, ae_title, made.uid).sop_instance_uid
    assert told.StudyInstanceUID == made.uid
    (known,) = told.ReferencedPerformedProcedureStepSequence
    assert (known.ReferencedSOPClassUID, known.ReferencedSOPInstanceUID) == (PERFORMED_STEP, step)
    assert list(known.PerformedWorkitemCodeSequence) == []
    expected: dict[str, set[str]] = {}
    for one in made.instances:
        expected.setdefault(str(one.SeriesInstanceUID), set()).add(str(one.SOPInstanceUID))
    series = {item.SeriesInstanceUID: item.ReferencedSOPSequence for item in told.ReferencedSeriesSequence}
    assert {uid: {item.ReferencedSOPInstanceUID for item in items} for uid, items in series.items()} == expected
    for item in (item for items in series.values() for item in items):
        assert item.ReferencedSOPClassUID == made.instances[0].SOPClassUID
        assert (item.InstanceAvailability, item.RetrieveAETitle) == ("ONLINE", station.settings.node.ae_title)
    with station.database.reading() as session:
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.action == "availability_told", AuditEvent.subject == f"study:{made.uid}")
        ).one()
    assert (event.actor, event.detail) == (f"device:{ae_title}", {"revision": 1, "instances": 4})


@pytest.mark.parametrize(("ae_title", "tls"), [("WORKSTATION", False), ("TLS_STATION", True)])
def test_a_notice_is_tried_until_the_device_takes_it(
    station: Station, marked: Callable[..., None], ae_title: str, tls: bool
) -> None:
    marked(ae_title)
    made = make_study(1)
    station.store(*made.instances)
    settle(station)
    assert report_due(station.database, station.settings) == 0  # it does not listen
    kept = notice_of(station, ae_title, made.uid)
    assert (kept.tries, kept.answered_at) == (1, None)
    assert "Connection refused" in (kept.last_error or "")
    first_wait = kept.next_try_at - now()
    assert first_wait > timedelta(0)
    with listener(station, ae_title, tls=tls, answers=[0x0110]) as heard:
        assert report_due(station.database, station.settings) == 0  # not yet
        assert heard.uids == []
        make_due(station)
        assert report_due(station.database, station.settings) == 0  # it answers with a failure
        kept = notice_of(station, ae_title, made.uid)
        assert (kept.tries, kept.answered_at) == (2, None)
        assert kept.next_try_at - now() > first_wait
        make_due(station)
        assert report_due(station.database, station.settings) == 1
    assert len(heard.notices) == 1
    assert len(set(heard.uids)) == 1  # the same notification at every try
    assert notice_of(station, ae_title, made.uid).answered_at is not None


def test_a_device_that_has_it_from_a_try_whose_answer_was_lost_has_it(station: Station, marked: Callable[..., None]) -> None:
    marked("WORKSTATION")
    made = make_study(1)
    station.store(*made.instances)
    settle(station)
    with listener(station, "WORKSTATION", answers=[0x0111]):
        assert report_due(station.database, station.settings) == 1
    assert notice_of(station, "WORKSTATION", made.uid).answered_at is not None


def test_a_late_image_is_told_in_a_notification_of_its_own(station: Station, marked: Callable[..., None]) -> None:
    marked("WORKSTATION")
    made = make_study(2)
    first, late = made.instances
    with listener(station, "WORKSTATION") as heard:
        station.store(first)
        settle(station)
        report_due(station.database, station.settings)
        station.store(late)
        make_due(station)
        assert report_due(station.database, station.settings) == 0  # it is arriving again
        settle(station)
        assert report_due(station.database, station.settings) == 1
    (before, _), (after, told) = heard.notices
    assert before != after
    assert len(told.ReferencedSeriesSequence[0].ReferencedSOPSequence) == 2


def test_nothing_is_told_while_the_archive_lacks_an_instance(station: Station, marked: Callable[..., None]) -> None:
    marked("WORKSTATION")
    made = make_study(2)
    station.store(*made.instances)
    settle(station)

    def note(state: CustodyState) -> None:
        with station.database.writing() as session:
            session.execute(update(Instance).where(Instance.sop_instance_uid == made.uids[1]).values(state=state))

    with listener(station, "WORKSTATION") as heard:
        note(CustodyState.DELIVERED)
        try:
            assert report_due(station.database, station.settings) == 0
        finally:
            note(CustodyState.QUARANTINED)
        assert notice_of(station, "WORKSTATION", made.uid).tries == 0
        make_due(station)
        assert report_due(station.database, station.settings) == 1
    ((_, told),) = heard.notices  # what was set aside cannot be fetched
    assert [item.ReferencedSOPInstanceUID for item in told.ReferencedSeriesSequence[0].ReferencedSOPSequence] == made.uids[:1]


def test_only_marked_devices_hear_and_only_of_what_they_may_see(station: Station, marked: Callable[..., None]) -> None:
    marked("FAR_STATION", "COUNTY_PACS")
    made = make_study(1)
    station.store(*made.instances)
    settle(station)
    with (
        listener(station, "FAR_STATION") as far,
        listener(station, "COUNTY_PACS") as county,
        listener(station, "WORKSTATION") as near,
    ):
        assert report_due(station.database, station.settings) == 1
    assert [told.StudyInstanceUID for _, told in county.notices] == [made.uid]
    assert far.uids == near.uids == []


def test_a_mark_that_is_taken_away_ends_what_was_owed(station: Station, marked: Callable[..., None]) -> None:
    marked("WORKSTATION")
    made = make_study(1)
    station.store(*made.instances)
    settle(station)
    with station.database.writing() as session:
        session.execute(update(Device).values(told_of_availability=False))
    with listener(station, "WORKSTATION") as heard:
        assert report_due(station.database, station.settings) == 0
    assert heard.uids == []


def test_a_device_that_does_not_speak_it_gets_a_remedy_and_keeps_nobody_waiting(
    station: Station, marked: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    marked("WORKSTATION", "COUNTY_PACS")
    made = make_study(1)
    station.store(*made.instances)
    settle(station)
    with listener(station, "WORKSTATION", speaks=STORAGE_COMMITMENT), listener(station, "COUNTY_PACS") as county:
        assert report_due(station.database, station.settings) == 1
    assert len(county.notices) == 1
    kept = notice_of(station, "WORKSTATION", made.uid)
    assert "does not accept Instance Availability Notification" in (kept.last_error or "")
    assert "report_will_be_tried_again" in capsys.readouterr().out
    with station.database.reading() as session:
        study = session.scalars(select(StudyRow).where(StudyRow.study_instance_uid == made.uid)).one()
    assert study.state is StudyState.SETTLED
