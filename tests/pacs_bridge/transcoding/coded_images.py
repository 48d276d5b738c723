"""Instances in transfer syntaxes that pydicom does not write, made from pictures whose every value is known."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

ENCAPSULATED_UNCOMPRESSED = "1.2.840.10008.1.2.1.98"
DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
JPEG_2000_PART_2 = "1.2.840.10008.1.2.4.92"
JPEG_XL_LOSSLESS, JPEG_XL_OF_JPEG, JPEG_XL = (f"1.2.840.10008.1.2.4.{number}" for number in (110, 111, 112))
HTJ2K_LOSSLESS, HTJ2K_RPCL, HTJ2K = (f"1.2.840.10008.1.2.4.{number}" for number in (201, 202, 203))


def deflated(picture: NDArray[Any]) -> bytes:
    """Return a frame as PS3.5 A.4.12 says."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(picture.tobytes()) + deflater.flush()


def htj2k(picture: NDArray[Any]) -> bytes:
    """Return a reversible HTJ2K codestream."""
    return bytes(imagecodecs.htj2k_encode(picture, reversible=True))


def jpeg_2000(picture: NDArray[Any]) -> bytes:
    """Return a reversible JPEG 2000 codestream."""
    return bytes(imagecodecs.jpeg2k_encode(picture, level=0, codecformat="J2K", reversible=True))


def jpeg_xl(picture: NDArray[Any]) -> bytes:
    """Return a lossless JPEG XL codestream."""
    return bytes(imagecodecs.jpegxl_encode(picture, lossless=True))


#: How a frame of each lossless transfer syntax is made.
LOSSLESS: dict[str, Callable[[NDArray[Any]], bytes]] = {
    ENCAPSULATED_UNCOMPRESSED: lambda picture: picture.tobytes(),
    DEFLATED_FRAMES: deflated,
    JPEG_2000_PART_2: jpeg_2000,
    JPEG_XL_LOSSLESS: jpeg_xl,
    HTJ2K_LOSSLESS: htj2k,
    HTJ2K_RPCL: htj2k,
}


def grey(bits: int = 12, *, signed: bool = False, rows: int = 48, columns: int = 64, seed: int = 0) -> NDArray[Any]:
    """Return a noisy ramp that reaches both ends of so many bits."""
    lowest = -(1 << bits - 1) if signed else 0
    kind = np.dtype(f"<{'i' if signed else 'u'}{1 if bits <= 8 else 2}")
    noise = np.random.default_rng(seed).integers(0, 1 + (1 << bits) // 64, (rows, columns))
    ramp = np.linspace(0, (1 << bits) - 1, rows * columns).reshape(rows, columns)
    return (np.clip(ramp + noise, 0, (1 << bits) - 1).astype(np.int64) + lowest).astype(kind)


def colour(rows: int = 48, columns: int = 64) -> NDArray[np.uint8]:
    """Return a picture whose three colours differ everywhere that matters."""
    first = grey(8, rows=rows, columns=columns)
    return np.stack([first, first[::-1], first[:, ::-1] // 2], axis=-1)


def instance(picture: NDArray[Any], transfer_syntax: str, frames: Sequence[bytes], **tags: Any) -> Dataset:
    """Return a secondary capture of ``frames``, each like ``picture``, with a private element and marks of a device."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    image.file_meta.ImplementationClassUID = UID("1.2.3.4")
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = SecondaryCaptureImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    image.PatientID, image.PatientName, image.Modality = "P1", "Wang^Xiaodong", "OT"
    image.StudyDate, image.StudyTime = "20261101", "120000"
    image.private_block(0x0029, "TOWNSHIP DEVICE", create=True).add_new(0x01, "OB", bytes(range(200)) * 50)
    image.LossyImageCompression, image.LossyImageCompressionRatio = "01", "12.5"
    image.Rows, image.Columns = picture.shape[:2]
    image.SamplesPerPixel = 3 if picture.ndim == 3 else 1
    image.PhotometricInterpretation = "RGB" if picture.ndim == 3 else "MONOCHROME2"
    if picture.ndim == 3:
        image.PlanarConfiguration = 0
    image.BitsAllocated = picture.dtype.itemsize * 8
    image.BitsStored = image.BitsAllocated
    image.PixelRepresentation = int(picture.dtype.kind == "i")
    if len(frames) > 1:
        image.NumberOfFrames = len(frames)
    for name, value in tags.items():
        setattr(image, name, value)
    image.HighBit = image.BitsStored - 1
    return image


def write(path: Path, image: Dataset, fragments: Sequence[bytes], offsets: bytes = b"", rest: bytes = b"") -> Path:
    """Write ``image`` with these fragments as its pixels; pydicom would refuse the transfer syntax."""
    file = DicomBytesIO()
    file.is_little_endian, file.is_implicit_VR = True, False
    file.write(bytes(128) + b"DICM")
    write_file_meta_info(file, image.file_meta)
    write_dataset(file, image)
    file.write(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff")
    for value in (offsets, *fragments):
        padded = value + bytes(len(value) % 2)
        file.write(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(padded)) + padded)
    file.write(b"\xfe\xff\xdd\xe0" + bytes(4) + rest)
    path.write_bytes(file.getvalue())
    return path


def written(folder: Path, picture: NDArray[Any], transfer_syntax: str, *frames: bytes, **tags: Any) -> Path:
    """Write an instance of these coded frames, one fragment each, and return its file."""
    return write(folder / "source.dcm", instance(picture, transfer_syntax, frames, **tags), frames)
