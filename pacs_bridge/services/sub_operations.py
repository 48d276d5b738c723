"""The counts of C-MOVE and C-GET (PS3.4 C.4.2.1.5 to C.4.2.1.8): one sub-operation an instance, each of them told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import structlog
from pydicom import Dataset

from core.errors import SumuError
from pacs_bridge.services.data_sets import write_answer
from pacs_bridge.services.holdings import Held
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.sop_classes import SOME_FAILED, UNABLE_TO_PERFORM
from pacs_bridge.upper_layer.association import (
    CANCELLED,
    PENDING,
    SUCCESS,
    Answer,
    BrokenProtocol,
    Message,
    PeerAborted,
    PeerReleased,
)
from pacs_bridge.upper_layer.command_set import MalformedCommand, Tag, Value
from pacs_bridge.upper_layer.wire import PeerGone, PeerSilent

log = structlog.get_logger("node")

#: They end the association that asked, or refuse the whole request, and are no failure of one instance.
_NOT_OF_ONE_INSTANCE = (BrokenProtocol, MalformedCommand, PeerAborted, PeerGone, PeerReleased, PeerSilent, Refused)
#: Counts are US: two bytes.
_MOST = 0xFFFF
#: PS3.4 B.2.3: stored, with something to say about it.
_WARNINGS = range(0xB000, 0xC000)


def send_each(message: Message, instances: Sequence[Held], send: Callable[[Held], int]) -> Iterator[Answer]:
    """Send instance by instance and tell after each how far it is.

    Parameters
    ----------
    send
        Sends one and returns the status that the receiver gave it. What it raises as :class:`SumuError` is a failure of this
        instance; the others go on.
    """
    completed = warned = 0
    failed: list[str] = []

    def counts(status: int, remaining: int | None) -> Answer:
        elements: dict[int, Value] = {
            Tag.COMPLETED: min(completed, _MOST), Tag.FAILED: min(len(failed), _MOST), Tag.WARNED: min(warned, _MOST),
        }  # fmt: skip
        if remaining is not None:
            elements[Tag.REMAINING] = min(remaining, _MOST)
        listed = failed if status != PENDING else []
        return Answer(status=status, elements=elements, data_set=_failures(listed, message) if listed else None)

    for place, held in enumerate(instances):
        if message.cancelled():
            yield counts(CANCELLED, len(instances) - place)
            return
        try:
            status = send(held)
        except _NOT_OF_ONE_INSTANCE:
            raise
        except SumuError as error:
            log.warning(
                "instance_not_sent", instance=held.sop_instance_uid, device=message.device.ae_title,
                reason=str(error.args[0]), remedy=error.remedy,
            )  # fmt: skip
            failed.append(held.sop_instance_uid)
        else:
            if status == SUCCESS:
                completed += 1
            elif status in _WARNINGS:
                warned += 1
            else:
                log.warning("instance_not_taken", instance=held.sop_instance_uid, status=f"0x{status:04X}")
                failed.append(held.sop_instance_uid)
        if place + 1 < len(instances):
            yield counts(PENDING, len(instances) - place - 1)
    if failed and not completed and not warned:
        yield counts(UNABLE_TO_PERFORM, None)
    else:
        yield counts(SOME_FAILED if failed or warned else SUCCESS, None)


def _failures(uids: Sequence[str], message: Message) -> bytes:
    """Return the identifier of a response: Failed SOP Instance UID List (0008,0058)."""
    answer = Dataset()
    answer.FailedSOPInstanceUIDList = list(uids)
    return write_answer(answer, message.context.transfer_syntax)
