"""C-ECHO and C-STORE by DCMTK's programs, with TLS and without; and who does not come in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE

from pacs_bridge.tls import make_certificate
from tests.pacs_bridge.services.conftest import Station, make_study


@pytest.mark.parametrize("tls", [False, True])
def test_echoscu_succeeds(station: Station, tls: bool) -> None:
    station.run("echoscu", tls=tls)


@pytest.mark.parametrize("tls", [False, True])
def test_storescu_succeeds(station: Station, tmp_path: Path, tls: bool) -> None:
    study = make_study(2)
    files = [tmp_path / f"{number}.dcm" for number in range(2)]
    for instance, file in zip(study.instances, files, strict=True):
        instance.save_as(file, enforce_file_format=True)
    secret = ["+tls", str(station.credentials.key), str(station.credentials.certificate), "+cf", station.node_certificate]
    port = station.settings.node.tls_port if tls else station.settings.node.port
    command = ["storescu", *(secret if tls else []), "-aet", "TLS_STATION" if tls else "WORKSTATION", "-aec", "SUMU"]
    subprocess.run([*command, "127.0.0.1", str(port), *map(str, files)], check=True, timeout=60, capture_output=True)
    station.wait_compared(study.uids)


def test_a_device_with_a_certificate_does_not_come_in_without_it(station: Station) -> None:
    entity = AE(ae_title="TLS_STATION")
    entity.add_requested_context("1.2.840.10008.1.1")
    assert not entity.associate("127.0.0.1", station.settings.node.port, ae_title="SUMU").is_established


def test_a_stranger_with_a_certificate_of_its_own_does_not_come_in(station: Station, tmp_path: Path) -> None:
    certificate, key = tmp_path / "stranger.pem", tmp_path / "stranger.key"
    pem, secret = make_certificate("TLS_STATION", ["127.0.0.1"])
    certificate.write_text(pem)
    key.write_text(secret)
    context = station.tls()
    context.load_cert_chain(certificate, key)
    entity: Any = AE(ae_title="TLS_STATION")
    entity.add_requested_context("1.2.840.10008.1.1")
    port = station.settings.node.tls_port
    assert not entity.associate("127.0.0.1", port, ae_title="SUMU", tls_args=(context, None)).is_established
