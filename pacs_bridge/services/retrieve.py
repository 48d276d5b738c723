"""C-MOVE and C-GET (PS3.4 C.4.2, C.4.3): instances to another device, or back over the asking device's own association."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pynetdicom.dsutils import split_dataset

from core.audit import record
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.devices import AdmittedDevice, DeviceRegister
from pacs_bridge.services.conversion import Converter
from pacs_bridge.services.data_sets import read_request
from pacs_bridge.services.holdings import Held, Holdings
from pacs_bridge.services.peers import BROKEN, DeviceAway, NoWayToDevice, association_with
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.selection import level_of, select_instances
from pacs_bridge.services.sop_classes import (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    NOT_AUTHORISED,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    UNKNOWN_DESTINATION,
)
from pacs_bridge.services.study_rows import scope_of
from pacs_bridge.services.sub_operations import send_each
from pacs_bridge.upper_layer.association import Answer, Message
from pacs_bridge.upper_layer.calling import CallingAssociation
from pacs_bridge.upper_layer.command_set import Tag, Value
from pacs_bridge.upper_layer.negotiation import Context

#: SOP class and transfer syntaxes of the presentation contexts of one association.
Proposal = list[tuple[str, tuple[str, ...]]]
#: What every receiver can decode, in the order of preference.
NATIVE = (EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN)
#: Presentation contexts of one association (PS3.8 9.3.2.2: odd numbers up to 255).
MOST_CONTEXTS = 128
#: A destination that refused so many associations one after the other is not called again for the same request.
MOST_REFUSALS = 2
_PIECE = 1 << 20


class NoCommonSyntax(SumuError):
    """The receiver takes neither this SOP class nor a transfer syntax that we can make of it."""

    def __init__(self, held: Held) -> None:
        super().__init__(
            f"The receiver accepts no transfer syntax for {held.sop_instance_uid} of SOP class {held.sop_class_uid}.",
            remedy="Have its storage service configured for this SOP class with Explicit VR Little Endian.",
        )


class Retrieval:
    """Answers C-MOVE and C-GET. Threads may share it."""

    def __init__(self, settings: Settings, database: Database, devices: DeviceRegister, holdings: Holdings) -> None:
        self._settings, self._database, self._devices, self._holdings = settings, database, devices, holdings

    def get(self, message: Message) -> Iterator[Answer]:
        """Send over the association that asks (PS3.4 C.4.3)."""
        instances = self._selected(message, message.device, patient_root=message.context.abstract_syntax == PATIENT_ROOT_GET)
        by_class: dict[str, list[Context]] = defaultdict(list)
        for context in message.association.contexts.values():
            if context.caller_is_scp:
                by_class[context.abstract_syntax].append(context)
        with Converter() as converter:

            def send(held: Held) -> int:
                accepted = {context.transfer_syntax: context for context in by_class[held.sop_class_uid]}
                with self._prepared(held, list(accepted), converter) as (path, syntax, offset):
                    elements = {Tag.AFFECTED_SOP_CLASS: held.sop_class_uid, Tag.AFFECTED_SOP_INSTANCE: held.sop_instance_uid}
                    return message.association.store_to_peer(accepted[syntax], elements, _pieces(path, offset))

            yield from send_each(message, instances, send)

    def move(self, message: Message) -> Iterator[Answer]:
        """Send to the device that the request names (PS3.4 C.4.2)."""
        name = message.command.text(Tag.MOVE_DESTINATION)
        destination = self._devices.all().get(name)
        if destination is None or destination.address is None or destination.port is None:
            raise Refused(
                UNKNOWN_DESTINATION,
                f"The move destination '{name}' is unknown." if destination is None else f"'{name}' has no address and port.",
                remedy=f"sumu device admit {name} --organisation CODE --address ADDRESS --port PORT",
            )
        instances = self._selected(message, destination, patient_root=message.context.abstract_syntax == PATIENT_ROOT_MOVE)
        with Converter() as converter, ExitStack() as open_ones:
            courier = _Courier(self, message, destination, instances, converter, open_ones)
            yield from send_each(message, instances, courier.send)

    def _selected(self, message: Message, receiver: AdmittedDevice, *, patient_root: bool) -> list[Held]:
        """Return what is to be sent, and leave a trace of it before anything goes out."""
        identifier = read_request(message)
        level_of(identifier, patient_root=patient_root)
        with self._database.reading() as session:
            instances = select_instances(session, identifier, scope_of(session, message.device))
            if receiver.organisation_id != message.device.organisation_id:
                allowed = select_instances(session, identifier, scope_of(session, receiver))
                if len(allowed) != len(instances):
                    raise Refused(
                        NOT_AUTHORISED, f"The organisation of '{receiver.ae_title}' may not see this study.",
                        remedy="Fetch it to a device of the organisation that examined it, or of one above.",
                    )  # fmt: skip
        studies: dict[str, int] = defaultdict(int)
        for held in instances:
            studies[held.study_instance_uid] += 1
        if studies:
            with self._database.writing() as session:
                for study, count in studies.items():
                    record(
                        session, f"device:{message.device.ae_title}", "images_fetched", f"study:{study}",
                        {"to": receiver.ae_title, "instances": count, "association": message.association.id},
                    )  # fmt: skip
        return instances

    @contextmanager
    def _prepared(self, held: Held, accepted: Sequence[str], converter: Converter) -> Iterator[tuple[Path, str, int]]:
        """Give a file in one of the accepted transfer syntaxes, that syntax, and where its data set begins.

        Raises
        ------
        NoCommonSyntax, CannotConvert, NotHere, ArchiveUnreachable
            If there is none.
        """
        if not accepted:
            raise NoCommonSyntax(held)
        with self._holdings.file(held) as path:
            meta, offset = split_dataset(path)
            if meta.TransferSyntaxUID in accepted:
                yield path, str(meta.TransferSyntaxUID), offset
                return
            native = next((syntax for syntax in NATIVE if syntax in accepted), None)
            if native is None:
                raise NoCommonSyntax(held)
            with self._holdings.scratch() as folder:
                converted = converter.convert(path, folder / "converted.dcm", native)
                yield converted, native, split_dataset(converted)[1]


class _Courier:
    """Brings the instances of one C-MOVE to its destination, over one association after the other where one is not enough."""

    def __init__(
        self, retrieval: Retrieval, message: Message, destination: AdmittedDevice, instances: Sequence[Held],
        converter: Converter, open_ones: ExitStack,
    ) -> None:  # fmt: skip
        self._retrieval, self._message, self._destination = retrieval, message, destination
        self._converter, self._open_ones = converter, open_ones
        syntaxes = retrieval._holdings.transfer_syntaxes(instances)
        self._proposals = _proposals(instances, syntaxes)
        self._association: CallingAssociation | None = None
        self._proposed: Proposal | None = None
        self._refusals = 0

    def send(self, held: Held) -> int:
        """Send one instance and return its status."""
        association = self._association_for(held)
        accepted = {
            context.transfer_syntax: context
            for context in association.contexts
            if context.abstract_syntax == held.sop_class_uid
        }  # fmt: skip
        with self._retrieval._prepared(held, list(accepted), self._converter) as (path, syntax, offset):
            elements: dict[int, Value] = {
                Tag.AFFECTED_SOP_CLASS: held.sop_class_uid,
                Tag.AFFECTED_SOP_INSTANCE: held.sop_instance_uid,
                Tag.MOVE_ORIGINATOR: self._message.device.ae_title,
                Tag.MOVE_ORIGINATOR_MESSAGE: self._message.command.number(Tag.MESSAGE_ID),
            }
            try:
                return association.store(accepted[syntax], elements, _pieces(path, offset))
            except BROKEN as error:
                association.abort()
                self._association = None
                raise DeviceAway(self._destination, str(error.args[0])) from error

    def _association_for(self, held: Held) -> CallingAssociation:
        """Return an association that proposes this SOP class; a new one where the last has others, or has ended."""
        wanted = next(group for group in self._proposals if any(sop_class == held.sop_class_uid for sop_class, _ in group))
        if self._association is None or wanted is not self._proposed:
            self._open_ones.close()
            self._association = None
            if self._refusals >= MOST_REFUSALS:
                raise DeviceAway(self._destination, "it is not called again for this request.")
            self._refusals += 1
            try:
                self._association = self._open_ones.enter_context(
                    association_with(self._destination, wanted, self._retrieval._settings)
                )
            except NoWayToDevice as error:
                raise Refused(UNKNOWN_DESTINATION, str(error.args[0]), remedy=error.remedy) from error
            self._refusals = 0
            self._proposed = wanted
        return self._association


def _proposals(instances: Sequence[Held], syntaxes: Mapping[int, str]) -> list[Proposal]:
    """Return presentation contexts by association: for each SOP class its stored syntaxes one by one, and the native ones.

    One syntax each: of several in one context the receiver would choose.
    """
    stored: dict[str, dict[str, None]] = defaultdict(dict)
    for held in instances:
        stored[held.sop_class_uid][syntaxes[held.id]] = None
    groups: list[Proposal] = [[]]
    for sop_class, of_class in stored.items():
        wanted = dict.fromkeys([*of_class, *NATIVE])
        if len(groups[-1]) + len(wanted) > MOST_CONTEXTS:
            groups.append([])
        groups[-1] += [(sop_class, (syntax,)) for syntax in wanted]
    return groups


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(_PIECE):
            yield piece
