"""What passes, what is set aside, and with which reason; every file here is written for its test."""

from __future__ import annotations

import os
import random
import struct
import time
import tracemalloc
from itertools import accumulate, repeat
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from pacs_bridge.examination.examine import examine
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Malformed, MediaDirectory, Poisoned
from tests.pacs_bridge.examination.files import (
    BIG,
    CT,
    DEFLATED,
    ENCODINGS,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_XL,
    LITTLE,
    MPEG,
    PIXELS,
    RLE,
    UNDEFINED,
    Encoding,
    deflate_bomb,
    deflated,
    file_head,
    jpeg,
    jpeg_2000,
    jpeg_segment,
    jpeg_xl,
    write,
)  # fmt: skip

IDENTITY = LITTLE.identity()
MIB = 1 << 20


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "instance.dcm"


def refused(path: Path, match: str | None = None, kind: type[Poisoned] = Poisoned, limits: Limits | None = None) -> float:
    """Examine a file that must be set aside, and return how many seconds that took."""
    start = time.monotonic()
    with pytest.raises(kind, match=match) as caught:
        examine(path, limits)
    assert caught.value.remedy
    return time.monotonic() - start


# What passes


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("undefined", [False, True])
def test_every_plain_encoding_is_read_with_its_sequences(file: Path, syntax: str, undefined: bool) -> None:
    code = ENCODINGS[syntax]
    inner = code.sequence(0x00081199, code.item(code.element(0x00081150, "UI", CT), undefined=undefined), undefined=undefined)
    outer = code.sequence(0x00081115, code.item(inner), code.item(undefined=undefined), undefined=undefined)
    found = examine(
        write(file, outer + code.identity() + code.image(2, 3, bits=16) + code.element(PIXELS, "OW", bytes(12)), syntax)
    )
    assert (found.sop_instance_uid, found.depth, found.rows, found.columns, found.notes) == ("1.2.3.4.5", 2, 2, 3, ())


def test_a_deflated_data_set_is_read_with_its_padding(file: Path) -> None:
    found = examine(write(file, deflated(IDENTITY + LITTLE.element(0x00100010, "PN", "A^B")) + b"\0", DEFLATED))
    assert found.values[0x00100010] == b"A^B "


def test_the_facts_of_a_real_slice_are_those_that_pydicom_reads() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    found, expected = examine(path), pydicom.dcmread(path)
    assert found.study_instance_uid == expected.StudyInstanceUID
    assert found.values[0x00080060].decode() == expected.Modality
    assert (found.rows, found.columns, found.frames) == (expected.Rows, expected.Columns, 1)
    assert found.dataset_offset + found.dataset_size == path.stat().st_size


def test_texts_keep_their_bytes_their_place_and_the_character_set_that_holds_there(file: Path) -> None:
    item = LITTLE.element(0x00080005, "CS", "ISO_IR 192") + LITTLE.element(0x00400007, "LO", "胸部".encode())
    code = LITTLE.element(0x00080005, "CS", "GB18030")
    name = LITTLE.element(0x00100010, "PN", "王^小东".encode("gb18030")) + LITTLE.element(0x00100020, "LO", "P1")
    plain = LITTLE.element(0x00400007, "LO", "上腹".encode("gb18030"))
    found = examine(write(file, code + name + LITTLE.sequence(0x00400275, LITTLE.item(item), LITTLE.item(plain)) + IDENTITY))
    assert [str(text) for text in found.texts] == ["(0010,0010)", "(0040,0275)[1]/(0040,0007)", "(0040,0275)[2]/(0040,0007)"]
    assert [text.character_sets for text in found.texts] == [("GB18030",), ("ISO_IR 192",), ("GB18030",)]
    assert found.texts[1].value.decode() == "胸部"


