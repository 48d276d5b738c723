"""A device whose images are not taken finds the reason and the remedy in the log, once."""

from __future__ import annotations

import pytest
from pynetdicom import AE

from core.settings import NodeSettings
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.services import refused_contexts
from pacs_bridge.services.refused_contexts import RefusedContexts, problems_of
from pacs_bridge.upper_layer.negotiation import AssociationRequest, ProposedContext
from tests.pacs_bridge.services.conftest import Station

CT, ULTRASOUND = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.6.1"
EXPLICIT, MADE_UP, RAW = "1.2.840.10008.1.2.1", "1.3.6.1.4.1.99.7.1", "1.3.6.1.4.1.99.4.1"
SENDER = AdmittedDevice(id=1, organisation_id=1, ae_title="TOWNSHIP_US")


def asks(*contexts: tuple[str, str]) -> AssociationRequest:
    proposed = [
        ProposedContext(id=2 * place + 1, abstract_syntax=sop_class, transfer_syntaxes=(syntax,))
        for place, (sop_class, syntax) in enumerate(contexts)
    ]
    return AssociationRequest(called_ae_title="SUMU", calling_ae_title=SENDER.ae_title, contexts=proposed)


def told(*contexts: tuple[str, str], device: AdmittedDevice = SENDER, private: list[str] | None = None) -> list[tuple[str, str]]:
    settings = NodeSettings(private_sop_classes=private or [])
    return [(problem.reason, problem.remedy) for problem in problems_of(device, asks(*contexts), settings)]


def test_a_private_transfer_syntax_is_named_with_what_to_set() -> None:
    ((reason, remedy),) = told((ULTRASOUND, MADE_UP))
    assert "Ultrasound Image Storage" in reason
    assert MADE_UP in reason
    assert "Explicit VR Little Endian" in remedy
    assert "no setting takes it" in remedy


def test_it_is_no_problem_where_the_device_offers_another_one_too() -> None:
    assert told((ULTRASOUND, MADE_UP), (ULTRASOUND, EXPLICIT)) == []


def test_a_private_sop_class_is_named_with_its_setting_until_it_is_set() -> None:
    ((reason, remedy),) = told((RAW, EXPLICIT), (CT, EXPLICIT))
    assert RAW in reason
    assert f"node.private_sop_classes: {RAW}" in remedy
    for private in ([RAW], ["*"]):
        assert told((RAW, EXPLICIT), private=private) == []
        assert "transfer syntaxes" in told((RAW, MADE_UP), private=private)[0][0]


def test_a_device_that_may_not_send_is_told_so_and_a_workstation_that_fetches_is_not() -> None:
    silent = AdmittedDevice(id=1, organisation_id=1, ae_title="TOWNSHIP_US", may_store=False)
    ((_, remedy),) = told((CT, EXPLICIT), device=silent)
    assert "sumu device admit TOWNSHIP_US --may store" in remedy
    fetching = AdmittedDevice(id=1, organisation_id=1, ae_title="READER", may_store=False, may_query=True)
    assert told((CT, EXPLICIT), device=fetching) == []
    assert told(("1.2.840.10008.1.1", EXPLICIT), device=silent) == []


def test_a_device_that_proposes_a_hundred_of_them_fills_no_log() -> None:
    ((reason, _),) = told(*((ULTRASOUND, f"{MADE_UP}.{number}") for number in range(100)))
    assert "and 96 more" in reason
    assert len(reason) < 400


@pytest.fixture
def contexts() -> RefusedContexts:
    """What a node remembers."""
    return RefusedContexts(NodeSettings())


def test_a_device_that_calls_every_few_seconds_is_told_once_an_hour(
    contexts: RefusedContexts, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = 1000.0
    monkeypatch.setattr("pacs_bridge.services.refused_contexts.time.monotonic", lambda: moment)
    for _ in range(5):
        contexts.tell(SENDER, asks((ULTRASOUND, MADE_UP)))
        moment += 5
    assert capsys.readouterr().out.count("contexts_refused") == 1
    moment += refused_contexts.TOLD_AGAIN_SECONDS
    contexts.tell(SENDER, asks((ULTRASOUND, MADE_UP)))
    assert capsys.readouterr().out.count("contexts_refused") == 1


def test_the_node_refuses_a_private_transfer_syntax_and_says_why(station: Station, capsys: pytest.CaptureFixture[str]) -> None:
    entity = AE(ae_title="WORKSTATION")
    entity.add_requested_context(ULTRASOUND, [MADE_UP])
    entity.add_requested_context("1.2.840.10008.1.1")
    association = entity.associate("127.0.0.1", station.settings.node.port, ae_title="SUMU")
    try:
        assert association.is_established
        (refused,) = association.rejected_contexts
        assert (refused.abstract_syntax, refused.result) == (ULTRASOUND, 4)
    finally:
        association.release()
    said = capsys.readouterr().out
    assert MADE_UP in said
    assert "Explicit VR Little Endian" in said
