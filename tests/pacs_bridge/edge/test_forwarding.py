"""Forwarding over one line: unchanged, compared, in order of urgency, once, whatever breaks."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pydicom
import pytest
from pydicom.uid import generate_uid
from sqlalchemy import select

from core.clock import now
from core.lifecycles.custody import CustodyState
from core.settings import EdgeSettings
from core.tables import Association, Device, Door, Instance, Quarantined
from pacs_bridge.edge.county import County, CountyRefuses, LineDown, RequestTooLarge, UnusableEdge
from pacs_bridge.edge.line_state import read_line_state
from pacs_bridge.spool import Spool
from pacs_bridge.tls import make_certificate
from tests.conftest import free_port
from tests.pacs_bridge.conftest import environment, wait_until
from tests.pacs_bridge.edge.conftest import CountySite, Township, drive, serving
from tests.pacs_bridge.edge.line import Line


def test_what_was_acknowledged_reaches_the_county_unchanged(township: Township, county_site: CountySite, line: Line) -> None:
    study = generate_uid()
    sent = [township.take(study=study) for _ in range(5)]
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    assert sorted(name.sha256 for name in county_site.spooled()) == sorted(sent)
    assert {name.ae_title for name in county_site.spooled()} == {"TOWNSHIP_DR"}
    rows = township.rows()
    assert {row.state for row in rows} == {CustodyState.COMPARED}
    assert all(row.spool_name is None and row.compared_at for row in rows)
    assert township.spooled() == 0
    assert {row.door for row in county_site.instances()} == {Door.STOW}
    assert (line.connections, line.most_at_once) == (1, 1)
    forwarder.close()


def test_a_device_that_does_not_name_its_instances_loses_none(township: Township, county_site: CountySite) -> None:
    file = township.make()
    sent, right = township.take_file(file, named=""), pydicom.dcmread(file).SOPInstanceUID
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    assert [(row.sop_instance_uid, row.sha256) for row in county_site.instances()] == [(right, sent)]
    assert {row.tries for row in township.rows()} == {0}
    forwarder.close()


def test_the_line_carries_less_than_the_instances(township: Township, line: Line) -> None:
    for _ in range(20):
        township.take()
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    size = sum(row.size for row in township.rows())
    assert line.up < 0.8 * size
    assert forwarder.state.instance_bytes == size
    assert forwarder.state.line_bytes < line.up
    forwarder.close()


def test_urgent_studies_go_before_older_ones(township: Township, county_site: CountySite) -> None:
    routine = [township.take() for _ in range(3)]
    urgent = [township.take(urgent=True) for _ in range(2)]
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    assert [name.sha256 for name in county_site.spooled()] == [*urgent, *routine]
    forwarder.close()


def test_a_line_that_breaks_in_a_study_goes_on_where_it_was(township: Township, county_site: CountySite, line: Line) -> None:
    study = generate_uid()
    sent = [township.take(study=study, padding=100_000) for _ in range(12)]
    township.keep_books()
    forwarder = township.forwarder(request_bytes=300_000)
    for _ in range(4):
        line.cut_after(350_000)
        drive(forwarder, lambda: line._cut_at is None or not township.waiting())
    drive(forwarder, lambda: not township.waiting())
    assert line.cuts >= 3
    rows = county_site.instances()
    assert sorted(row.sha256 for row in rows) == sorted(sent)
    # What a break left without an answer came again: the part of one request, never the study.
    assert sum(row.repeats for row in rows) <= line.cuts * 3
    assert line.up < 12 * 140_000 + line.cuts * 420_000
    assert line.most_at_once == 1
    with county_site.database.reading() as session:
        assert list(session.scalars(select(Quarantined))) == []
    forwarder.close()


def test_an_outage_costs_nothing_but_time(township: Township, county_site: CountySite, line: Line) -> None:
    line.refuse()
    sent = [township.take() for _ in range(3)]
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: forwarder.state.up is False)
    down = read_line_state(township.settings.data)
    assert down.up is False
    assert "not reached" in down.problem
    assert township.spooled() == 3
    assert {row.tries for row in township.rows()} == {0}
    line.refuse(False)
    drive(forwarder, lambda: not township.waiting())
    assert sorted(row.sha256 for row in county_site.instances()) == sorted(sent)
    assert forwarder.state.up
    forwarder.close()


def test_a_large_instance_goes_on_in_its_middle_and_lets_urgent_ones_pass(
    township: Township, county_site: CountySite, line: Line
) -> None:
    large = township.take(padding=2_000_000)
    township.keep_books()
    forwarder = township.forwarder(piece_bytes=300_000)
    line.cut_after(1_000_000)
    drive(forwarder, lambda: line.cuts == 1)
    urgent = township.take(urgent=True)
    township.keep_books()
    drive(forwarder, lambda: not township.waiting())
    assert [name.sha256 for name in county_site.spooled()] == [urgent, large]
    # Of two million random bytes, the break cost less than one piece.
    assert line.up < 2_000_000 + 300_000 + 100_000
    assert list((county_site.settings.spool / "pieces").iterdir()) == []
    forwarder.close()


def test_a_copy_that_its_disk_has_damaged_is_set_aside_and_never_reaches_the_archive(
    township: Township, county_site: CountySite
) -> None:
    bad, good = township.take(), township.take()
    township.keep_books()
    (row,) = [row for row in township.rows() if row.sha256 == bad]
    path = Spool(township.settings.spool).path(row.spool_name or "")
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    assert [name.sha256 for name in county_site.spooled()] == [good]
    with township.database.reading() as session:
        aside = session.scalars(select(Quarantined)).one()
        assert "disk" in aside.reason
        assert session.get_one(Instance, row.id).state is CustodyState.QUARANTINED
    assert (township.settings.quarantine / aside.file_name).exists()
    forwarder.close()


def test_what_the_county_refuses_waits_and_holds_nothing_up(township: Township, county_site: CountySite) -> None:
    with county_site.database.writing() as session:
        session.scalars(select(Device).where(Device.ae_title == "TOWNSHIP_DR")).one().max_instance_bytes = 60_000
    large, small = township.take(padding=100_000), township.take()
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: township.waiting() == 1 and max(row.tries for row in township.rows()) > 1)
    (waiting,) = [row for row in township.rows() if row.state is CustodyState.RECEIVED]
    assert waiting.sha256 == large
    assert "--max-mib" in (waiting.last_error or "")
    assert [name.sha256 for name in county_site.spooled()] == [small]
    assert forwarder.state.up
    forwarder.close()


def test_a_wrong_token_is_told_and_cured(township: Township, county_site: CountySite) -> None:
    token = township.settings.secrets / "edge.token"
    right = token.read_text()
    token.write_text("wrong")
    township.take()
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: bool(forwarder.state.problem))
    assert (forwarder.state.up, "401" in forwarder.state.problem) == (True, True)
    assert "token" in forwarder.state.remedy
    forwarder.close()
    token.write_text(right)
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    forwarder.close()


def test_the_county_hears_when_an_association_has_nothing_more(township: Township, county_site: CountySite) -> None:
    spool = Spool(township.settings.spool, receiver="node-1")
    spool.note("opened", association_id="first", ae_title="TOWNSHIP_DR", address="10.0.0.1")
    township.take(association="first")
    township.keep_books()
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())

    def outcomes() -> list[str | None]:
        county_site.keep_books()
        with county_site.database.reading() as session:
            return list(session.scalars(select(Association.outcome)))

    forwarder._told_at = 0
    forwarder.round()
    assert outcomes() == [None]
    spool.note("released", association_id="first", ae_title="TOWNSHIP_DR", address="10.0.0.1")
    township.keep_books()
    forwarder._told_at = 0
    drive(forwarder, lambda: outcomes() == ["released"])
    forwarder.close()


def test_a_request_that_a_proxy_finds_too_large_is_made_smaller(township: Township, county_site: CountySite) -> None:
    sent = [township.take() for _ in range(8)]
    township.keep_books()
    forwarder = township.forwarder()
    store, sizes = forwarder._county.store, list[int]()

    def through_a_proxy(loads, meter):  # type: ignore[no-untyped-def]
        sizes.append(len(loads))
        if len(loads) > 2:
            raise RequestTooLarge(413, "too large", "")
        return store(loads, meter)

    forwarder._county.store = through_a_proxy  # type: ignore[method-assign]
    drive(forwarder, lambda: not township.waiting())
    assert sizes[0] == 8
    assert max(sizes[-3:]) <= 2
    assert sorted(name.sha256 for name in county_site.spooled()) == sorted(sent)
    forwarder.close()


def test_two_forwarders_take_turns(township: Township, county_site: CountySite) -> None:
    township.take()
    township.keep_books()
    first, second = township.forwarder(), township.forwarder()
    first.round()
    assert second.round() == 0
    first.close()
    drive(second, lambda: not township.waiting())
    second.close()


def test_a_clock_that_ran_ahead_holds_nothing_back(township: Township, county_site: CountySite) -> None:
    township.take()
    township.keep_books()
    with township.database.writing() as session:
        session.scalars(select(Instance)).one().next_try_at = now() + timedelta(days=400)
    forwarder = township.forwarder()
    drive(forwarder, lambda: not township.waiting())
    forwarder.close()


# --- who is at the other end --------------------------------------------------------------------------------------------


class Answering(BaseHTTPRequestHandler):
    """Says 200 to everything, as a gateway's sign-in page does, or as our county."""

    body = b"<html>please sign in</html>"
    certificates: ClassVar[list[object]] = []

    def do_GET(self) -> None:
        connection = self.connection
        if isinstance(connection, ssl.SSLSocket):
            self.certificates.append(connection.getpeercert())
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[ThreadingHTTPServer, Path]]:
    """A TLS server that wants a client certificate, and the certificate file that both sides trust."""
    (tmp_path / "gateway").mkdir()
    pem, key = make_certificate("localhost", ["localhost", "127.0.0.1"])
    certificate = tmp_path / "gateway" / "both.pem"
    certificate.write_text(pem + key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificate)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, certificate
    server.shutdown()
    server.server_close()