def test_texts_are_kept_up_to_a_bound_and_the_rest_is_counted(file: Path) -> None:
    many = b"".join(LITTLE.element(0x00081030 + n, "LO", "检查".encode()) for n in range(0, 40, 2))
    found = examine(write(file, many + IDENTITY), Limits(kept_text_bytes=300))
    assert len(found.texts) + found.texts_left_out == 20
    assert 0 < len(found.texts) < 6


def test_unknown_content_is_read_as_implicit_little_endian(file: Path) -> None:
    inside = Encoding(implicit=True)
    hidden = inside.item(inside.element(0x00081150, "UI", CT), undefined=True)
    for syntax in (EXPLICIT, BIG):
        code = ENCODINGS[syntax]
        unknown = code.head(0x00091010, "UN", UNDEFINED) + hidden + inside.head(0xFFFEE0DD, "", 0)
        assert examine(write(file, unknown + code.identity(), syntax)).depth == 1


def test_habits_of_real_devices_pass_and_are_noted(file: Path) -> None:
    odd = LITTLE.head(0x00081030, "LO", 3) + b"abc"
    found = examine(write(file, odd + LITTLE.identity(study="1.02.3") + bytes(512), head=file_head(preamble=b"II*\0")))
    assert len(found.notes) == 4
    assert any("leading zero" in note for note in found.notes)
    assert any("odd" in note for note in found.notes)
    assert any("512 zeros" in note for note in found.notes)
    assert any("TIFF" in note for note in found.notes)


def test_private_binary_that_only_begins_like_an_item_is_passed_over(file: Path) -> None:
    found = examine(write(file, LITTLE.element(0x00091010, "UN", b"\xfe\xff\0\xe0" + b"\x99" * 60) + IDENTITY))
    assert found.series_instance_uid == "1.2.3.4.1"


def test_a_list_of_character_sets_that_would_fill_the_memory_is_refused(file: Path) -> None:
    flood = LITTLE.element(0x00080005, "CS", "\\" * 16000)
    refused(write(file, flood + IDENTITY), r"\(0008,0005\) holds 16000 bytes", Malformed)


# Depth, counts, lengths


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("depth", [33, 100, 1_000, 10_000, 100_000])
def test_nesting_is_refused_at_its_limit_however_deep(file: Path, syntax: str, undefined: bool, depth: int) -> None:
    code = ENCODINGS[syntax]
    write(file, code.identity() + code.nested(depth, undefined=undefined), syntax)
    assert refused(file, "more than 32 deep", BeyondLimit) < 5


def test_nesting_up_to_the_limit_passes(file: Path) -> None:
    assert examine(write(file, IDENTITY + LITTLE.nested(32, undefined=True))).depth == 32


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("inside", [Encoding(implicit=True), LITTLE])
def test_nesting_hidden_in_unknown_and_private_values_is_found(file: Path, undefined: bool, inside: Encoding) -> None:
    content = inside.item(inside.nested(1_000, undefined=undefined, tag=0x00091010 if inside.implicit else 0x0040A730))
    refused(write(file, LITTLE.element(0x00091001, "UN", content) + IDENTITY), "more than 32 deep", BeyondLimit)
    private = Encoding(implicit=True).element(0x00091001, "UN", content)
    refused(write(file, private + ENCODINGS[IMPLICIT].identity(), IMPLICIT), "more than 32 deep", BeyondLimit)


def test_floods_of_items_elements_and_fragments_end_at_their_limits(file: Path) -> None:
    few = Limits(elements=100_000, fragments=100_000)
    items = LITTLE.head(0x0040A730, "SQ", UNDEFINED)
    assert refused(write(file, (IDENTITY, items, *repeat(LITTLE.item() * 8192, 1024))), "100000 elements", BeyondLimit, few) < 5
    elements = repeat(LITTLE.element(0x00091010, "LO", "") * 8192, 512)
    assert refused(write(file, (IDENTITY, *elements)), "100000 elements", BeyondLimit, few) < 5
    fragments = (IDENTITY, LITTLE.head(PIXELS, "OB", UNDEFINED), *repeat(LITTLE.item() * 8192, 512))
    assert refused(write(file, fragments, RLE), "shorter than the header of an RLE", Malformed, few) < 5
    assert refused(write(file, fragments, MPEG), "100000 fragments", BeyondLimit, few) < 5


