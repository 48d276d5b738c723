"""Which of these services a device may ask for, and what extended negotiation agrees on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from core.database import Database
from core.settings import Settings
from pacs_bridge.credentials import archive_credentials
from pacs_bridge.devices import AdmittedDevice, DeviceRegister
from pacs_bridge.services.commitment import StorageCommitment
from pacs_bridge.services.holdings import DescribingArchive, Holdings
from pacs_bridge.services.performed_steps import PerformedSteps
from pacs_bridge.services.query import Query
from pacs_bridge.services.refusals import answered
from pacs_bridge.services.refused_contexts import RefusedContexts
from pacs_bridge.services.retrieve import Retrieval
from pacs_bridge.services.sop_classes import (
    MODALITY_WORKLIST,
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    PERFORMED_STEP,
    PERFORMED_STEP_RETRIEVE,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)
from pacs_bridge.services.worklist import Worklist
from pacs_bridge.upper_layer.association import Service
from pacs_bridge.upper_layer.command_set import Field
from pacs_bridge.upper_layer.negotiation import AssociationRequest

#: PS3.4 C.5.1.1: relational queries and combined date-time matching are answered, fuzzy names too, time zones not adjusted.
_FIND_EXTENSIONS = bytes((1, 1, 1, 0))
#: PS3.4 C.5.2.1, C.5.3.1: relational retrieval.
_RETRIEVE_EXTENSIONS = bytes((1,))


@dataclass(frozen=True, kw_only=True)
class Offered:
    """What a device gets beside verification and storage."""

    #: By SOP class and command field. Their data sets are no images.
    services: Mapping[tuple[str, int], Service]
    #: Application information of extended negotiation, by SOP class.
    extended: Mapping[str, bytes]
    #: It may fetch over its own association: storage classes are open to it with the roles turned round.
    may_get: bool


class Services:
    """The services of one node."""

    def __init__(self, settings: Settings, database: Database, devices: DeviceRegister) -> None:
        archive = DescribingArchive(
            settings.archive_address, archive_credentials(settings.secrets), timeout_seconds=settings.archive.timeout_seconds
        )
        self._archive = archive
        query = answered(Query(settings, database, archive))
        retrieval = Retrieval(settings, database, devices, Holdings(settings, database, archive))
        get, move = answered(retrieval.get), answered(retrieval.move)
        steps = PerformedSteps(settings, database)
        self._querying: dict[tuple[str, int], Service] = {
            (PATIENT_ROOT_FIND, Field.C_FIND_RQ): query,
            (STUDY_ROOT_FIND, Field.C_FIND_RQ): query,
            (PATIENT_ROOT_MOVE, Field.C_MOVE_RQ): move,
            (STUDY_ROOT_MOVE, Field.C_MOVE_RQ): move,
            (PATIENT_ROOT_GET, Field.C_GET_RQ): get,
            (STUDY_ROOT_GET, Field.C_GET_RQ): get,
        }
        self._refused = RefusedContexts(settings.node)
        self._worklist = Worklist(settings, database)
        self._examining: dict[tuple[str, int], Service] = {
            (MODALITY_WORKLIST, Field.C_FIND_RQ): answered(self._worklist),
            (PERFORMED_STEP, Field.N_CREATE_RQ): answered(steps.create),
            (PERFORMED_STEP, Field.N_SET_RQ): answered(steps.set),
            (PERFORMED_STEP_RETRIEVE, Field.N_GET_RQ): answered(steps.get),
        }
        self._storing: dict[tuple[str, int], Service] = {
            (STORAGE_COMMITMENT, Field.N_ACTION_RQ): answered(StorageCommitment(settings, database))
        }

    def offer_to(self, device: AdmittedDevice, request: AssociationRequest) -> Offered:
        """Return what a device may ask for, and of what it proposes in extended negotiation what we agree to."""
        self._refused.tell(device, request)
        services: dict[tuple[str, int], Service] = {}
        if device.may_store:
            services |= self._storing
        if device.may_ask_worklist:
            services |= self._examining
        if device.may_query:
            services |= self._querying
        extended = {}
        for sop_class in {sop_class for sop_class, _ in services} & set(request.extended):
            ours = _FIND_EXTENSIONS if sop_class in (PATIENT_ROOT_FIND, STUDY_ROOT_FIND) else _RETRIEVE_EXTENSIONS
            extended[sop_class] = bytes(ours_ & theirs for ours_, theirs in zip(ours, request.extended[sop_class], strict=False))
        return Offered(services=services, extended=extended, may_get=device.may_query)

    def close(self) -> None:
        """Write down what is still to be written, and give back the connections to the archive."""
        self._worklist.close()
        self._archive.close()
