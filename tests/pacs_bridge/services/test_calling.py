"""Associations that the node asks for: what becomes of them when the other side is rude."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pynetdicom import AE

from core.errors import SumuError
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.upper_layer.association import BrokenProtocol, PeerAborted
from pacs_bridge.upper_layer.calling import CallingAssociation, NotConnected, Rejected, call, write_request
from pacs_bridge.upper_layer.negotiation import ProposedContext, pdu, read_request, write_abort, write_reject
from pacs_bridge.upper_layer.wire import PeerGone, PeerSilent
from tests.conftest import free_port

VERIFICATION = ProposedContext(id=1, abstract_syntax="1.2.840.10008.1.1", transfer_syntaxes=("1.2.840.10008.1.2",))


def calling(port: int, called: str = "PEER") -> CallingAssociation:
    device = AdmittedDevice(id=1, organisation_id=1, ae_title=called)
    return call(
        device, ("127.0.0.1", port), [VERIFICATION], calling_ae_title="SUMU", implementation=("1.2.3", "V"), max_pdu_bytes=16384,
        connect_seconds=1, answer_seconds=1,
    )  # fmt: skip


@contextmanager
def peer(answer: bytes | None) -> Iterator[int]:
    """Listen once, answer with these bytes and close; None: stay silent."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def serve() -> None:
            connection, _ = door.accept()
            with connection:
                connection.recv(1 << 16)
                if answer is None:
                    connection.recv(1)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield door.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (write_reject((1, 1, 7)), Rejected),
        (write_abort(by_provider=True), PeerAborted),
        (b"", PeerGone),
        (None, PeerSilent),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", BrokenProtocol),
        (pdu(2, bytes(68) + b"\x21\x00\xff\xff"), BrokenProtocol),
    ],
)
def test_a_rude_answer_is_told_as_what_it_is(answer: bytes | None, error: type[SumuError]) -> None:
    with peer(answer) as port, pytest.raises(error):
        calling(port)


def test_nobody_there_is_told() -> None:
    with pytest.raises(NotConnected, match="refused"):
        calling(free_port())


def test_a_wrong_title_is_rejected_and_a_right_one_accepted_and_released() -> None:
    entity = AE(ae_title="PEER")
    entity.require_called_aet = True
    entity.add_supported_context(VERIFICATION.abstract_syntax)
    port = free_port()
    server = entity.start_server(("127.0.0.1", port), block=False)
    assert server is not None
    try:
        with pytest.raises(Rejected, match="reason 7"):
            calling(port, "OTHER")
        association = calling(port)
        assert [context.abstract_syntax for context in association.contexts] == [VERIFICATION.abstract_syntax]
        association.release()
    finally:
        server.shutdown()


def test_a_request_reads_back_as_it_was_meant() -> None:
    encoded = write_request(
        [VERIFICATION], called_ae_title="PEER", calling_ae_title="SUMU", implementation=("1.2.3", "V"), max_pdu_bytes=16384,
        scp_of="1.2.840.10008.1.20.1",
    )  # fmt: skip
    request = read_request(encoded[6:])
    assert (request.called_ae_title, request.calling_ae_title, request.contexts) == ("PEER", "SUMU", [VERIFICATION])
    assert (request.max_pdu_bytes, request.roles) == (16384, {"1.2.840.10008.1.20.1": (False, True)})
