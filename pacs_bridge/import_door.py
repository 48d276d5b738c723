"""The door for CDs, USB sticks and files of ECG machines: each file into custody, as if a device had sent it.

DICOM files go in as they are, ECG files as the DICOM object that is made of them. A file that is neither is told with its
reason and stops nothing. All rows of a study are written at once, so that an import counts like an association that has
ended.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from core.audit import record
from core.clock import now
from core.database import Database
from core.errors import SumuError
from core.settings import Settings
from core.tables import Door, Instance, Organisation, Study
from pacs_bridge.character_sets.detective import Detective
from pacs_bridge.ecg.convert import EcgSource, convert_ecg, ecg_source
from pacs_bridge.ecg.formats import WFDB, UnreadableEcg, format_of
from pacs_bridge.ecg.originals import keep_original, originals_folder
from pacs_bridge.ecg.wfdb import signal_files
from pacs_bridge.examination.guard import Examiner
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import MediaDirectory
from pacs_bridge.headers import InstanceFacts, facts_of, read_header
from pacs_bridge.import_files import BroughtFile, ImportLimits, brought_files
from pacs_bridge.import_outcomes import ImportedFile, Outcome
from pacs_bridge.part10 import DatasetDigest, dataset_digest
from pacs_bridge.registrar import SameUidOtherBytes, Unregistrable
from pacs_bridge.registration import Arrival, Registered, register
from pacs_bridge.spool import Spool

_DICOM_MARK = b"DICM"
_DICOM = "DICOM"
#: Its files are in another one's hands, so it is neither taken nor refused.
_INDEX = "The index of a CD; the files that it lists are imported themselves."
_WFDB_PART = "Part of {}."


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A file that lies durable in the spool and has no row yet."""

    name: str
    format: str
    facts: InstanceFacts
    size: int
    sha256: str
    spool_name: str
    remark: str
    originals: tuple[str, ...]
    repair_character_set: str | None


