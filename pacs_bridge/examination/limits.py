"""The bounds of one instance: what real objects need, and where an attack on the archive begins."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one examination; whatever goes beyond one of them is set aside with that bound as its reason."""

    #: Sequences inside sequences. Reports (TID 1500) stay below 12; Debian's Orthanc dies at 1 000, pydicom at 249.
    depth: int = 32
    #: Elements and items. A segmentation of 100 organs over 300 slices has about 750 000; each costs its readers some 200 bytes.
    elements: int = 2_000_000
    #: Fragments of compressed pixel data. A slide of 300 000 pixels square in tiles of 256 has 1.4 million.
    fragments: int = 2_000_000
    #: Bytes of the file meta information; it holds a dozen short elements (PS3.10 7.1).
    meta_bytes: int = 64 << 10
    #: All values but pixels, waveforms and other bulk. Dense contours of 40 organs take about 75 MiB of digits.
    header_bytes: int = 256 << 20
    #: One value of text or numbers; a contour stays below 1 MiB, a report's text below 10.
    value_bytes: int = 16 << 20
    #: A deflated data set, inflated. Orthanc holds it in memory two to three times.
    inflated_bytes: int = 1 << 30
    #: Inflated bytes for each deflated one; deflate itself ends at 1 032, images reach 4, masks of segmentations hundreds.
    inflated_ratio: int = 400
    #: Below so many inflated bytes the ratio does not matter: a small empty mask is no bomb.
    inflated_free_bytes: int = 128 << 20
    #: Frames that an instance may claim; an hour of video has 216 000, a slide's largest level 1.4 million.
    frames: int = 2_000_000
    #: One decoded frame of compressed pixel data; a decoder holds it whole. 13 000 × 13 000 pixels in colour.
    frame_bytes: int = 512 << 20
    #: All decoded frames of compressed pixel data but video. A slide of 300 000 pixels square takes 252 GiB, tile by tile.
    decoded_bytes: int = 256 << 30
    #: How many times as many pixels as Rows × Columns a compressed frame may hold by its own header.
    frame_excess: int = 2
    #: Texts kept for the character-set detective, in bytes altogether.
    kept_text_bytes: int = 256 << 10
    #: Processor time of one examination. Two million elements take 3 to 5 s, inflating 1 GiB about 3 s.
    seconds: float = 60.0
