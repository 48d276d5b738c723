"""Orthanc as the rest of the house sees it: store, find, fetch, and pass DICOMweb through.

Everything goes over loopback with the generated credentials. Nothing outside this module knows an Orthanc path.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from core.errors import SumuError
from pacs_bridge.archive_store import NotConnected, StoreConnections
from pacs_bridge.credentials import Credentials
from pacs_bridge.part10 import DatasetDigest


class ArchiveUnreachable(SumuError):
    """Orthanc did not answer; the work is kept and tried again."""

    def __init__(self, address: str, cause: Exception) -> None:
        super().__init__(
            f"The archive at {address} does not answer ({type(cause).__name__}).",
            remedy="It restarts by itself; if this stays, read the archive's log or run `sumu doctor`.",
        )


class ArchiveDied(ArchiveUnreachable):
    """Orthanc went away while it took an instance: that instance may be why."""


class ArchiveRefused(SumuError):
    """Orthanc answered, and said no to this instance or request."""

    def __init__(self, status: int, answer: str) -> None:
        super().__init__(
            f"The archive refused with {status}: {answer[:300]}",
            remedy="Look at the quarantined file with `dcmdump`; a file that is no DICOM has to be sent again by its device.",
        )
        self.status = status


class NotInArchive(SumuError):
    """Orthanc does not hold what was asked for."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The archive does not hold {what}.", remedy="Ask the device to send it again.")


@dataclass(frozen=True, kw_only=True)
class ArchivedInstance:
    """One instance as Orthanc lists it."""

    archive_id: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str