class ImportDoor:
    """Takes in what people bring to one organisation."""

    def __init__(self, settings: Settings, database: Database, spool: Spool) -> None:
        self._settings, self._database, self._spool = settings, database, spool
        self._examiner = Examiner(Limits(**settings.examination.model_dump()))

    def take_in(
        self, source: Path, *, organisation_id: int, actor: str, limits: ImportLimits | None = None
    ) -> list[ImportedFile]:
        """Import a folder, a ZIP archive or one file, and return what became of each file.

        Parameters
        ----------
        actor
            Who brought it, for the audit chain: ``user:li``, ``process:sumu``.

        Raises
        ------
        NothingToImport
            If the source is not there or cannot be unpacked.
        ImportTooLarge
            If it goes beyond the limits; nothing was taken then.
        """
        with (
            brought_files(source, limits or ImportLimits(), self._settings.data) as files,
            tempfile.TemporaryDirectory(prefix=".convert-", dir=self._settings.data) as place,
        ):
            belongings = _belongings(files)
            try:
                results = [self._keep(file, belongings, Path(place)) for file in files]
            finally:
                self._examiner.close()
            outcomes = [result for result in results if isinstance(result, ImportedFile)]
            for study in _by_study([result for result in results if isinstance(result, _Kept)]):
                outcomes += self._register(study, organisation_id, actor, source.name)
        order = {file.name: number for number, file in enumerate(files)}
        return sorted(outcomes, key=lambda outcome: order[outcome.name])

    def _keep(self, file: BroughtFile, belongings: dict[Path, str], place: Path) -> _Kept | ImportedFile:
        """Make one file durable in the spool, or say why not."""
        found = ""
        try:
            if file.path in belongings:
                remark = _WFDB_PART.format(belongings[file.path])
                return ImportedFile(name=file.name, outcome=Outcome.PASSED_OVER, format=WFDB.name, remark=remark)
            if _is_dicom(file.path):
                found = _DICOM
                return self._keep_dicom(file)
            ecg_format = format_of(file.path)
            found = ecg_format.name if ecg_format.is_read else ""
            return self._keep_ecg(file, ecg_source(file.path), place)
        except SumuError as error:
            reason, remedy = str(error.args[0]), error.remedy
        except OSError as error:  # a scratched CD reads to the scratch
            reason, remedy = f"It cannot be read: {error.strerror or error}.", "Copy the disc again, or ask for another one."
        return ImportedFile(name=file.name, outcome=Outcome.REFUSED, format=found, remark=reason, remedy=remedy)

    def _keep_dicom(self, file: BroughtFile) -> _Kept | ImportedFile:
        (verdict,) = self._examiner.examine_many([file.path])
        if isinstance(verdict, MediaDirectory):
            return ImportedFile(name=file.name, outcome=Outcome.PASSED_OVER, format=_DICOM, remark=_INDEX)
        if isinstance(verdict, SumuError):
            raise verdict
        looked = Detective(self._database).look(verdict, None)
        facts = facts_of(looked.examined, county_timezone=self._settings.county.timezone)
        return self._spooled(file, file.path, facts, dataset_digest(file.path), _DICOM, repair_character_set=looked.repair_from)

    def _keep_ecg(self, file: BroughtFile, source: EcgSource, place: Path) -> _Kept | ImportedFile:
        # Before the conversion: a later version of it may write other bytes for the same original.
        with self._database.reading() as session:
            query = select(Study.study_instance_uid).join(Instance, Instance.study_id == Study.id)
            known = session.scalar(query.where(Instance.sop_instance_uid == source.sop_instance_uid))
        if known is not None:
            return ImportedFile(
                name=file.name,
                outcome=Outcome.REPEAT,
                format=format_of(file.path).name,
                study_instance_uid=known,
                sop_instance_uid=source.sop_instance_uid,
            )
        converted = convert_ecg(source, place, timezone=self._settings.county.timezone)
        for part, original in zip(source.files, converted.originals, strict=True):
            keep_original(part, original, originals_folder(self._settings))
        facts = facts_of(read_header(converted.path), county_timezone=self._settings.county.timezone)
        kept = self._spooled(
            file,
            converted.path,
            facts,
            dataset_digest(converted.path),
            converted.format,
            remark=" ".join(converted.notes),
            originals=tuple(original.sha256 for original in converted.originals),
        )
        converted.path.unlink()
        return kept

    def _spooled(
        self,
        file: BroughtFile,
        path: Path,
        facts: InstanceFacts,
        digest: DatasetDigest,
        found: str,
        *,
        remark: str = "",
        originals: tuple[str, ...] = (),
        repair_character_set: str | None = None,
    ) -> _Kept:
        self._spool.check_space()
        return _Kept(
            name=file.name,
            format=found,
            facts=facts,
            size=digest.size,
            sha256=digest.sha256,
            spool_name=self._spool.keep_import(path, facts.sop_instance_uid, digest.sha256),
            remark=remark,
            originals=originals,
            repair_character_set=repair_character_set,
        )

    def _register(self, study: list[_Kept], organisation_id: int, actor: str, source: str) -> list[ImportedFile]:
        """Write the rows of one study, with its trace; then let go of what the spool need not hold."""
        outcomes: list[ImportedFile] = []
        held: set[str] = set()
        with self._database.writing() as session:
            for kept in study:
                outcome, spool_name = self._register_one(session, kept, organisation_id)
                outcomes.append(outcome)
                held |= {spool_name} if spool_name else set()
            if new := [outcome for outcome in outcomes if outcome.outcome is Outcome.NEW]:
                organisation = session.get_one(Organisation, organisation_id).code
                detail = {"source": source, "organisation": organisation, "instances": len(new)}
                originals = sorted({one for kept in study for one in kept.originals})
                record(
                    session,
                    actor,
                    "study_imported",
                    f"study:{study[0].facts.study_instance_uid}",
                    {**detail, "originals": originals} if originals else detail,
                )
        for kept in study:
            if kept.spool_name not in held:
                self._spool.release(kept.spool_name)
        return outcomes

    def _register_one(self, session: Session, kept: _Kept, organisation_id: int) -> tuple[ImportedFile, str | None]:
        """Return what became of a file, and the spool's file that a row wants."""
        arrival = Arrival(
            door=Door.IMPORT,
            organisation_id=organisation_id,
            received_at=now(),
            size=kept.size,
            sha256=kept.sha256,
            machine=self._settings.machine,
            spool_name=kept.spool_name,
            repair_character_set=kept.repair_character_set,
        )
        try:
            with session.begin_nested():
                registered, instance = register(session, kept.facts, arrival)
                if registered is Registered.CONFLICT:
                    raise SameUidOtherBytes(kept.facts.sop_instance_uid)
        except SumuError as error:
            return _refusal(kept, error), None
        except DataError as error:
            return _refusal(kept, Unregistrable(error)), None
        outcome = ImportedFile(
            name=kept.name,
            outcome=Outcome.NEW if registered is Registered.NEW else Outcome.REPEAT,
            format=kept.format,
            study_instance_uid=kept.facts.study_instance_uid,
            sop_instance_uid=kept.facts.sop_instance_uid,
            remark=kept.remark,
        )
        return outcome, instance.spool_name


def _refusal(kept: _Kept, error: SumuError) -> ImportedFile:
    return ImportedFile(
        name=kept.name, outcome=Outcome.REFUSED, format=kept.format, remark=str(error.args[0]), remedy=error.remedy
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == _DICOM_MARK


def _belongings(files: Iterable[BroughtFile]) -> dict[Path, str]:
    """Return the files that are no recordings of their own, with the name of the one that they belong to."""
    owners: dict[Path, str] = {}
    for file in files:
        if file.path.suffix.lower() == ".hea" and format_of(file.path) is WFDB:
            try:
                owners |= dict.fromkeys(signal_files(file.path), file.name)
            except UnreadableEcg:
                continue  # told when its turn comes
    return owners


def _by_study(kept: list[_Kept]) -> Iterator[list[_Kept]]:
    ordered = sorted(kept, key=lambda one: one.facts.study_instance_uid)
    for _, group in groupby(ordered, key=lambda one: one.facts.study_instance_uid):
        yield list(group)