def test_headers_and_values_of_absurd_length_are_refused_without_being_read(file: Path) -> None:
    texts = LITTLE.element(0x00091010, "UT", b"x" * (1 << 17))
    refused(write(file, IDENTITY + texts), "131072 bytes; 100000 are allowed", BeyondLimit, Limits(value_bytes=100_000))
    refused(write(file, (IDENTITY, *repeat(texts, 20))), "header holds more", BeyondLimit, Limits(header_bytes=MIB))


def test_too_much_time_is_a_reason(file: Path) -> None:
    write(file, (IDENTITY, *repeat(LITTLE.element(0x00091010, "LO", "") * 8192, 128)))
    refused(file, "takes longer than", BeyondLimit, Limits(seconds=0.05))


def test_memory_stays_flat_over_gigabytes_of_pixels_and_fragments(file: Path) -> None:
    write(file, IDENTITY + LITTLE.image(50_000, 40_000) + LITTLE.head(PIXELS, "OW", 2_000_000_000))
    os.truncate(file, file.stat().st_size + 2_000_000_000)  # a sparse file: no byte of it is written
    other = file.with_name("slide.dcm")
    frame = jpeg(256, 256) + bytes(20_000)
    fragments = [LITTLE.head(PIXELS, "OB", UNDEFINED), LITTLE.item(), *repeat(LITTLE.item(frame) * 100, 50)]
    write(other, (IDENTITY, LITTLE.image(256, 256, "5000"), *fragments, LITTLE.head(0xFFFEE0DD, "", 0)), JPEG)
    tracemalloc.start()
    assert examine(file).rows == 50_000
    assert examine(other).frames == 5000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


# Deflate


@pytest.mark.parametrize("inflated", [256 * MIB, 4 << 30])
def test_a_deflate_bomb_is_refused_before_it_unfolds(file: Path, inflated: int) -> None:
    deflate_bomb(file, inflated)
    assert file.stat().st_size < inflated // 800
    assert refused(file, "times its size|more than 1073741824", BeyondLimit) < 10


def test_a_deflate_bomb_that_keeps_to_the_ratio_is_refused_by_its_size(file: Path) -> None:
    refused(deflate_bomb(file, 256 * MIB), "more than 134217728 bytes", BeyondLimit, Limits(inflated_bytes=128 * MIB))


@pytest.mark.parametrize("cut", [1, 5, 50])
def test_a_deflated_stream_that_breaks_off_or_is_damaged_is_refused(file: Path, cut: int) -> None:
    whole = deflated(IDENTITY + LITTLE.element(0x00091010, "OB", random.Random(1).randbytes(4000)))
    refused(write(file, whole[:-cut], DEFLATED), "breaks off|damaged")
    refused(write(file, b"\xff" * 64, DEFLATED), "damaged")
    refused(write(file, whole + b"payload behind the stream", DEFLATED), "25 bytes follow")


# Pixels


@pytest.mark.parametrize("frames", [None, "1", "999999", "1999999"])
def test_an_image_that_claims_more_pixels_than_bytes_is_refused(file: Path, frames: str | None) -> None:
    data_set = IDENTITY + LITTLE.image(65535, 65535, frames, bits=16) + LITTLE.element(PIXELS, "OW", bytes(64))
    refused(write(file, data_set), "hold 64 bytes", Malformed)


