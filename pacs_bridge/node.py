"""The DICOM node: answers C-ECHO and C-STORE, and acknowledges an instance only when it is durable in the spool."""

from __future__ import annotations

import signal
import tempfile
import threading
import uuid
from pathlib import Path
from types import FrameType

import structlog
from pydicom._uid_dict import UID_dictionary
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.devices import AdmittedDevice, DeviceRegister
from pacs_bridge.registrar import Ended, Opened, Registrar
from pacs_bridge.spool import Spool, SpoolFull

log = structlog.get_logger("node")

#: PS3.4 B.2.3: the statuses that this node answers a C-STORE with.
SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
#: PS3.8 9.3.4: rejected permanently, by the service user, calling AE title not recognised.
REJECT_CALLING_AE_TITLE = (0x01, 0x01, 0x03)

TRANSFER_SYNTAXES = [
    uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax" and uid != "1.2.840.10008.1.2.4.94"
]


class Node:
    """One receiving process."""

    def __init__(self, settings: Settings, database: Database, *, name: str) -> None:
        self._settings = settings
        self._spool = Spool(settings.spool, receiver=f"node-{name}", free_bytes=settings.node.free_bytes)
        self._devices = DeviceRegister(database)
        self._registrar = Registrar(settings, database, self._spool, self._devices, node=f"{settings.machine}/node-{name}")
        self._callers: dict[str, AdmittedDevice] = {}
        self._application: AE | None = None

    def start(self) -> None:
        """Listen. What an earlier process was still receiving is dropped, what it acknowledged is registered."""
        dropped = self._spool.clear_arriving()
        # pynetdicom writes each data set to a temporary file as it comes: flat memory for any size, and a rename from
        # ``arriving`` is all that is left to do when it is whole.
        _config.STORE_RECV_CHUNKED_DATASET = True
        tempfile.tempdir = str(self._spool.arriving)
        self._registrar.start()
        self._application = self._entity()
        self._application.start_server(
            (self._settings.node.host, self._settings.node.port), block=False, evt_handlers=self._handlers()
        )
        log.info(
            "node_listens",
            ae_title=self._settings.node.ae_title,
            port=self._settings.node.port,
            unacknowledged_files_dropped=dropped,
        )

    def stop(self) -> None:
        """Stop listening, abort what is open, and write the last rows: a device sends again what was not acknowledged."""
        if self._application is not None:
            self._application.shutdown()
        self._registrar.stop()

    def _entity(self) -> AE:
        entity = AE(ae_title=self._settings.node.ae_title)
        entity.maximum_associations = self._settings.node.max_associations
        entity.maximum_pdu_size = self._settings.node.max_pdu_bytes
        entity.network_timeout = entity.dimse_timeout = self._settings.node.idle_seconds
        entity.acse_timeout = min(30, self._settings.node.idle_seconds)
        entity.add_supported_context(Verification)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax or "", TRANSFER_SYNTAXES)
        return entity

    def _handlers(self) -> list[evt.EventHandlerType]:
        return [
            (evt.EVT_REQUESTED, self._meet),
            (evt.EVT_ACCEPTED, self._open),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_C_STORE, self._receive),
            (evt.EVT_RELEASED, self._end, ["released"]),
            (evt.EVT_ABORTED, self._end, ["aborted"]),
            (evt.EVT_CONN_CLOSE, self._end, ["lost"]),
        ]

    def _meet(self, event: Event) -> None:
        """Admit or refuse the caller (PS3.8 7.1)."""
        request = event.assoc.requestor.primitive
        ae_title = (request.calling_ae_title or "").strip() if request else ""
        address = event.assoc.requestor.address or ""
        try:
            self._callers[_name(event)] = self._devices.admit(ae_title, address)
        except SumuError as refusal:
            log.warning(
                "association_refused", device=ae_title, address=address, reason=str(refusal.args[0]), remedy=refusal.remedy
            )
            event.assoc.acse.send_reject(*REJECT_CALLING_AE_TITLE)
            event.assoc.kill()

    def _open(self, event: Event) -> None:
        device = self._callers[_name(event)]
        self._registrar.tell(
            Opened(association_id=_name(event), device=device, address=event.assoc.requestor.address or "", at=now())
        )

    def _receive(self, event: Event) -> int:
        """C-STORE (PS3.7 9.1.1): durable first, then acknowledged."""
        device = self._callers[_name(event)]
        try:
            self._spool.check_space()
            self._spool.keep(Path(event.dataset_path), association_id=_name(event), ae_title=device.ae_title)
        except SpoolFull as full:
            log.error("store_refused", device=device.ae_title, reason=str(full.args[0]), remedy=full.remedy)
            return OUT_OF_RESOURCES
        except OSError as error:
            log.error("store_failed", device=device.ae_title, error=str(error), remedy="Check the disk of the data folder.")
            return OUT_OF_RESOURCES
        self._registrar.ring()
        return SUCCESS

    def _end(self, event: Event, outcome: str) -> None:
        """The first of release, abort and a closed connection decides how an association ended."""
        if self._callers.pop(_name(event), None) is not None:
            self._registrar.tell(Ended(association_id=_name(event), outcome=outcome, at=now()))


def _name(event: Event) -> str:
    """Return the association's own name, made when it is first met."""
    name: str | None = getattr(event.assoc, "sumu_id", None)
    if name is None:
        name = uuid.uuid4().hex
        event.assoc.sumu_id = name  # type: ignore[attr-defined]
    return name


def run_node(settings: Settings, *, name: str = "1") -> None:
    """Receive until told to stop (SIGTERM or SIGINT). ``name`` tells the nodes of one machine apart."""
    stop = threading.Event()

    def ask_to_stop(_: int, __: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    database = Database(settings.database_address)
    node = Node(settings, database, name=name)
    node.start()
    stop.wait()
    node.stop()
    database.close()
