"""What a device proposed and does not get (PS3.8 9.3.3.2), told in the log with what helps; once an hour at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

import structlog
from pydicom.uid import UID

from core.settings import NodeSettings
from pacs_bridge.devices import AdmittedDevice
from pacs_bridge.receiving import STORAGE_CLASSES, TRANSFER_SYNTAXES
from pacs_bridge.upper_layer.negotiation import AssociationRequest, ProposedContext

log = structlog.get_logger("node")

TOLD_AGAIN_SECONDS = 3600.0
#: Devices and problems that are remembered.
_MOST_REMEMBERED = 1_000
#: SOP classes and transfer syntaxes that one line names.
_MOST_NAMED = 4
_STANDARD = "1.2.840.10008."


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that a device wants and cannot have as it stands."""

    reason: str
    remedy: str


def problems_of(device: AdmittedDevice, request: AssociationRequest, settings: NodeSettings) -> list[Problem]:
    """Return why images that a device wants to send will not be taken; of other services nothing is said.

    A SOP class that is accepted in one of its presentation contexts is no problem.
    """
    if not device.may_store:
        wanted = _names(context for context in request.contexts if context.abstract_syntax in STORAGE_CLASSES)
        lacking = Problem(
            reason=f"It wants to send {wanted} and may not send images.",
            remedy=f"If it should: sumu device admit {device.ae_title} --may store",
        )
        return [lacking] if wanted and not device.may_query else []  # who may fetch proposes them to receive
    problems = []
    unknown = [context for context in request.contexts if not _is_taken(context.abstract_syntax, settings)]
    private = [context for context in unknown if not context.abstract_syntax.startswith(_STANDARD)]
    if private:
        uids = _few(context.abstract_syntax for context in private)
        problems.append(
            Problem(
                reason=f"It wants to send private SOP classes that the settings do not name: {uids}.",
                remedy=f"If they are to be kept, add them to the setting node.private_sop_classes: {uids}",
            )
        )
    known = frozenset(TRANSFER_SYNTAXES)
    readable = {context.abstract_syntax for context in request.contexts if not known.isdisjoint(context.transfer_syntaxes)}
    unreadable = [
        context
        for context in request.contexts
        if _is_taken(context.abstract_syntax, settings) and context.abstract_syntax not in readable
    ]
    if unreadable:
        syntaxes = _few(uid for context in unreadable for uid in context.transfer_syntaxes) or "none"
        problems.append(
            Problem(
                reason=f"It offers {_names(unreadable)} only in transfer syntaxes that are none of the standard: {syntaxes}.",
                remedy="Set the device to one of the standard (Explicit VR Little Endian, JPEG-LS, JPEG 2000): what is coded in "
                "a maker's own way can be neither examined nor shown, and no setting takes it.",
            )
        )
    return problems


class RefusedContexts:
    """Tells each problem of a device once an hour. Threads may share it."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._told_at: dict[tuple[str, Problem], float] = {}
        self._lock = threading.Lock()

    def tell(self, device: AdmittedDevice, request: AssociationRequest) -> None:
        """Write into the log what a device will not get."""
        for problem in problems_of(device, request, self._settings):
            if self._is_new(device.ae_title, problem):
                log.warning("contexts_refused", device=device.ae_title, reason=problem.reason, remedy=problem.remedy)

    def _is_new(self, ae_title: str, problem: Problem) -> bool:
        moment, key = time.monotonic(), (ae_title, problem)
        with self._lock:
            told_at = self._told_at.pop(key, None)
            new = told_at is None or moment - told_at >= TOLD_AGAIN_SECONDS
            self._told_at[key] = moment if new or told_at is None else told_at
            if len(self._told_at) > _MOST_REMEMBERED:
                del self._told_at[next(iter(self._told_at))]
        return new


def _is_taken(sop_class: str, settings: NodeSettings) -> bool:
    private = "*" in settings.private_sop_classes and not sop_class.startswith(_STANDARD)
    return private or sop_class in STORAGE_CLASSES or sop_class in settings.private_sop_classes


def _names(contexts: Iterable[ProposedContext]) -> str:
    return _few(UID(context.abstract_syntax).name for context in contexts)


def _few(words: Iterable[str]) -> str:
    different = list(dict.fromkeys(words))
    more = f" and {len(different) - _MOST_NAMED} more" if len(different) > _MOST_NAMED else ""
    return ", ".join(different[:_MOST_NAMED]) + more
