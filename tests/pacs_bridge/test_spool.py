"""The spool and the Part 10 digest: names that carry their story, moves that may be repeated, hashes of the data set alone."""

from __future__ import annotations

import functools
import hashlib
import os
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from core.clock import now
from pacs_bridge.part10 import DatasetDigest, NotPart10, dataset_digest
from pacs_bridge.spool import ArrivingFile, Spool, SpoolFull, SpoolName

CT = Path(str(get_testdata_file("CT_small.dcm")))


def arrived(spool: Spool, content: bytes = b"x") -> ArrivingFile:
    file = spool.begin(b"head")
    file.write(content)
    return file


@given(ae_title=st.text(min_size=1, max_size=16, alphabet=st.characters(max_codepoint=0xFFFF, exclude_characters="\x00")))
def test_a_name_tells_what_it_was_made_from_whatever_the_ae_title(ae_title: str) -> None:
    try:
        ae_title.encode()
    except UnicodeEncodeError:
        return
    made = SpoolName(
        received_at=now(), association_id=uuid.uuid4().hex, ae_title=ae_title, receiver="node-1", sha256="ab" * 32, size=2**40
    )
    name = str(made)
    assert "/" not in name
    assert len(name) < 255
    read = SpoolName.parse(name)
    assert (read.association_id, read.ae_title, read.receiver) == (made.association_id, ae_title, "node-1")
    assert (read.sha256, read.size) == (made.sha256, made.size)
    assert abs(read.received_at - made.received_at) < timedelta(microseconds=2)


def test_names_sort_by_the_time_of_receipt(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    names = [spool.keep(arrived(spool), association_id="a", ae_title=title) for title in ("Z", "A", "M")]
    assert spool.names_without_custody() == names


def test_every_move_may_be_repeated(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    name = spool.keep(arrived(spool, b"content"), association_id="a", ae_title="DR")
    assert SpoolName.parse(name).sha256 == hashlib.sha256(b"content").hexdigest()
    for _ in range(2):
        spool.hold(name)
    assert spool.names_without_custody() == []
    assert spool.path(name).read_bytes() == b"headcontent"
    for _ in range(2):
        spool.set_aside(name, tmp_path / "quarantine")
    assert (tmp_path / "quarantine" / name).read_bytes() == b"headcontent"
    for _ in range(2):
        spool.release(name)


def test_a_new_node_drops_only_what_nobody_was_told_of(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = spool.keep(arrived(spool), association_id="a", ae_title="DR")
    arrived(spool)
    assert spool.clear_arriving() == 1
    assert spool.names_without_custody() == [kept]


def test_notes_of_associations_are_read_in_order_until_they_are_struck_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, receiver="node-1")
    spool.note("opened", association_id="a", ae_title="DR", address="10.0.0.1")
    spool.note("released", association_id="a", ae_title="DR", address="10.0.0.1")
    (first, opened), (second, released) = spool.notes()
    assert (opened.event, opened.association_id, opened.ae_title, opened.address, opened.receiver) == (
        "opened", "a", "DR", "10.0.0.1", "node-1",
    )  # fmt: skip
    assert released.event == "released"
    for _ in range(2):
        spool.strike(first)
    assert [name for name, _ in spool.notes()] == [second]


def test_a_note_that_a_power_cut_left_empty_stops_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.note("opened", association_id="a")
    ((name, _),) = spool.notes()
    (spool.associations / name).write_bytes(b"")
    assert [note.event for _, note in spool.notes()] == ["lost"]


def test_many_threads_share_the_syncs_of_one_folder(tmp_path: Path) -> None:
    spool = Spool(tmp_path)

    def keep(number: int) -> str:
        return spool.keep(arrived(spool, b"%d" % number), association_id="a", ae_title="DR")

    with ThreadPoolExecutor(8) as threads:
        names = list(threads.map(keep, range(64)))
    assert sorted(names) == spool.names_without_custody()


def test_content_and_folder_entry_are_synced_in_that_order_before_the_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would leave: a name in the folder never stands for bytes that are not on the disk."""
    spool, done = Spool(tmp_path), list[str]()

    def noted(name: str, real: Callable[..., None], *arguments: object) -> None:
        real(*arguments)
        target = os.readlink(f"/proc/self/fd/{arguments[0]}") if isinstance(arguments[0], int) else ""
        done.append(f"{name} {'folder' if target == str(spool.new) else 'file'}")

    for name in ("fdatasync", "fsync", "rename"):
        monkeypatch.setattr(os, name, functools.partial(noted, name, getattr(os, name)))
    spool.keep(arrived(spool), association_id="a", ae_title="DR")
    assert done == ["fdatasync file", "rename file", "fsync folder"]


def test_a_crowded_disk_is_refused_before_it_is_full(tmp_path: Path) -> None:
    Spool(tmp_path, free_bytes=0).check_space()
    with pytest.raises(SpoolFull, match="MiB free"):
        Spool(tmp_path, free_bytes=2**60).check_space()


def test_the_digest_covers_the_data_set_and_not_the_meta_information(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(CT)
    before = dataset_digest(CT)
    dataset.file_meta.SourceApplicationEntityTitle = "ANOTHER"
    dataset.save_as(tmp_path / "other-meta.dcm", enforce_file_format=True)
    assert dataset_digest(tmp_path / "other-meta.dcm").sha256 == before.sha256
    dataset.PatientID = "changed"
    dataset.save_as(tmp_path / "other-data.dcm", enforce_file_format=True)
    assert dataset_digest(tmp_path / "other-data.dcm").sha256 != before.sha256


@given(cuts=st.lists(st.integers(min_value=1, max_value=4000), max_size=30))
def test_the_pieces_in_which_a_file_comes_do_not_matter(cuts: list[int]) -> None:
    whole = CT.read_bytes()
    digest, rest = DatasetDigest(), whole
    for cut in cuts:
        digest.update(rest[:cut])
        rest = rest[cut:]
    digest.update(rest)
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")
    assert (digest.size, digest.sha256) == (len(whole) - start, hashlib.sha256(whole[start:]).hexdigest())


@pytest.mark.parametrize("content", [b"", b"short", b"\0" * 500])
def test_what_is_no_part_10_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(NotPart10):
        dataset_digest(path)