def test_absurd_frames_rows_and_samples_are_refused(file: Path) -> None:
    pixels = LITTLE.element(PIXELS, "OW", bytes(64))
    refused(write(file, IDENTITY + LITTLE.image(1, 1, "2147483647") + pixels), "2147483647", BeyondLimit)
    refused(write(file, IDENTITY + LITTLE.image(1, 1, "-5") + pixels), "no number", Malformed)
    refused(write(file, IDENTITY + LITTLE.image(1, 1, "9" * 5000) + pixels), "no number", Malformed)
    for broken in (LITTLE.image(0, 8), LITTLE.image(8, 0), LITTLE.image(8, 8, bits=0), LITTLE.image(1, 1, samples=60000)):
        refused(write(file, IDENTITY + broken + pixels), "No image has", Malformed)
    refused(write(file, IDENTITY + pixels), "without Rows", Malformed)
    behind = LITTLE.element(PIXELS, "OW", bytes(64)) + LITTLE.image(65535, 65535)
    refused(write(file, IDENTITY + behind), "hold 64 bytes", Malformed)


def test_native_pixels_with_room_to_spare_and_subsampled_ones_pass(file: Path) -> None:
    image = LITTLE.image(4, 4, samples=3, photometric="YBR_FULL_422")
    assert examine(write(file, IDENTITY + image + LITTLE.element(PIXELS, "OB", bytes(32)))).notes == ()
    assert (
        "16 bytes more" in examine(write(file, IDENTITY + LITTLE.image(4, 4) + LITTLE.element(PIXELS, "OB", bytes(32)))).notes[0]
    )
    refused(write(file, IDENTITY + image + LITTLE.element(PIXELS, "OB", bytes(30))), "need 32")


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG, jpeg(65535, 65535)),
        (JPEG, jpeg(65535, 65535, before=jpeg_segment(60_000) * 3 + b"\xff" * 9)),
        (JPEG, jpeg(60000, 60000, marker=0xF7)),
        (JPEG_2000, jpeg_2000(1 << 31, 1 << 31)),
        (JPEG_2000, jpeg_2000(512, 512, components=16384)),
        (JPEG_XL, jpeg_xl(1 << 29, 1 << 29)),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_compressed_frame_that_unfolds_beyond_its_image_is_refused(file: Path, syntax: str, frame: bytes, place: int) -> None:
    honest = {JPEG: jpeg(512, 512), JPEG_2000: jpeg_2000(512, 512), JPEG_XL: jpeg_xl(512, 512)}[syntax]
    frames = [honest, honest]
    assert examine(write(file, IDENTITY + LITTLE.image(512, 512, "2") + LITTLE.fragments(*frames), syntax)).frames == 2
    frames[place] = frame
    refused(
        write(file, IDENTITY + LITTLE.image(512, 512, "2") + LITTLE.fragments(*frames), syntax), "decodes to|by its own header"
    )


def test_frames_that_hide_their_size_are_refused(file: Path) -> None:
    image = IDENTITY + LITTLE.image(64, 64)
    many = jpeg(65535, 65535, before=jpeg_segment(2) * 300)
    refused(write(file, image + LITTLE.fragments(many), JPEG), "behind more than 64 segments", BeyondLimit)
    split = [b"\xff\xd8" + jpeg_segment(20), jpeg(65535, 65535)[2:]]
    refused(write(file, image + LITTLE.fragments(*split), JPEG), "tells no size", Malformed)
    refused(write(file, image + LITTLE.fragments(jpeg_2000(65535, 65535, tile=1)), JPEG_2000), "65535 tiles", BeyondLimit)
    refused(write(file, image + LITTLE.fragments(struct.pack("<16L", 16, *[64] * 15)), RLE), "segments", Malformed)
    refused(write(file, image + LITTLE.fragments(struct.pack("<16L", 1, 1 << 31, *[0] * 14)), RLE), "segments", Malformed)


