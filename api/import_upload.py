"""A form with files as it streams in: fields to memory, files to a folder in the data folder, nothing beyond the limits.

The form's own token and the organisation come before the first file, so nobody fills the disk who may not upload. Python's
``multipart`` parser does the parsing; Starlette's form would keep the files in the system's temporary folder.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from api.refusals import N_, Refusal

#: Everything in one upload together; a CD holds 700 MB.
LARGEST_BYTES = 2 << 30
MOST_FILES = 5000
_LONGEST_FIELD = 256
_LONGEST_NAME = 120
_DEEPEST = 12
_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')


class UploadTooLarge(Refusal):
    """More than one upload takes."""

    status = 413
    message_id = N_("This is more than one upload takes: %(files)s files or %(megabytes)s MB.")
    remedy_id = N_("Upload it in parts, or have the person who runs the service import it with `sumu import`.")


class UploadBroken(Refusal):
    """The body is no form, or was cut off."""

    status = 400
    message_id = N_("The upload did not arrive whole.")
    remedy_id = N_("Check the network and upload the files again; nothing was taken.")


@dataclass
class Upload:
    """What has come."""

    folder: Path
    fields: dict[str, str] = field(default_factory=dict)
    #: Files in the order in which they came, inside ``folder``.
    files: list[Path] = field(default_factory=list)


async def receive(request: Request, folder: Path, before_files: Callable[[dict[str, str]], Awaitable[None]]) -> Upload:
    """Write the files of a form into ``folder``.

    Parameters
    ----------
    before_files
        Awaited once with the fields, when the first file begins or the form ends; what it raises ends the upload.

    Raises
    ------
    UploadTooLarge, UploadBroken
        If it goes beyond the limits, or is no whole form.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    declared = request.headers.get("content-length", "")
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise UploadBroken
    if declared.isdigit() and int(declared) > LARGEST_BYTES:
        raise too_large()
    events: list[tuple[str, bytes]] = []
    parser = MultipartParser(options[b"boundary"], _callbacks(events))
    parts, received, checked = _Parts(Upload(folder=folder)), 0, False
    try:
        async for piece in request.stream():
            received += len(piece)
            if received > LARGEST_BYTES:
                raise too_large()
            parser.write(piece)
            for event, data in events:
                if not checked and (event == "end" or parts.begins_file(event)):
                    await before_files(parts.upload.fields)
                    checked = True
                parts.take(event, data)
            events.clear()
    except (FormParserError, ClientDisconnect) as error:
        raise UploadBroken from error
    finally:
        parts.close()
    if not parts.ended:
        raise UploadBroken
    return parts.upload


def too_large() -> UploadTooLarge:
    """Return the refusal with its numbers."""
    return UploadTooLarge(files=MOST_FILES, megabytes=LARGEST_BYTES >> 20)


class _Parts:
    """Puts the parts of a form where they belong."""

    def __init__(self, upload: Upload) -> None:
        self.upload = upload
        self.ended = False
        self._headers: dict[str, bytes] = {}
        self._header = ""
        self._field: bytearray | None = None
        self._file: BinaryIO | None = None

    def begins_file(self, event: str) -> bool:
        return event == "headers" and b"filename" in self._disposition()

    def take(self, event: str, data: bytes) -> None:
        if event == "part":
            self._headers = {}
        elif event == "name":
            self._header = data.decode("latin-1").lower()
        elif event == "value":
            self._headers[self._header] = self._headers.get(self._header, b"") + data
        elif event == "headers":
            self._open()
        elif event == "data":
            self._write(data)
        elif event == "part end":
            self._finish()
        else:
            self.ended = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _disposition(self) -> dict[bytes, bytes]:
        return parse_options_header(self._headers.get("content-disposition", b""))[1]

    def _open(self) -> None:
        name = self._disposition().get(b"filename")
        if name is None:
            self._field = bytearray()
        elif name:  # an empty file field of a form has an empty name
            if len(self.upload.files) >= MOST_FILES:
                raise too_large()
            target = place_of(name.decode("utf-8", "replace"), self.upload.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = target.open("xb")
            self.upload.files.append(target)

    def _write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
        elif self._field is not None and len(self._field) + len(data) <= _LONGEST_FIELD:
            self._field += data

    def _finish(self) -> None:
        self.close()
        if self._field is not None:
            name = self._disposition().get(b"name", b"").decode("utf-8", "replace")
            self.upload.fields[name] = self._field.decode("utf-8", "replace")
            self._field = None


def place_of(name: str, folder: Path) -> Path:
    """Return where a file of this name goes: below ``folder``, in the folders that its name tells, and where no other is."""
    parts = [_UNFIT.sub("_", part).strip()[-_LONGEST_NAME:] for part in name.replace("\\", "/").split("/")]
    safe = [part for part in parts if part not in ("", ".", "..")][-_DEEPEST:] or ["file"]
    target, number = folder.joinpath(*safe), 1
    while target.exists():
        number += 1
        target = folder.joinpath(*safe[:-1], f"{Path(safe[-1]).stem}-{number}{Path(safe[-1]).suffix}")
    return target


def _callbacks(events: list[tuple[str, bytes]]) -> Any:
    def told(event: str) -> Callable[[], None]:
        return lambda: events.append((event, b""))

    def brought(event: str) -> Callable[[bytes, int, int], None]:
        return lambda data, start, end: events.append((event, data[start:end]))

    return {
        "on_part_begin": told("part"),
        "on_header_field": brought("name"),
        "on_header_value": brought("value"),
        "on_headers_finished": told("headers"),
        "on_part_data": brought("data"),
        "on_part_end": told("part end"),
        "on_end": told("end"),
    }
