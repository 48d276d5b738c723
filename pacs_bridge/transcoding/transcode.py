"""The same instance in a transfer syntax that Orthanc, OHIF and the engines read; every value stays what it was.

PS3.4 allows it under the same SOP Instance UID, because what is written is lossless or only decompressed. Lossy Image
Compression and its ratio stay in the header: what was lost once stays lost (PS3.3 C.7.6.1.1.5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info

from pacs_bridge.part10 import dataset_digest
from pacs_bridge.transcoding.data_sets import NotReadable, inflate, turn_to_little_endian
from pacs_bridge.transcoding.decode import Undecodable, decoded, decoded_jpeg, decoded_photometric, original_jpeg, unwrapped
from pacs_bridge.transcoding.description import PixelDescription, described
from pacs_bridge.transcoding.errors import CannotTranscode
from pacs_bridge.transcoding.frames import frames_of, read_frame
from pacs_bridge.transcoding.layout import Layout, Span, read_layout
from pacs_bridge.transcoding.syntaxes import (
    BIG_ENDIAN,
    CODINGS,
    DEFLATED,
    EXPLICIT_LITTLE_ENDIAN,
    JPEG_BY_FRAME_HEADER,
    JPEG_LS_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
    Coding,
)
from pacs_bridge.transcoding.writing import (
    TooLong,
    changed_elements,
    copy,
    write_encapsulated,
    write_header,
    write_meta,
    write_native,
)


@dataclass(frozen=True, kw_only=True)
class Transcoded:
    """What was written, for the custody row."""

    source_transfer_syntax_uid: str
    transfer_syntax_uid: str
    frames: int
    #: SHA-256 and size of the target's data set, as ``pacs_bridge.part10`` counts them.
    sha256: str
    size: int


class _Unsuited(Exception):
    """JPEG-LS would not give these values back to every reader, or only make them longer."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One open source."""

    file: BinaryIO
    name: str
    layout: Layout
    pixels: PixelDescription
    frames: list[tuple[Span, ...]]
    syntax: str

    def streams(self) -> Iterator[bytes]:
        for frame in self.frames:
            yield read_frame(self.file, frame, self.name)


def transcode_for_archive(source: Path, target: Path) -> Transcoded:
    """Write the instance of ``source`` to ``target`` so that the archive can describe and show it.

    Deflated and big-endian data sets, with pixels or without, become Explicit VR Little Endian, value by value. JPEG inside
    JPEG XL comes back bit for bit; other pictures become JPEG-LS Lossless where every reader gets their values back from
    it, and Explicit VR Little Endian else. Their header is copied byte for byte; only the transfer syntax, the offset
    tables and, after a colour transform, Photometric Interpretation and Planar Configuration differ.

    Raises
    ------
    CannotTranscode
        If the transfer syntax needs or allows no transcoding, or the pixels cannot be decoded. ``target`` is then
        not there, and ``source`` is always left as it is.
    """
    unfinished = target.with_name(f"{target.name}.part")
    try:
        with source.open("rb") as file, unfinished.open("w+b") as out:
            meta = _meta_of(source)
            came_in = str(meta.get("TransferSyntaxUID", ""))
            if came_in in (DEFLATED, BIG_ENDIAN):
                syntax = _write_data_set(file, out, source, meta)
            elif came_in in CODINGS:
                syntax = _write_frames(file, out, source, came_in)
            else:
                raise CannotTranscode(source.name, f"nothing is known to undo the transfer syntax {came_in or '(none)'}")
        digest, frames = dataset_digest(unfinished), _frames_in(unfinished, source.name)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return Transcoded(
        source_transfer_syntax_uid=came_in, transfer_syntax_uid=syntax, frames=frames, sha256=digest.sha256, size=digest.size
    )


def _meta_of(source: Path) -> FileMetaDataset:
    try:
        return read_file_meta_info(source)
    # A broken file makes the parser trip over anything.
    except Exception as error:
        raise CannotTranscode(source.name, f"{type(error).__name__}: {error}") from error


