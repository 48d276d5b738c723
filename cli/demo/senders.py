"""Three township devices: DCMTK's storescu, each with its own AE title, all at once, each as patient as a real machine."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from cli.demo.samples import Shipment
from core.errors import SumuError
from core.settings import Settings

#: storescu proposes compressed transfer syntaxes only when it is told to.
PROPOSE = {
    JPEGBaseline8Bit: "-xy",
    JPEGExtended12Bit: "-xx",
    JPEGLosslessSV1: "-xs",
    JPEG2000Lossless: "-xv",
    JPEG2000: "-xw",
    JPEGLSLossless: "-xt",
    RLELossless: "-xr",
    DeflatedExplicitVRLittleEndian: "-xd",
}


class DeviceGaveUp(SumuError):
    """A simulated device could not deliver in all its tries."""

    def __init__(self, ae_title: str, answer: str) -> None:
        super().__init__(f"{ae_title} could not send: {answer.strip()[-300:]}", remedy="Read the node's log in the data folder.")


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One instance that its device believes to be delivered."""

    ae_title: str
    study_instance_uid: str
    sop_instance_uid: str
    modality: str


def send_all(shipments: Sequence[Shipment], settings: Settings, *, patience_seconds: float = 120) -> list[Sent]:
    """Let every device send at once, and return what was acknowledged.

    Raises
    ------
    DeviceGaveUp
        If a device is refused for longer than its patience.
    """
    together = threading.Barrier(len(shipments))

    def one(shipment: Shipment) -> list[Sent]:
        together.wait()
        return _send(shipment, settings, time.monotonic() + patience_seconds)

    with ThreadPoolExecutor(len(shipments)) as devices:
        return [sent for of_device in devices.map(one, shipments) for sent in of_device]


def _send(shipment: Shipment, settings: Settings, deadline: float) -> list[Sent]:
    by_syntax: dict[str, list[Path]] = defaultdict(list)
    sent = []
    for path in shipment.files:
        header = pydicom.dcmread(path, stop_before_pixels=True)
        by_syntax[header.file_meta.TransferSyntaxUID].append(path)
        sent.append(
            Sent(
                ae_title=shipment.ae_title,
                study_instance_uid=str(header.StudyInstanceUID),
                sop_instance_uid=str(header.SOPInstanceUID),
                modality=str(header.Modality),
            )
        )
    for syntax, paths in by_syntax.items():
        _push(shipment.ae_title, PROPOSE.get(pydicom.uid.UID(syntax)), paths, settings, deadline)
    return sent


def _push(ae_title: str, propose: str | None, paths: Sequence[Path], settings: Settings, deadline: float) -> None:
    """Push until every file is acknowledged; what was refused or cut is sent again, as devices do."""
    call = ["storescu", "-R", *([propose] if propose else []), "-aet", ae_title, "-aec", settings.node.ae_title]
    where = ["127.0.0.1", str(settings.node.port)]
    while True:
        answer = subprocess.run(
            [*call, *where, *map(str, paths)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "TCP_NODELAY": "1"},
        )
        if answer.returncode == 0:
            return
        if time.monotonic() > deadline:
            raise DeviceGaveUp(ae_title, answer.stderr or answer.stdout)
        time.sleep(1)