def test_the_countys_certificate_is_checked_and_ours_is_shown(
    township: Township, gateway: tuple[ThreadingHTTPServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, certificate = gateway
    monkeypatch.setattr(Answering, "body", b'{"county": "X"}')
    monkeypatch.setattr(Answering, "certificates", [])
    url = f"https://127.0.0.1:{server.server_port}"

    def county(**more: object) -> County:
        return County(township.settings.model_copy(update={"edge": EdgeSettings(county_url=url, stalled_seconds=5, **more)}))

    with pytest.raises(LineDown, match="certificate verify failed"):
        county(certificate=certificate).line()
    with pytest.raises(LineDown):
        county(county_certificates=certificate).line()
    assert county(county_certificates=certificate, certificate=certificate).line() == {"county": "X"}
    assert len(Answering.certificates) == 1


def test_instances_cross_over_tls_to_a_county_of_our_own_authority(
    township: Township, county_site: CountySite, tmp_path: Path
) -> None:
    pem, key = make_certificate("county", ["127.0.0.1"])
    certificate, secret = tmp_path / "county.pem", tmp_path / "county.key"
    certificate.write_text(pem)
    secret.write_text(key)
    port = free_port()
    sent = township.take()
    township.keep_books()
    with serving(county_site.app, port, ssl_certfile=certificate, ssl_keyfile=secret):
        line = Line(port)
        forwarder = township.forwarder(county_url=f"https://127.0.0.1:{line.port}", county_certificates=certificate)
        drive(forwarder, lambda: not township.waiting())
        forwarder.close()
        line.close()
    assert [name.sha256 for name in county_site.spooled()] == [sent]
    assert (line.connections, line.most_at_once) == (1, 1)


def test_a_page_that_is_not_the_countys_answer_is_told(township: Township, gateway: tuple[ThreadingHTTPServer, Path]) -> None:
    server, certificate = gateway
    edge = EdgeSettings(
        county_url=f"https://127.0.0.1:{server.server_port}", county_certificates=certificate, certificate=certificate
    )
    with pytest.raises(CountyRefuses, match="not Sumu's") as told:
        County(township.settings.model_copy(update={"edge": edge})).line()
    assert "sign-in" in told.value.remedy


@pytest.mark.parametrize(
    "more",
    [
        {"county_url": ""},
        {"county_url": "http://imaging.county.cn"},
        {"county_url": "https://imaging.county.cn", "county_certificates": Path("nowhere.pem")},
        {"county_url": "https://imaging.county.cn", "token_file": Path("nowhere")},
    ],
)
def test_settings_that_lead_nowhere_say_what_helps(township: Township, more: dict[str, object]) -> None:
    with pytest.raises(UnusableEdge) as told:
        County(township.settings.model_copy(update={"edge": EdgeSettings(**more)}))
    assert told.value.remedy


def test_the_forwarder_waits_for_its_token_and_tells_the_page(township: Township) -> None:
    (township.settings.secrets / "edge.token").unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "process", "forwarder"],
        env={**environment(township.settings), "SUMU_EDGE__COUNTY_URL": township.settings.edge.county_url},
    )
    try:
        wait_until(lambda: "token" in read_line_state(township.settings.data).problem)
        assert process.poll() is None
    finally:
        process.terminate()
        assert process.wait(20) == 0
