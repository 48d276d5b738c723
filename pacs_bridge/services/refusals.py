"""A request that cannot be answered is answered with its status, never by ending the association."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import structlog
from sqlalchemy.exc import DBAPIError

from core.errors import SumuError
from pacs_bridge.archive import ArchiveUnreachable
from pacs_bridge.services.sop_classes import (
    OUT_OF_RESOURCES,
    PENDING_WITHOUT_SOME_KEYS,
    PROCESSING_FAILURE,
    UNABLE_TO_PROCESS,
)
from pacs_bridge.upper_layer.association import PENDING, Answer, Message, Service
from pacs_bridge.upper_layer.command_set import Field, Tag

log = structlog.get_logger("node")

#: Error Comment (0000,0902) is an LO.
_COMMENT_LENGTH = 64


class Refused(SumuError):
    """A request that is answered with a failure status."""

    def __init__(self, status: int, message: str, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status


def answered(service: Callable[[Message], Iterator[Answer]]) -> Service:
    """Wrap a service so that what it raises becomes the last answer, with a line in the log that names the remedy."""

    def guarded(message: Message) -> Iterator[Answer]:
        ended = False
        try:
            for answer in service(message):
                yield answer
                ended = answer.status not in (PENDING, PENDING_WITHOUT_SOME_KEYS)
            return
        except Refused as refused:
            failure = _failure(message, refused.status, refused)
        except ArchiveUnreachable as error:
            failure = _failure(message, _failure_status(message, OUT_OF_RESOURCES), error)
        except DBAPIError as error:
            away = SumuError(f"The database is away ({type(error).__name__}).", remedy="The device asks again.")
            failure = _failure(message, _failure_status(message, OUT_OF_RESOURCES), away)
        if not ended:  # what comes after the last answer is nobody's answer
            yield failure

    return guarded


def unable(message: Message) -> int:
    """Return the status for a request that cannot be understood."""
    return _failure_status(message, UNABLE_TO_PROCESS)


def _failure_status(message: Message, composite: int) -> int:
    """Return the status of a failure: services on normalised objects have one of their own (PS3.7 C.5.10)."""
    of_composite = (Field.C_FIND_RQ, Field.C_MOVE_RQ, Field.C_GET_RQ)
    return composite if message.command.field in of_composite else PROCESSING_FAILURE


def _failure(message: Message, status: int, error: SumuError) -> Answer:
    log.warning(
        "request_refused", device=message.device.ae_title, field=f"0x{message.command.field:04X}", status=f"0x{status:04X}",
        reason=str(error.args[0]), remedy=error.remedy,
    )  # fmt: skip
    return Answer(status=status, elements={Tag.ERROR_COMMENT: str(error.args[0])[:_COMMENT_LENGTH]})
