"""C-STORE as the node answers it: durable first, then acknowledged (PS3.4 B, PS3.7 9.1.1)."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from pydicom._uid_dict import UID_dictionary
from pynetdicom import AllStoragePresentationContexts

from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.part10 import file_head
from pacs_bridge.rates import Rates, TooMany
from pacs_bridge.spool import Spool, SpoolFull
from pacs_bridge.upper_layer.association import SUCCESS, Answer, Message
from pacs_bridge.upper_layer.command_set import Tag

log = structlog.get_logger("node")

#: PS3.4 B.2.3: the statuses beside success that this node answers a C-STORE with.
OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0xA700, 0xC000

#: Every transfer syntax in which a data set can come; 1.2.840.10008.1.2.4.94 and .95 hold only the address of the pixels.
TRANSFER_SYNTAXES = tuple(
    uid
    for uid, entry in UID_dictionary.items()
    if entry[1] == "Transfer Syntax" and uid not in ("1.2.840.10008.1.2.4.94", "1.2.840.10008.1.2.4.95")
)
STORAGE_CLASSES = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)

#: PS3.4 B.3.1: level 2 (full) storage, no say about signatures, and text may be coerced, with the original kept.
STORAGE_LEVEL = bytes((2, 0, 0, 0, 1, 0))


class TooLarge(SumuError):
    """An instance exceeds what its device may send."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"The instance is larger than the {limit >> 20} MiB that are allowed.",
            remedy="If it is right: sumu device admit AE --max-mib, or node.max_instance_bytes.",
        )


class Receiver:
    """Takes instances into the spool."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._limit, self._spool = settings.node.max_instance_bytes, spool
        self._rates = Rates()

    def __call__(self, message: Message) -> Iterator[Answer]:
        """Receive one instance and answer with its status."""
        association, device, context = message.association, message.device, message.context
        if not message.command.has_data_set:
            yield Answer(status=CANNOT_UNDERSTAND, elements={Tag.ERROR_COMMENT: "No data set"})
            return
        pieces = association.data_set_pieces(context)
        try:
            self._rates.check(device)
            self._spool.check_space()
            sop_class = message.command.text(Tag.AFFECTED_SOP_CLASS) or context.abstract_syntax
            head = file_head(sop_class, message.command.text(Tag.AFFECTED_SOP_INSTANCE), context.transfer_syntax, device.ae_title)
            limit = min(self._limit, device.max_instance_bytes or self._limit)
            arriving = self._spool.begin(head)
            kept = False
            try:
                for piece in pieces:
                    if arriving.size + len(piece) > limit:
                        raise TooLarge(limit)
                    arriving.write(piece)
                self._spool.keep(arriving, association_id=association.id, ae_title=device.ae_title)
                kept = True
            finally:
                arriving.close(drop=not kept)
        except (SpoolFull, TooLarge, TooMany) as refusal:
            log.error("store_refused", device=device.ae_title, reason=str(refusal.args[0]), remedy=refusal.remedy)
            comment = type(refusal).__name__
        except OSError as error:
            log.error("store_failed", device=device.ae_title, error=str(error), remedy="Check the disk of the data folder.")
            comment = "Disk failure"
        else:
            yield Answer(status=SUCCESS)
            return
        for _ in pieces:  # what is still on the line, so that the association can go on
            pass
        yield Answer(status=OUT_OF_RESOURCES, elements={Tag.ERROR_COMMENT: comment})