def _frames_in(path: Path, name: str) -> int:
    """Return the number of frames of what was written, which can be read by that."""
    try:
        return int(dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"]).get("NumberOfFrames") or 1)
    except Exception as error:
        raise CannotTranscode(name, f"{type(error).__name__}: {error}") from error


def _write_data_set(file: BinaryIO, out: BinaryIO, source: Path, meta: FileMetaDataset) -> str:
    preamble = file.read(128)
    file.seek(140)
    begin = 144 + int.from_bytes(file.read(4), "little")
    file.seek(begin)
    deflated = meta.TransferSyntaxUID == DEFLATED
    write_meta(out, preamble, meta, EXPLICIT_LITTLE_ENDIAN)
    try:
        if deflated:
            inflate(file, out)
        else:
            turn_to_little_endian(file, out, source.stat().st_size - begin)
    except NotReadable as error:
        raise CannotTranscode(source.name, str(error)) from error
    return EXPLICIT_LITTLE_ENDIAN


def _write_frames(file: BinaryIO, out: BinaryIO, source: Path, syntax: str) -> str:
    layout = read_layout(file, source)
    pixels = described(layout.header, source.name)
    frames = frames_of(file, layout, pixels.frames, source.name)
    job = _Job(file=file, name=source.name, layout=layout, pixels=pixels, frames=frames, syntax=syntax)
    try:
        made = _write(job, out)
    except (Undecodable, TooLong) as error:
        raise CannotTranscode(source.name, str(error) or "its pixels need 4 GiB or more") from error
    copy(file, out, layout.rest)
    return made


def _write(job: _Job, out: BinaryIO) -> str:
    """Write everything up to the end of the pixels and return the transfer syntax."""
    if CODINGS[job.syntax] in (Coding.NONE, Coding.DEFLATE):
        write_header(job.file, out, job.layout, EXPLICIT_LITTLE_ENDIAN, {})
        write_native(out, job.pixels, (unwrapped(stream, job.syntax, job.pixels) for stream in job.streams()))
        return EXPLICIT_LITTLE_ENDIAN
    if job.syntax == JPEG_XL_RECOMPRESSION:
        return _write_jpeg(job, out)
    pixels = job.pixels.named(decoded_photometric(job.syntax, job.pixels.photometric))
    renamed = pixels.photometric if pixels.photometric != job.pixels.photometric else None
    changes = changed_elements(renamed, by_pixel=pixels.samples > 1)
    if pixels.suits_jpeg_ls:
        try:
            write_header(job.file, out, job.layout, JPEG_LS_LOSSLESS, changes)
            write_encapsulated(out, pixels, (_in_jpeg_ls(picture, pixels) for picture in _pictures(job, pixels)))
        except _Unsuited:
            out.seek(0)
            out.truncate()
        else:
            return JPEG_LS_LOSSLESS
    write_header(job.file, out, job.layout, EXPLICIT_LITTLE_ENDIAN, changes)
    write_native(out, pixels, (picture.tobytes() for picture in _pictures(job, pixels)))
    return EXPLICIT_LITTLE_ENDIAN


def _pictures(job: _Job, pixels: PixelDescription) -> Iterator[NDArray[Any]]:
    """Yield the decoded frames; ``pixels`` is named by what they become."""
    for stream in job.streams():
        if CODINGS[job.syntax] is Coding.JPEG:
            yield decoded_jpeg(stream, job.pixels.photometric, pixels)
        else:
            yield decoded(stream, job.syntax, pixels)


def _write_jpeg(job: _Job, out: BinaryIO) -> str:
    kind, _ = original_jpeg(next(job.streams()), job.pixels)
    syntax = JPEG_BY_FRAME_HEADER.get(kind)
    if syntax is None:
        raise Undecodable(f"its JPEG is of a kind (SOF{kind - 0xC0}) that JPEG XL cannot stand for")
    write_header(job.file, out, job.layout, syntax, {})
    write_encapsulated(out, job.pixels, (_jpeg_of_kind(kind, stream, job.pixels) for stream in job.streams()))
    return syntax


def _jpeg_of_kind(kind: int, stream: bytes, pixels: PixelDescription) -> bytes:
    found, jpeg = original_jpeg(stream, pixels)
    if found != kind:
        raise Undecodable("its frames are JPEGs of several kinds")
    return jpeg


def _in_jpeg_ls(picture: NDArray[Any], pixels: PixelDescription) -> bytes:
    """Return one frame as JPEG-LS, after it was decoded again and found to be the same."""
    native = picture.tobytes()
    stored = picture.view(f"u{picture.dtype.itemsize}")
    if int(stored.max()) >> pixels.bits_stored:
        raise _Unsuited
    by_pixel = 2 if pixels.samples > 1 else None
    try:
        coded = jpeg_ls.encode_buffer(
            native, pixels.rows, pixels.columns, pixels.samples, pixels.bits_stored, interleave_mode=by_pixel
        )
    except RuntimeError as error:  # noise or a single pixel would become longer than the encoder makes room for
        raise _Unsuited from error
    again, _ = jpeg_ls.decode_buffer(coded)
    if not np.array_equal(np.frombuffer(again, np.uint8), np.frombuffer(native, np.uint8)):
        raise _Unsuited
    return bytes(coded)