def test_one_frame_and_all_frames_have_limits_of_their_own(file: Path) -> None:
    frame = jpeg(60000, 60000)
    refused(write(file, IDENTITY + LITTLE.image(60000, 60000) + LITTLE.fragments(frame), JPEG), "A frame decodes", BeyondLimit)
    slide = IDENTITY + LITTLE.image(20000, 20000, "1000") + LITTLE.fragments(*[jpeg(20000, 20000)] * 1000)
    refused(write(file, slide, JPEG), "The frames decode", BeyondLimit)
    video = IDENTITY + LITTLE.image(1080, 1920, "216000", samples=3) + LITTLE.fragments(bytes(100))
    assert examine(write(file, video, MPEG)).frames == 216_000
    refused(write(file, IDENTITY + LITTLE.image(8, 8, "9") + LITTLE.fragments(jpeg(8, 8)), JPEG), "too few for 9", Malformed)


def test_pixels_that_contradict_the_transfer_syntax_are_refused(file: Path) -> None:
    image = IDENTITY + LITTLE.image(8, 8)
    refused(write(file, image + LITTLE.fragments(jpeg(8, 8)), EXPLICIT), "has none", Malformed)
    refused(write(file, image + LITTLE.element(PIXELS, "OB", bytes(64)), JPEG), "not compressed", Malformed)


# Identity


@pytest.mark.parametrize("name", ["sop_class", "instance", "study", "series"])
@pytest.mark.parametrize(
    "uid", ["", "../../etc/passwd", "1.2/3", "1..2", ".1", "1.2.", "1" * 65, "1.2\n.3", "1.2\0.3", "1.2.３", "%n%s"]
)
def test_a_missing_uid_or_one_that_is_none_is_refused_by_its_name(file: Path, name: str, uid: str) -> None:
    keyword = {
        "sop_class": "SOPClassUID",
        "instance": "SOPInstanceUID",
        "study": "StudyInstanceUID",
        "series": "SeriesInstanceUID",
    }
    refused(write(file, LITTLE.identity(**{name: uid})), rf"{keyword[name]} \(.*(missing|no UID)")


def test_what_the_command_and_the_data_set_say_must_agree(file: Path) -> None:
    refused(write(file, IDENTITY, head=file_head(instance="1.2.9")), "SOPInstanceUID is 1.2.3.4.5 in the data set and 1.2.9")
    refused(write(file, IDENTITY, head=file_head(sop_class="1.2.840.10008.5.1.4.1.1.4")), "SOPClassUID is")
    refused(write(file, IDENTITY + LITTLE.element(0x00080018, "UI", "1.2.99")), "twice", Malformed)
    refused(write(file, IDENTITY + LITTLE.element(0x00020010, "UI", BIG)), "no place", Malformed)


def test_a_transfer_syntax_must_be_known_and_true(file: Path) -> None:
    refused(write(file, IDENTITY, "1.2.3.4"), "transfer syntax 1.2.3.4 is unknown")
    refused(write(file, IDENTITY, head=file_head(None)), "TransferSyntaxUID .* is missing")
    for said in (IMPLICIT, EXPLICIT, BIG):
        for written in {IMPLICIT, EXPLICIT, BIG} - {said}:
            refused(write(file, ENCODINGS[written].identity(), said))


def test_the_index_of_a_disk_is_told_from_an_instance(file: Path) -> None:
    refused(write(file, b"", head=file_head(sop_class="1.2.840.10008.1.3.10")), "DICOMDIR", MediaDirectory)


# Other formats and other files


@pytest.mark.parametrize(
    "preamble",
    [
        b"MZ\x90\0", b"\x7fELF\x02", b"#!/bin/sh\nrm -rf ~\n#", b"  \n#!/bin/sh", b"%PDF-1.7",
        b"\0\0\0%PDF-1.4", b"<html><script>",
        b"\xef\xbb\xbf<!DOCTYPE html>", b"aaa<script>", b"<?php system(", b"PK\x03\x04", b"Rar!\x1a",
        b"\xca\xfe\xba\xbe", b"\x1f\x8b\x08",
        b"GIF89a/*", b"@echo off\r\n", b"L\0\0\0\x01\x14\x02\0", b"\xd0\xcf\x11\xe0\xa1",
    ],
)  # fmt: skip
def test_a_file_that_is_another_format_too_is_refused(file: Path, preamble: bytes) -> None:
    refused(write(file, IDENTITY, head=file_head(preamble=preamble)), "too", Malformed)


