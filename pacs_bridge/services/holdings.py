"""What the archive and the spool hold, as search and fetch need it: descriptions in bulk, and files one after the other."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Instance
from pacs_bridge.archive import Archive, NotInArchive
from pacs_bridge.spool import Spool
from pacs_bridge.transcoding import needs_transcoding

#: Levels as Orthanc calls them.
STUDY, SERIES, INSTANCE = "Study", "Series", "Instance"
#: No fetch lasts so long.
_FORGOTTEN_SECONDS = 2 * 24 * 3600


class NotHere(SumuError):
    """Neither the archive nor this machine's spool has the file of an instance."""

    def __init__(self, sop_instance_uid: str) -> None:
        super().__init__(
            f"No file of {sop_instance_uid} can be reached from this machine.",
            remedy="It is on its way from another machine's spool to the archive; ask again in a while.",
        )


class NoRoom(SumuError):
    """A copy of an instance cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"The data disk takes no copy ({error.strerror}).", remedy="Free space on the disk of the data folder.")


@dataclass(frozen=True, kw_only=True)
class Held:
    """One instance that is to be sent."""

    id: int
    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    #: As received.
    transfer_syntax_uid: str
    archive_id: str | None


class DescribingArchive(Archive):
    """The archive, asked about many things at once."""

    def main_tags(self, level: str, keyword: str, uids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return what the archive's index knows of studies, series or instances, by their own UID.

        Parameters
        ----------
        level
            ``STUDY``, ``SERIES`` or ``INSTANCE``.
        keyword, uids
            Which ones: ``StudyInstanceUID`` of two studies, for instance.

        Returns
        -------
        dict
            UID of the level to values by keyword. Attributes of the patient are left out: the archive mixes patients of
            several organisations who have the same Patient ID.
        """
        question = {"Level": level, "Query": {keyword: "\\".join(uids)}, "Expand": True}
        found = self._send("POST", "/tools/find", json=question).json()
        own = {STUDY: "StudyInstanceUID", SERIES: "SeriesInstanceUID", INSTANCE: "SOPInstanceUID"}[level]
        return {entry["MainDicomTags"][own]: entry["MainDicomTags"] for entry in found}

    def transfer_syntax(self, archive_id: str) -> str:
        """Return the transfer syntax in which the archive holds an instance.

        Raises
        ------
        NotInArchive
            If it does not hold it.
        """
        return self._get(f"/instances/{archive_id}/metadata/TransferSyntax").text.strip()


class Holdings:
    """Everything that can be sent from this machine. Threads may share it."""

    def __init__(self, settings: Settings, database: Database, archive: DescribingArchive) -> None:
        self._database, self.archive = database, archive
        self._spool = Spool(settings.spool, receiver="sender")
        self._outgoing = settings.data / "outgoing"
        self._outgoing.mkdir(parents=True, exist_ok=True)
        for left in self._outgoing.iterdir():  # by a process that was killed
            if time.time() - left.stat().st_mtime > _FORGOTTEN_SECONDS:
                shutil.rmtree(left, ignore_errors=True)

    def transfer_syntaxes(self, instances: Sequence[Held]) -> Mapping[int, str]:
        """Return the transfer syntax of each instance as it will be sent; the archive has some in another than received."""
        syntaxes: dict[int, str] = {}
        for held in instances:
            syntaxes[held.id] = held.transfer_syntax_uid
            if held.archive_id is not None and needs_transcoding(held.transfer_syntax_uid):
                try:
                    syntaxes[held.id] = self.archive.transfer_syntax(held.archive_id)
                except NotInArchive:
                    continue
        return syntaxes

    @contextmanager
    def file(self, held: Held) -> Iterator[Path]:
        """Give an instance's Part 10 file while the block lasts: the spool's own, or a copy out of the archive.

        A copy first, so that an archive that goes away in the middle does not leave half an instance on a device's line.

        Raises
        ------
        NotHere, NotInArchive, ArchiveUnreachable
            If neither has it, or the archive is away.
        NoRoom
            If the data disk is full.
        """
        archive_id, spooled = self._place(held)
        if archive_id is None:
            if spooled is None or not spooled.exists():
                raise NotHere(held.sop_instance_uid)
            yield spooled
            return
        with self.scratch() as folder:
            try:
                copy = self.archive.fetch(archive_id, folder / "instance.dcm")
            except OSError as error:
                raise NoRoom(error) from error
            yield copy

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on the data disk while the block lasts."""
        try:
            folder = tempfile.TemporaryDirectory(dir=self._outgoing)
        except OSError as error:
            raise NoRoom(error) from error
        with folder as name:
            yield Path(name)

    def _place(self, held: Held) -> tuple[str | None, Path | None]:
        """Return where an instance lies now: it may have gone from the spool to the archive since it was looked up."""
        if held.archive_id is not None:
            return held.archive_id, None
        with self._database.reading() as session:
            row = session.execute(select(Instance.archive_id, Instance.spool_name).where(Instance.id == held.id)).one_or_none()
        if row is None:
            return None, None
        return row.archive_id, self._spool.path(row.spool_name) if row.spool_name else None


def header_values(header: Mapping[str, Any]) -> dict[str, str]:
    """Return the plain values of a header as the archive tells it; sequences are left out."""
    return {keyword: value for keyword, value in header.items() if isinstance(value, str)}
