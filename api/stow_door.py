"""The HTTPS door of the spool: one for each web process, used by threads. What it answers for is durable, as after C-STORE."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import structlog

from api.refusals import N_, Refusal
from api.stow_answer import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, WRONG_STUDY, Outcome
from api.stow_multipart import split
from api.stow_part import ArrivingPart, Forwarded, NotAnInstance, prediction_in
from api.stow_sender import Origin, Sender, origin_of
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from pacs_bridge.devices import DeviceRegister
from pacs_bridge.edge import words
from pacs_bridge.edge.prediction import Bands, restore
from pacs_bridge.examination.guard import Examiner
from pacs_bridge.examination.limits import Limits
from pacs_bridge.rates import Rates, TooMany
from pacs_bridge.registrar import STOW_RECEIVER
from pacs_bridge.spool import ArrivingFile, Spool, SpoolFull

log = structlog.get_logger("stow")

#: Requests taken in at once, and of one device.
MOST_AT_ONCE, MOST_OF_DEVICE = 48, 8
#: An edge's association of which nothing more comes is ended after so long.
SILENT_SECONDS = 300.0


class Busy(Refusal):
    """Too many requests are being taken in."""

    status: ClassVar[int] = 503
    message_id = N_("Too many uploads are under way.")
    remedy_id = N_("Try again after the time that Retry-After says.")


class OtherStudy(SumuError):
    """An instance of another study than the address names (PS3.18 10.5.1)."""

    def __init__(self, study_instance_uid: str) -> None:
        super().__init__(f"The instance is of another study than {study_instance_uid}.", remedy="Send it to /dicom-web/studies.")


class StowDoor:
    """Takes instances into the spool. Threads share it."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """Open the spool; what an earlier process of this port left half received is dropped."""
        receiver = f"{STOW_RECEIVER}{settings.web.port}"
        self.settings, self.devices = settings, DeviceRegister(database)
        self.spool = Spool(settings.spool, receiver=receiver, free_bytes=settings.node.free_bytes)
        self.spool.clear_arriving()
        self.spool.note("started")
        self.associations = EdgeAssociations(self.spool)
        self.rates = Rates()
        self._examiner: Examiner | None = None
        self._lock = threading.Lock()
        self._under_way = Counter[int]()

    def close(self) -> None:
        """End what it started."""
        if self._examiner is not None:
            self._examiner.close()

    @contextmanager
    def turn(self, sender: Sender) -> Iterator[None]:
        """Count a request while it is taken in.

        Raises
        ------
        Busy
            If there are too many.
        """
        with self._lock:
            if self._under_way.total() >= MOST_AT_ONCE or self._under_way[sender.device.id] >= MOST_OF_DEVICE:
                raise Busy
            self._under_way[sender.device.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[sender.device.id] -= 1

    def receive(self, pieces: Iterable[bytes], boundary: str, sender: Sender, study_instance_uid: str = "") -> list[Outcome]:
        """Take in the parts of one request and return what became of each.

        Raises
        ------
        api.refusals.Refusal
            If the body breaks; the parts that came whole before are kept.
        """
        reception = Reception(self, sender, study_instance_uid)
        try:
            split(pieces, boundary, reception)
        finally:
            reception.close()
        return reception.outcomes

    def limit_of(self, sender: Sender, origin: Origin) -> int:
        """Return the bytes that an instance may have."""
        devices = (sender.device.max_instance_bytes, origin.device.max_instance_bytes)
        return min(self.settings.node.max_instance_bytes, *(limit for limit in devices if limit is not None), 1 << 62)

    def study_of(self, path: Path) -> str:
        """Return the Study Instance UID of a file, read within the bounds of an examination.

        Raises
        ------
        core.errors.SumuError
            If it is none that parsers may see.
        """
        with self._lock:
            if self._examiner is None:
                self._examiner = Examiner(Limits(**self.settings.examination.model_dump()))
        verdict = self._examiner.examine_many([path])[0]
        if isinstance(verdict, SumuError):
            raise verdict
        return verdict.study_instance_uid


class Reception:
    """The parts of one request."""

    def __init__(self, door: StowDoor, sender: Sender, study_instance_uid: str = "") -> None:
        self._door, self._sender, self._study = door, sender, study_instance_uid
        self._own_association = ""
        self._headers: Mapping[str, str] = {}
        self._origin = Origin(device=sender.device)
        self._part: ArrivingPart | None = None
        self._failure: SumuError | OSError | None = None
        self._restoring: Bands | None = None
        self.outcomes: list[Outcome] = []

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a part."""
        self._headers, self._failure, self._restoring = headers, None, None
        self._origin = origin_of(headers, self._sender, self._door.devices)
        self._part = ArrivingPart(
            self._door.spool,
            source_ae_title=self._origin.device.ae_title,
            limit=self._door.limit_of(self._sender, self._origin),
            forwarded=self._forwarded(),
        )
        try:
            kind = headers.get("content-type", "application/dicom").split(";")[0].strip().lower()
            if kind != "application/dicom":
                raise NotAnInstance(f"its content type is '{kind[:64]}'")
            if predicted := headers.get(words.PREDICTION.lower(), ""):
                self._restoring = Bands(prediction_in(predicted), restore)
            self._door.rates.check(self._origin.device)
            self._door.spool.check_space()
        except SumuError as error:
            self._failure = error

    def write(self, piece: memoryview) -> None:
        """Take some bytes of the part; of one that has failed, nothing more is kept."""
        if self._failure is not None or self._part is None:
            return
        try:
            if self._restoring is None:
                self._part.write(piece)
            else:
                for ready in self._restoring.feed(piece):
                    self._part.write(ready)
        except (SumuError, OSError) as error:
            self._failure = error
            self._part.close(drop=True)

    def end(self) -> None:
        """Make the part durable and note what became of it."""
        part, self._part = self._part, None
        if part is None:
            return
        kept = None
        try:
            if self._failure is not None:
                raise self._failure
            if self._restoring is not None:
                part.write(self._restoring.end())
            kept = self._keep(part)
            self.outcomes.append(kept)
        except (SumuError, OSError) as error:
            self.outcomes.append(self._failed(part, error))
        finally:
            part.close(drop=kept is None)

    def close(self) -> None:
        """Drop what is half there, and end the request's own association."""
        whole = self._part is None
        if self._part is not None:
            self._part.close(drop=True)
        if self._own_association:
            self._note("released" if whole else "aborted")

    def _forwarded(self) -> Forwarded | None:
        """Return which edge had it first, and since when, where an edge brings it."""
        received = self._headers.get(words.RECEIVED.lower(), "")
        if not received or not self._sender.device.may_forward:
            return None
        try:
            moment = datetime.fromisoformat(received)
        except ValueError:
            return None
        return Forwarded(edge=self._sender.device.ae_title, received_at=moment) if moment.tzinfo else None

    def _keep(self, part: ArrivingPart) -> Outcome:
        file = part.whole(self._headers.get(words.SHA256.lower(), ""))
        identity = part.identity
        assert identity is not None
        if self._study:
            self._check_study(file)
        self._door.spool.keep(file, association_id=self._association(), ae_title=self._origin.device.ae_title)
        return Outcome(
            sop_class_uid=identity.sop_class_uid, sop_instance_uid=identity.sop_instance_uid,
            sha256=file.sha256, size=file.size, note=self._origin.note,
        )  # fmt: skip

    def _check_study(self, file: ArrivingFile) -> None:
        if self._door.study_of(file.path) != self._study:
            raise OtherStudy(self._study)

    def _association(self) -> str:
        """Return the association to which an instance belongs: the edge's, as it names it, or this request."""
        named = self._headers.get(words.ASSOCIATION.lower(), "")
        if named and self._sender.device.may_forward:
            return self._door.associations.of(self._sender, named, self._origin.device.ae_title)
        if not self._own_association:
            self._own_association = str(uuid.uuid4())
            self._note("opened")
        return self._own_association

    def _note(self, event: str) -> None:
        self._door.spool.note(
            event,
            association_id=self._own_association,
            ae_title=self._sender.device.ae_title,
            address=self._sender.address,
        )

    def _failed(self, part: ArrivingPart, error: SumuError | OSError) -> Outcome:
        identity = part.identity
        if isinstance(error, SumuError):
            reason, remedy = str(error.args[0]), error.remedy
        else:
            reason, remedy = f"The disk failed: {error}.", "Check the disk of the data folder."
        log.error(
            "store_refused", sender=self._sender.device.ae_title, device=self._origin.device.ae_title,
            instance=identity.sop_instance_uid if identity else "", reason=reason, remedy=remedy,
        )  # fmt: skip
        return Outcome(
            sop_class_uid=identity.sop_class_uid if identity else "",
            sop_instance_uid=identity.sop_instance_uid if identity else "",
            failure=_failure_reason(error), note=f"{reason} {remedy}".strip(),
        )  # fmt: skip


