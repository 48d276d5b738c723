"""Storage commitment with pynetdicom as SCU, on the same association and on a new one, with TLS and without."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from sqlalchemy import select, update

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.tables import AuditEvent, Commitment, Instance, Quarantined
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services.commitment import LONGEST_WAIT, UNKNOWN_WAIT, Decision, decide
from pacs_bridge.services.commitment_reports import report_due
from pacs_bridge.services.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from tests.pacs_bridge.services.conftest import Station, Study, associate, make_study, resume

CT = "1.2.840.10008.5.1.4.1.1.2"


def request(*asked: tuple[str, str], transaction: str | None = None) -> Dataset:
    """Return the action information of a request."""
    data_set = Dataset()
    data_set.TransactionUID = transaction or generate_uid()
    data_set.ReferencedSOPSequence = []
    for sop_class, uid in asked:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        data_set.ReferencedSOPSequence.append(item)
    return data_set


def ask(
    station: Station, wanted: Dataset, ae_title: str = "WORKSTATION", *, stay: float = 0, tls: bool = False
) -> tuple[int, list[tuple[int, Dataset]]]:
    """Ask for commitment and stay for so many seconds, or until a report comes; return the status and the reports."""
    reports: list[tuple[int, Dataset]] = []
    came = threading.Event()

    def take(event: Any) -> tuple[int, None]:
        reports.append((event.event_type, event.event_information))
        came.set()
        return 0, None

    association = associate(
        station, STORAGE_COMMITMENT, ae_title=ae_title, tls=tls, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    status, _ = association.send_n_action(wanted, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
    resume(association)
    if stay:
        came.wait(stay)
    association.release()
    return status.Status, reports


@contextmanager
def listener(
    station: Station, ae_title: str, *, tls: bool = False, answers: list[int] | None = None
) -> Iterator[list[tuple[int, Dataset]]]:
    """Listen for reports as a device; ``answers`` are the statuses that it gives before it takes one."""
    reports: list[tuple[int, Dataset]] = []
    waiting = list(answers or [])

    def take(event: Any) -> tuple[int, None]:
        if waiting:
            return waiting.pop(0), None
        reports.append((event.event_type, event.event_information))
        return 0, None

    entity = AE(ae_title=ae_title)
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(station.credentials.certificate, station.credentials.key)
        context.load_verify_locations(station.node_certificate)
        context.verify_mode = ssl.CERT_REQUIRED
    server: Any = entity.start_server(
        ("127.0.0.1", station.ports[ae_title]), block=False, ssl_context=context, evt_handlers=[(evt.EVT_N_EVENT_REPORT, take)]
    )
    try:
        yield reports
    finally:
        server.shutdown()


def row(station: Station, transaction: str) -> Commitment:
    with station.database.reading() as session:
        return session.scalars(select(Commitment).where(Commitment.transaction_uid == transaction)).one()


def make_due(station: Station, transaction: str, **values: object) -> None:
    with station.database.writing() as session:
        known = session.scalars(select(Commitment).where(Commitment.transaction_uid == transaction)).one()
        known.next_try_at = now()
        for name, value in values.items():
            setattr(known, name, value)


def reported(station: Station, done: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        report_due(station.database, station.settings)
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def study(station: Station) -> Study:
    """Three slices that are in custody and compared."""
    made = make_study(3)
    station.store(*made.instances)
    return made


@pytest.mark.parametrize("tls", [False, True])
def test_what_is_compared_is_committed_on_the_same_association(station: Station, study: Study, tls: bool) -> None:
    wanted = request(*((CT, uid) for uid in study.uids))
    status, reports = ask(station, wanted, stay=10, tls=tls)
    assert status == 0
    ((event, report),) = reports
    assert (event, report.TransactionUID) == (1, wanted.TransactionUID)
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == study.uids
    assert "FailedSOPSequence" not in report
    kept = row(station, wanted.TransactionUID)
    assert kept.answered_at is not None
    assert kept.failed == []
    with station.database.reading() as session:
        times = session.scalars(select(Instance.committed_at).where(Instance.sop_instance_uid.in_(study.uids))).all()
        actions = session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject == f"commitment:{wanted.TransactionUID}").order_by(AuditEvent.id)
        ).all()
    assert None not in times
    assert actions == ["commitment_asked", "commitment_reported"]


def test_what_we_do_not_keep_is_told_with_its_reason(station: Station, study: Study) -> None:
    unknown, aside = generate_uid(), generate_uid()
    with station.database.writing() as session:
        session.add(
            Quarantined(
                at=now(), device_id=station.device_id("WORKSTATION"), sop_instance_uid=aside, file_name=f"{aside}.dcm",
                reason="broken", remedy="look",
            )
        )  # fmt: skip
    asked = [(CT, study.uids[0]), (CT, unknown), ("1.2.840.10008.5.1.4.1.1.4", study.uids[1]), (CT, aside)]
    wanted = request(*asked)
    assert ask(station, wanted) == (0, [])  # one is unknown, and may be on its way
    make_due(station, wanted.TransactionUID, requested_at=now() - UNKNOWN_WAIT - timedelta(seconds=1))
    with listener(station, "WORKSTATION") as reports:
        reported(station, lambda: bool(reports))
    ((event, report),) = reports
    assert event == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [study.uids[0]]
    failed = {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
    assert failed == {unknown: 0x0112, study.uids[1]: 0x0119, aside: 0x0110}
    assert set(row(station, wanted.TransactionUID).failed) == set(failed)


def test_a_uid_that_came_again_with_other_bytes_is_not_committed_and_one_that_was_mended_is(station: Station) -> None:
    made = make_study(2)
    station.store(*made.instances)
    mended, doubtful = made.uids
    with station.database.writing() as session:
        for uid, at in ((mended, now() - timedelta(hours=1)), (doubtful, now() + timedelta(seconds=1))):
            session.add(
                Quarantined(
                    at=at, device_id=station.device_id("WORKSTATION"), sop_instance_uid=uid, file_name=f"{uid}.dcm",
                    reason="other bytes", remedy="look",
                )
            )  # fmt: skip
    _, reports = ask(station, request((CT, mended), (CT, doubtful)), stay=10)
    ((event, report),) = reports
    assert event == 2
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == [mended]
    assert [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in report.FailedSOPSequence] == [(doubtful, 0x0110)]


def test_a_device_of_another_township_is_told_nothing_about_a_study(station: Station, study: Study) -> None:
    wanted = request((CT, study.uids[0]))
    ask(station, wanted, "FAR_STATION")
    make_due(station, wanted.TransactionUID, requested_at=now() - UNKNOWN_WAIT - timedelta(seconds=1))
    with listener(station, "FAR_STATION") as reports:
        reported(station, lambda: bool(reports))
    assert [item.FailureReason for item in reports[0][1].FailedSOPSequence] == [0x0112]


@pytest.mark.parametrize(("ae_title", "tls"), [("WORKSTATION", False), ("TLS_STATION", True)])
def test_a_report_is_tried_until_the_device_takes_it(station: Station, study: Study, ae_title: str, tls: bool) -> None:
    wanted = request((CT, study.uids[0]))
    ask_and_leave(station, wanted, ae_title, tls=tls)
    make_due(station, wanted.TransactionUID)
    assert report_due(station.database, station.settings) == 0  # it does not listen
    kept = row(station, wanted.TransactionUID)
    assert (kept.tries, kept.answered_at) == (1, None)
    assert "Connection refused" in (kept.last_error or "")
    first_wait = kept.next_try_at - now()
    with listener(station, ae_title, tls=tls, answers=[0x0110]) as reports:
        make_due(station, wanted.TransactionUID)
        assert report_due(station.database, station.settings) == 0  # it answers with a failure
        kept = row(station, wanted.TransactionUID)
        assert kept.tries == 2
        assert kept.next_try_at - now() > first_wait
        make_due(station, wanted.TransactionUID)
        assert report_due(station.database, station.settings) == 1
        assert report_due(station.database, station.settings) == 0  # once
    ((event, _),) = reports
    assert event == 1
    assert row(station, wanted.TransactionUID).answered_at is not None


def ask_and_leave(station: Station, wanted: Dataset, ae_title: str, *, tls: bool = False) -> None:
    """Ask, and refuse the report on the same association."""
    association = associate(
        station, STORAGE_COMMITMENT, ae_title=ae_title, tls=tls,
        evt_handlers=[(evt.EVT_N_EVENT_REPORT, lambda _: (0x0110, None))],
    )  # fmt: skip
    status, _ = association.send_n_action(wanted, 1, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
    assert status.Status == 0
    resume(association)
    association.release()


def test_a_device_without_a_port_gets_its_report_while_it_waits(station: Station) -> None:
    made = make_study(2)
    station.send(*made.instances, ae_title="NO_PORT")
    # At once, while the instances are still on their way to the archive.
    status, reports = ask(station, request(*((CT, uid) for uid in made.uids)), "NO_PORT", stay=30)
    assert (status, [event for event, _ in reports]) == (0, [1])


def test_the_same_question_again_is_answered_again_and_another_under_its_uid_is_refused(station: Station, study: Study) -> None:
    wanted = request((CT, study.uids[0]))
    for _ in range(2):
        status, reports = ask(station, wanted, stay=10)
        assert (status, [event for event, _ in reports]) == (0, [1])
    other = request((CT, study.uids[1]), transaction=wanted.TransactionUID)
    assert ask(station, other) == (0x0115, [])


def test_requests_that_ask_for_nothing_are_refused(station: Station) -> None:
    assert ask(station, request()) == (0x0115, [])
    association = associate(station, STORAGE_COMMITMENT)
    status, _ = association.send_n_action(request((CT, "1.2")), 2, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
    association.release()
    assert status.Status == 0x0123


def test_what_is_under_way_is_waited_for_and_then_counts_because_the_spool_holds_it(station: Station) -> None:
    made = make_study(1)
    station.store(*made.instances)
    with station.database.reading() as session:
        instance = session.scalars(select(Instance).where(Instance.sop_instance_uid == made.uids[0])).one()
        device = AdmittedDevice(
            id=station.device_id("WORKSTATION"), organisation_id=station.county.township, ae_title="WORKSTATION"
        )
        commitment = Commitment(device_id=device.id, asked=[[CT, made.uids[0]]], requested_at=now())
        session.expunge(instance)

        def decided(state: CustodyState, after: timedelta) -> Decision:
            """Decide as it would be with the row in another state; nothing is committed."""
            with session.begin_nested():
                session.execute(update(Instance).where(Instance.id == instance.id).values(state=state))
                return decide(session, commitment, device, commitment.requested_at + after)

        soon, late = timedelta(minutes=9), LONGEST_WAIT
        assert (decided(CustodyState.RECEIVED, soon).open, decided(CustodyState.DELIVERED, soon).open) == (1, 1)
        assert decided(CustodyState.COMPARED, soon) == Decision(kept=[(CT, made.uids[0])])
        assert decided(CustodyState.RECEIVED, late) == Decision(kept=[(CT, made.uids[0])])
        assert decided(CustodyState.QUARANTINED, soon) == Decision(failed=[(CT, made.uids[0], 0x0110)])
        session.rollback()