@pytest.mark.parametrize("preamble", [b"II*\0", b"MM\0*", b"II+\0", b"Rubo DICOM Viewer", b"\x01"])
def test_preambles_of_slides_and_of_toolkits_pass(file: Path, preamble: bytes) -> None:
    assert examine(write(file, IDENTITY, head=file_head(preamble=preamble))).notes


def test_an_archive_behind_the_data_set_is_refused(file: Path) -> None:
    end = b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, 1, 1, 46, 0, 4) + b"note"
    refused(write(file, IDENTITY + LITTLE.element(0xFFFCFFFC, "OB", end)), "ZIP archive too", Malformed)


def test_what_is_no_regular_file_is_refused_and_nobody_waits_for_it(file: Path) -> None:
    honest = write(file, IDENTITY)
    link, pipe = file.with_name("link"), file.with_name("pipe")
    link.symlink_to(honest)
    os.mkfifo(pipe)
    for path in (link, pipe, file.parent, Path("/dev/zero")):
        assert refused(path, "no regular file", Malformed) < 1
    with pytest.raises(FileNotFoundError):
        examine(file.with_name("absent"))


def test_the_file_meta_information_must_be_exactly_as_long_as_it_says(file: Path) -> None:
    whole = file_head() + IDENTITY
    for length in (0, 1, 50, 93, 95, 200, 65_000, 70_000, UNDEFINED):
        file.write_bytes(whole[:140] + struct.pack("<L", length) + whole[144:])
        refused(file)
    twice = LITTLE.element(0x00020010, "UI", DEFLATED)
    refused(write(file, IDENTITY, head=file_head(other=twice)), "twice", Malformed)


# Broken structure


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_items_and_sequences_without_their_ends_are_refused(file: Path, syntax: str) -> None:
    code = ENCODINGS[syntax]
    sequence, item = code.head(0x0040A730, "SQ", UNDEFINED), code.head(0xFFFEE000, "", UNDEFINED)
    item_end, sequence_end = code.head(0xFFFEE00D, "", 0), code.head(0xFFFEE0DD, "", 0)
    inside = code.element(0x00081150, "UI", CT)
    for broken in (
        sequence, sequence + item, sequence + item + inside, sequence + item + inside + item_end, item, item_end, sequence_end,
        sequence + item + sequence_end, sequence + item + inside + sequence_end, sequence + inside, sequence + item_end,
        sequence + sequence_end[:-4] + b"\4\0\0\0", code.head(0x0040A730, "SQ", 8) + code.head(0xFFFEE000, "", 100),
        code.head(0x0040A730, "SQ", 20) + code.item(inside), code.head(0x0040A730, "SQ", 8) + sequence_end,
        code.head(0x0040A730, "SQ", 8) + code.head(0xFFFEE000, "", UNDEFINED), sequence + code.item() + item_end,
    ):  # fmt: skip
        refused(write(file, code.identity() + broken, syntax), kind=Malformed)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
@pytest.mark.parametrize("vr", ["OW", "OB", "UT", "UC", "LO"])
def test_the_undefined_length_in_wrong_places_is_refused(file: Path, syntax: str, vr: str) -> None:
    code = ENCODINGS[syntax]
    tag = {"OW": 0x60003000, "OB": 0x00281202, "UT": 0x0040A160, "UC": 0x00080119, "LO": 0x00081030}[vr]
    if vr == "LO" and not code.implicit:
        tag, vr = 0x0040A160, "UT"
    refused(write(file, code.identity() + code.head(tag, vr, UNDEFINED) + bytes(64), syntax), kind=Malformed)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG, DEFLATED, JPEG, RLE])
