"""The DICOM node: who may call it, and which services answer."""

from __future__ import annotations

import hashlib
import hmac
import signal
import threading
from collections.abc import Iterator
from types import FrameType

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.settings import Settings
from pacs_bridge.devices import PROBE, AdmittedDevice, DeviceRegister, NotAdmitted
from pacs_bridge.part10 import IMPLEMENTATION_UID, IMPLEMENTATION_VERSION
from pacs_bridge.receiving import STORAGE_CLASSES, STORAGE_LEVEL, TRANSFER_SYNTAXES, Receiver
from pacs_bridge.refused_callers import RefusedCallers
from pacs_bridge.services.offered import Services
from pacs_bridge.spool import Spool
from pacs_bridge.tls import ServerTls
from pacs_bridge.upper_layer.association import Answer, Association, Message, Service
from pacs_bridge.upper_layer.command_set import Field
from pacs_bridge.upper_layer.listener import Caller, Listener, Offer
from pacs_bridge.upper_layer.negotiation import AssociationRequest, Refusal

log = structlog.get_logger("node")

VERIFICATION = "1.2.840.10008.1.1"
#: Uncompressed, for services whose data sets are not images.
PLAIN_SYNTAXES = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.2")
USER_NAME, USER_NAME_AND_PASSCODE = 1, 2


class Node:
    """One receiving process."""

    def __init__(self, settings: Settings, database: Database, *, name: str) -> None:
        self._settings = settings
        self._spool = Spool(settings.spool, receiver=f"node-{name}", free_bytes=settings.node.free_bytes)
        self._devices = DeviceRegister(database)
        self._refused = RefusedCallers(database)
        self._receiver = Receiver(settings, self._spool)
        self._services = Services(settings, database, self._devices)
        self._storage_classes = STORAGE_CLASSES | {uid for uid in settings.node.private_sop_classes if uid != "*"}
        self._any_private = "*" in settings.node.private_sop_classes
        self._listener = Listener(settings.node, self, implementation=(IMPLEMENTATION_UID, IMPLEMENTATION_VERSION))

    def start(self) -> None:
        """Listen. What an earlier process of this name was still receiving is dropped: it was not acknowledged."""
        dropped = self._spool.clear_arriving()
        self._spool.note("started")
        self._refused.start()
        self._listener.listen(self._settings.node.port)
        if self._settings.node.tls_port:
            tls = ServerTls(self._settings)
            self._listener.listen(self._settings.node.tls_port, lambda: tls.context(self._certificates()))
        log.info(
            "node_listens",
            ae_title=self._settings.node.ae_title,
            port=self._settings.node.port,
            tls_port=self._settings.node.tls_port,
            unacknowledged_files_dropped=dropped,
        )

    def stop(self) -> None:
        """Stop listening and cut what is open: a device sends again what was not acknowledged."""
        self._listener.stop()
        self._refused.stop()
        self._services.close()

    def admit(self, request: AssociationRequest, caller: Caller) -> AdmittedDevice:
        """Return the device that calls (PS3.8 7.1), or raise :class:`Refusal` and note the caller for an administrator."""
        ae_title = request.calling_ae_title
        try:
            device = self._devices.admit(ae_title, caller.address, caller.certificate_sha256)
        except NotAdmitted as error:
            if ae_title != PROBE:
                self._refused.note(ae_title, caller.address, caller.certificate_sha256, error)
            raise Refusal(str(error.args[0]), remedy=error.remedy) from error
        except DBAPIError as error:
            raise Refusal(
                "The database is away, and the device is not remembered.", remedy="It calls again.", because=Refusal.BUSY
            ) from error
        _check_identity(request, device)
        return device

    def offer_to(self, device: AdmittedDevice, request: AssociationRequest) -> Offer:
        """Return the services that a device may ask for."""
        syntaxes: dict[str, tuple[str, ...]] = {VERIFICATION: PLAIN_SYNTAXES}
        services: dict[tuple[str, int], Service] = {(VERIFICATION, Field.C_ECHO_RQ): _echo}
        if device.may_store:
            for sop_class in self._storage_classes | self._private_classes(request):
                syntaxes[sop_class] = TRANSFER_SYNTAXES
                services[sop_class, Field.C_STORE_RQ] = self._receiver
        offered = self._services.offer_to(device, request)
        services.update(offered.services)
        syntaxes.update(dict.fromkeys((sop_class for sop_class, _ in offered.services), PLAIN_SYNTAXES))
        fetched = self._storage_classes if offered.may_get else frozenset[str]()
        for sop_class in fetched:
            syntaxes.setdefault(sop_class, TRANSFER_SYNTAXES)
        return Offer(
            syntaxes=syntaxes,
            services=services,
            caller_may_be_scp=fetched,
            extended={**dict.fromkeys(self._storage_classes if device.may_store else (), STORAGE_LEVEL), **offered.extended},
        )

    def _certificates(self) -> list[str]:
        return [device.certificate for device in self._devices.all().values() if device.certificate]

    def _private_classes(self, request: AssociationRequest) -> set[str]:
        """Return what a caller proposes of nobody's standard, where the settings take everybody's private classes."""
        proposed = {context.abstract_syntax for context in request.contexts} if self._any_private else set()
        return {uid for uid in proposed if not uid.startswith("1.2.840.10008.")}

    def opened(self, association: Association) -> None:
        """Leave a note for the books."""
        self._spool.note(
            "opened", association_id=association.id, ae_title=association.device.ae_title, address=association.address
        )

    def ended(self, association: Association, outcome: str) -> None:
        """Leave a note for the books."""
        self._spool.note(
            outcome, association_id=association.id, ae_title=association.device.ae_title, address=association.address
        )


def _echo(_: Message) -> Iterator[Answer]:
    """C-ECHO (PS3.7 9.1.5)."""
    yield Answer()


def _check_identity(request: AssociationRequest, device: AdmittedDevice) -> None:
    """Check a user identity (PS3.7 D.3.3.7) where the device has a token: the passcode must be it."""
    identity = request.identity
    if identity is None or identity.type not in (USER_NAME, USER_NAME_AND_PASSCODE) or device.token_hash is None:
        return
    shown = hashlib.sha256(identity.secondary).hexdigest()
    if not hmac.compare_digest(shown, device.token_hash):
        raise Refusal(
            f"The device '{device.ae_title}' gave a wrong passcode.",
            remedy=f"Give it a new one: sumu device token {device.ae_title}",
            because=Refusal.IDENTITY,
        )


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