class EdgeAssociations:
    """Associations that are open at an edge: they are what tells that a study is still on its way."""

    _NAMES = uuid.UUID("6d1f8a1e-4f0c-4f6c-9b53-1c6a1f6f5b90")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        #: When something of each last came, the device and the edge's address.
        self._open: dict[str, tuple[float, str, str]] = {}
        self._lock = threading.Lock()

    def of(self, edge: Sender, named: str, ae_title: str) -> str:
        """Return our name of an edge's association, and leave a note when it is new. No edge can name another's."""
        ours = str(uuid.uuid5(self._NAMES, f"{edge.device.id}/{named[:64]}"))
        with self._lock:
            new = ours not in self._open
            self._open[ours] = (time.monotonic(), ae_title, edge.address)
        if new:
            self._spool.note("opened", association_id=ours, ae_title=ae_title, address=edge.address)
        return ours

    def ended(self, edge: Sender, named: str, outcome: str) -> None:
        """Hear from an edge that it has nothing more of an association."""
        self._end(str(uuid.uuid5(self._NAMES, f"{edge.device.id}/{named[:64]}")), outcome)

    def end_silent(self) -> None:
        """End those of which nothing has come for long: an edge that was started anew no longer speaks of them."""
        latest = time.monotonic() - SILENT_SECONDS
        with self._lock:
            silent = [ours for ours, (at, _, _) in self._open.items() if at < latest]
        for ours in silent:
            self._end(ours, "lost")

    def _end(self, ours: str, outcome: str) -> None:
        with self._lock:
            _, ae_title, address = self._open.pop(ours, (0.0, "", ""))
        self._spool.note(outcome, association_id=ours, ae_title=ae_title, address=address)


def _failure_reason(error: Exception) -> int:
    if isinstance(error, OtherStudy):
        return WRONG_STUDY
    # What another try may cure: a full or failing disk, or the device's next minute.
    return OUT_OF_RESOURCES if isinstance(error, SpoolFull | TooMany | OSError) else CANNOT_UNDERSTAND