class Archive:
    """A client of one Orthanc. Threads may share it."""

    def __init__(self, address: str, credentials: Credentials, *, timeout_seconds: float = 60) -> None:
        self.address = address
        self._store = StoreConnections(address, credentials, timeout_seconds=timeout_seconds)
        self._http = httpx.Client(
            base_url=address,
            auth=(credentials.username, credentials.password),
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32),
            trust_env=False,
            # On loopback compressing costs more than it saves.
            headers={"Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()
        self._store.close()

    def system(self) -> dict[str, Any]:
        """Return Orthanc's own description: version, plugins' API, database identifier."""
        answer: dict[str, Any] = self._get("/system").json()
        return answer

    def statistics(self) -> dict[str, Any]:
        """Return Orthanc's counts and sizes."""
        answer: dict[str, Any] = self._get("/statistics").json()
        return answer

    def store(self, part10: BinaryIO) -> str:
        """Store one Part 10 file, streamed, and return its identifier in Orthanc.

        An instance that is there already is not written again; Orthanc answers with the one that it holds.

        Raises
        ------
        ArchiveDied
            If it went away in the middle and does not answer.
        ArchiveUnreachable, ArchiveRefused
            If it is away, or says no.
        """
        try:
            status, said = self._store.post(part10)
        except NotConnected as error:
            raise ArchiveUnreachable(self.address, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise (ArchiveUnreachable if self.answers() else ArchiveDied)(self.address, error) from error
        if status == 404:  # Orthanc's word for a file whose identifiers it cannot find
            raise ArchiveRefused(400, "no DICOM identifiers in the file")
        if status > 500:
            raise ArchiveUnreachable(self.address, RuntimeError(f"status {status}"))
        if status >= 400:
            raise ArchiveRefused(status, said.decode(errors="replace"))
        return str(json.loads(said)["ID"])

    def answers(self) -> bool:
        """Return whether it is there."""
        try:
            self.system()
        except ArchiveUnreachable:
            return False
        return True

    def digests(self, archive_ids: Sequence[str]) -> list[tuple[int, str] | None]:
        """Return size and SHA-256 of the data sets of some instances, read from the archive's disk by our plugin in it.

        None stands for an instance that the archive has lost.
        """
        found = self._send("POST", "/sumu/digests", json=list(archive_ids)).json()
        return [None if digest is None else (int(digest[0]), str(digest[1])) for digest in found]

    def digest(self, archive_id: str) -> DatasetDigest:
        """Read an instance back from the archive's disk and return size and SHA-256 of its data set.

        Raises
        ------
        NotInArchive
            If the archive has lost it.
        """
        reader = DatasetDigest()
        with self._stream(f"/instances/{archive_id}/file") as answer:
            for chunk in answer.iter_bytes(1 << 20):
                reader.update(chunk)
        return reader

    def fetch(self, archive_id: str, target: Path) -> Path:
        """Write an instance's Part 10 file to ``target`` and return it."""
        with self._stream(f"/instances/{archive_id}/file") as answer, target.open("wb") as file:
            for chunk in answer.iter_bytes(1 << 20):
                file.write(chunk)
        return target

    def find_instance(self, sop_instance_uid: str) -> ArchivedInstance | None:
        """Return the instance with this UID, or None."""
        found = self._send("POST", "/tools/lookup", content=sop_instance_uid).json()
        ids = [entry["ID"] for entry in found if entry["Type"] == "Instance"]
        return self.describe(ids[0]) if ids else None

    def sop_instance_uid(self, archive_id: str) -> str:
        """Return the SOP Instance UID of an instance, in one question.

        Raises
        ------
        NotInArchive
            If there is none.
        """
        return str(self._get(f"/instances/{archive_id}").json()["MainDicomTags"]["SOPInstanceUID"])

    def describe(self, archive_id: str) -> ArchivedInstance:
        """Return the UIDs of an instance from its three levels.

        Raises
        ------
        NotInArchive
            If there is none.
        """
        instance = self._get(f"/instances/{archive_id}").json()
        series = self._get(f"/series/{instance['ParentSeries']}").json()
        study = self._get(f"/studies/{series['ParentStudy']}").json()
        return ArchivedInstance(
            archive_id=archive_id,
            sop_instance_uid=instance["MainDicomTags"]["SOPInstanceUID"],
            series_instance_uid=series["MainDicomTags"]["SeriesInstanceUID"],
            study_instance_uid=study["MainDicomTags"]["StudyInstanceUID"],
        )

    def header(self, archive_id: str) -> dict[str, Any]:
        """Return an instance's header by keywords (PS3.6): values as text, sequences as lists."""
        answer: dict[str, Any] = self._get(f"/instances/{archive_id}/simplified-tags").json()
        return answer

    def preview(self, archive_id: str, *, frame: int = 0, rendered: bool = True, jpeg_quality: int = 85) -> bytes:
        """Return one frame as JPEG, windowed as its header says. ``frame`` counts from 0, as Orthanc does.

        Without a window in the header the whole range of values is shown; Orthanc's ``rendered`` alone would be black.
        """
        kind = "rendered" if rendered and self._has_window(archive_id) else "preview"
        path = f"/instances/{archive_id}/frames/{frame}/{kind}"
        return self._get(path, headers={"Accept": f"image/jpeg; quality={jpeg_quality}"}).content

    def frame(self, archive_id: str, frame: int) -> bytes:
        """Return one frame as it lies in the file: a tile of a JPEG slide is a JPEG file."""
        return self._get(f"/instances/{archive_id}/frames/{frame}/raw").content

    def _has_window(self, archive_id: str) -> bool:
        """Return whether the header holds Window Center (0028,1050)."""
        try:
            return bool(self._get(f"/instances/{archive_id}/content/0028-1050").content.strip(b" \0"))
        except NotInArchive:
            return False

    def _get(self, path: str, **more: Any) -> httpx.Response:
        return self._send("GET", path, **more)

    def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **more)
        except httpx.TransportError as error:
            raise ArchiveUnreachable(self.address, error) from error
        return _checked(answer, path)

    @contextmanager
    def _stream(self, path: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", path) as answer:
                if answer.status_code >= 400:
                    answer.read()
                yield _checked(answer, path)
        except httpx.TransportError as error:
            raise ArchiveUnreachable(self.address, error) from error


@dataclass(frozen=True, kw_only=True)
class Passing:
    """An answer of the archive on its way through: status and headers are known, the body is still to come."""

    status: int
    headers: Mapping[str, str]
    #: Ends the archive's answer by itself, also when the reader goes away in the middle.
    body: AsyncIterator[bytes]


class ArchiveDoor:
    """Passes answers of one Orthanc through an event loop without holding them in memory."""

    def __init__(self, address: str, credentials: Credentials, *, timeout_seconds: float = 60) -> None:
        self.address = address
        self._http = httpx.AsyncClient(
            base_url=address,
            auth=(credentials.username, credentials.password),
            timeout=timeout_seconds,
            limits=httpx.Limits(max_connections=48, max_keepalive_connections=48),
            trust_env=False,
        )

    async def close(self) -> None:
        """End all connections."""
        await self._http.aclose()

    async def dicomweb(self, path: str, query: str, accept: str) -> Passing:
        """Ask Orthanc's DICOMweb (PS3.18) for ``path``, which begins after its root."""
        # Compressing on loopback costs more than it saves; whoever serves the far reader may compress.
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        return await self._pass(self._http.build_request("GET", f"/dicom-web/{path}", params=query or None, headers=headers))

    async def media(self, archive_ids: Sequence[str]) -> Passing:
        """Return a ZIP with a DICOMDIR (PS3.10 8.6) of these instances, made while it is sent."""
        order = {"Synchronous": True, "Resources": list(archive_ids)}
        return await self._pass(self._http.build_request("POST", "/tools/create-media-extended", json=order))

    async def _pass(self, request: httpx.Request) -> Passing:
        try:
            answer = await self._http.send(request, stream=True)
        except httpx.TransportError as error:
            raise ArchiveUnreachable(self.address, error) from error
        return Passing(status=answer.status_code, headers=answer.headers, body=_body(answer))


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for piece in answer.aiter_raw(1 << 16):
            yield piece
    finally:
        await answer.aclose()


def _checked(answer: httpx.Response, path: str) -> httpx.Response:
    if answer.status_code == 404:
        raise NotInArchive(path)
    if answer.status_code >= 500 and answer.status_code != 500:
        raise ArchiveUnreachable(str(answer.url), RuntimeError(f"status {answer.status_code}"))
    if answer.status_code >= 400:
        raise ArchiveRefused(answer.status_code, answer.text)
    return answer