def test_a_file_cut_at_any_byte_is_refused_unless_it_is_complete_there(file: Path, syntax: str) -> None:
    code = ENCODINGS.get(syntax, LITTLE)
    nested = code.sequence(0x0040A730, code.item(code.element(0x00081150, "UI", CT), undefined=True), code.item(), undefined=True)
    compressed = {JPEG: jpeg(4, 4), RLE: struct.pack("<16L", 1, 64, *[0] * 14) + bytes(16)}.get(syntax)
    pixels = code.element(PIXELS, "OW", bytes(range(1, 17))) if compressed is None else code.fragments(compressed)
    image = code.image(4, 4)
    data_set = nested + code.identity() + image + pixels
    whole = file_head(syntax) + (deflated(data_set) if syntax == DEFLATED else data_set)
    file.write_bytes(whole)
    assert examine(file).notes == ()
    passed = []
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        try:
            found = examine(file)
        except Poisoned:
            continue
        passed.append(length)
        if found.rows and len(whole) - length == len(pixels):
            assert "no pixel data" in found.notes[0]
    # Behind the identifiers any element but the pixels may be the last one; zeros may follow it.
    sizes = [
        b"",
        code.element(0x00280002, "US", 1),
        code.element(0x00280004, "CS", "MONOCHROME2"),
        *[code.element(0x00280010, "US", 1)] * 3,
    ]
    start = len(whole) - len(pixels) - len(image)
    ends = list(accumulate(len(size) if size else start for size in sizes)) if syntax != DEFLATED else []
    complete = [
        length for length in range(len(whole)) if any(not whole[end:length].strip(b"\0") for end in ends if end <= length)
    ]
    assert passed == complete


def test_random_damage_never_raises_anything_but_a_reason(file: Path) -> None:
    chance = random.Random(20261125)
    seeds = []
    for syntax, code in ENCODINGS.items():
        text = code.element(0x00080005, "CS", "GB18030") + code.element(0x00100010, "PN", "王^小东".encode("gb18030"))
        deep = code.nested(6, undefined=True) + code.nested(6, undefined=False)
        unknown = code.element(0x00091001, "UN", Encoding(implicit=True).item(Encoding(implicit=True).nested(3, undefined=False)))
        seeds.append(
            file_head(syntax) + text + code.identity() + deep + unknown + code.image(4, 4) + code.element(PIXELS, "OW", bytes(16))
        )
    for syntax, frame in ((JPEG, jpeg(4, 4, before=jpeg_segment(9))), (JPEG_2000, jpeg_2000(4, 4)), (JPEG_XL, jpeg_xl(4, 4))):
        seeds.append(file_head(syntax) + IDENTITY + LITTLE.image(4, 4) + LITTLE.fragments(frame, table=bytes(4)))
    seeds.append(file_head(DEFLATED) + deflated(IDENTITY + LITTLE.nested(5, undefined=True)))
    outcomes = {"passed": 0, "refused": 0}
    for _ in range(4_000):
        damaged = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(128, len(damaged))
            match chance.randrange(4):
                case 0:
                    damaged[place] = chance.randrange(256)
                case 1:
                    damaged[place : place + 4] = chance.choice(
                        [b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", bytes(4)]
                    )
                case 2:
                    del damaged[place : place + chance.randrange(1, 16)]
                case 3:
                    other = chance.choice(seeds)
                    start = chance.randrange(len(other))
                    damaged[place:place] = other[start : start + chance.randrange(1, 64)]
        file.write_bytes(damaged)
        try:
            examine(file, Limits(seconds=5))
        except Poisoned:
            outcomes["refused"] += 1
        else:
            outcomes["passed"] += 1
    assert min(outcomes.values()) > 20
