"""The node accepts every storage class and every transfer syntax that pydicom knows (PS3.8 9.3.2.2)."""

from __future__ import annotations

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, build_context

from pacs_bridge.receiving import TRANSFER_SYNTAXES
from tests.pacs_bridge.conftest import RunningNode

CT = "1.2.840.10008.5.1.4.1.1.2"


def accepted(node: RunningNode, contexts: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Propose each pair in a presentation context of its own and return those that were accepted."""
    granted: set[tuple[str, str]] = set()
    for start in range(0, len(contexts), 128):  # an association has at most 128 contexts
        entity = AE(ae_title="TOWNSHIP_DR")
        entity.requested_contexts = [build_context(kind, [syntax]) for kind, syntax in contexts[start : start + 128]]
        association = entity.associate("127.0.0.1", node.settings.node.port, ae_title="SUMU")
        assert association.is_established
        granted |= {(str(c.abstract_syntax), str(c.transfer_syntax[0])) for c in association.accepted_contexts}
        association.release()
    return granted


def test_every_transfer_syntax_is_accepted(node: RunningNode) -> None:
    wanted = [(CT, syntax) for syntax in TRANSFER_SYNTAXES]
    assert len(wanted) > 40
    assert accepted(node, wanted) == set(wanted)


def test_every_storage_class_is_accepted(node: RunningNode) -> None:
    wanted = [(str(context.abstract_syntax), "1.2.840.10008.1.2.1") for context in AllStoragePresentationContexts]
    assert len(wanted) > 150
    assert accepted(node, wanted) == set(wanted)


@pytest.mark.parametrize("name", ["HTJ2K", "JPEG XL", "H.264", "HEVC", "RLE", "Deflated", "Big Endian", "JPEG-LS", "JPEG 2000"])
def test_the_list_of_transfer_syntaxes_holds_what_devices_send(name: str) -> None:
    from pydicom.uid import UID

    names = " ".join(UID(syntax).name for syntax in TRANSFER_SYNTAXES)
    same = {"HTJ2K": "High-Throughput JPEG 2000", "H.264": "H.264", "HEVC": "HEVC"}
    assert same.get(name, name).lower() in names.lower()
