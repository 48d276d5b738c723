"""A bundle from outside is unpacked with care and tried in a process that may die; each fault is said with its remedy."""

from __future__ import annotations

import hashlib
import json
import stat
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import pytest

from models.bundle import BUNDLES, describe_bundle, read_bundle
from models.bundle_fields import BundleRefused
from models.installing.admitting import admitted
from models.installing.home import ModelHome, UnknownModel
from models.installing.onnx_facts import NotOnnx, facts_of
from models.installing.sandbox import Limits, Trial, try_out
from models.installing.unpacking import unpack
from tests import onnx_bytes as onnx
from tests.made_bundles import bright_parts, grey_bundle, mean_grey, metadata_of, sphere_bundle, sphere_metadata, write_bundle

MEGABYTE = 1 << 20
LIMITS = Limits(seconds=20, memory_bytes=2048 * MEGABYTE, threads=1)


def zipped(folder: Path, *, top: str = "") -> Path:
    """Pack a bundle's folder."""
    file = folder.with_suffix(".zip")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, f"{top}{path.relative_to(folder)}")
    return file


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("top", ["", "made_sphere/"])
def test_an_archive_unpacks_to_what_the_folder_holds(tmp_path: Path, top: str) -> None:
    source = sphere_bundle(tmp_path)
    from_folder = unpack(source, tmp_path / "a", most_bytes=MEGABYTE, allow_code=False)
    from_archive = unpack(zipped(source, top=top), tmp_path / "b", most_bytes=MEGABYTE, allow_code=False)
    assert names(from_folder.folder) == names(from_archive.folder) == names(source)
    assert read_bundle(from_archive.folder).name == "made_sphere"


@pytest.mark.parametrize(
    "name",
    ["../outside.txt", "/etc/outside.txt", "configs/../../outside.txt", "a\\..\\b", "c:/x", "a" * 300, "x\n.txt", "d/" * 9 + "f"],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / "bad.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("configs/metadata.json", "{}")
        archive.writestr(name, "x")
    with pytest.raises(BundleRefused) as refused:
        unpack(file, tmp_path / "target", most_bytes=MEGABYTE, allow_code=False)
    assert "plain names" in refused.value.remedy
    assert not (tmp_path / "outside.txt").exists()


def test_links_are_refused_in_archives_and_folders(tmp_path: Path) -> None:
    file = tmp_path / "links.zip"
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("configs/metadata.json")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    folder = sphere_bundle(tmp_path)
    (folder / "models" / "more.onnx").symlink_to("/etc/passwd")
    for source in (file, folder):
        with pytest.raises(BundleRefused, match="link"):
            unpack(source, tmp_path / f"{source.name}.out", most_bytes=MEGABYTE, allow_code=False)


def test_a_bomb_is_stopped_at_the_limit_whatever_its_header_says(tmp_path: Path) -> None:
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("models/model.onnx", b"\0" * (50 * MEGABYTE))
    assert file.stat().st_size < MEGABYTE
    with pytest.raises(BundleRefused, match="more than 2 MB"):
        unpack(file, tmp_path / "target", most_bytes=2 * MEGABYTE, allow_code=False)
    assert sum(path.stat().st_size for path in (tmp_path / "target").rglob("*") if path.is_file()) <= 2 * MEGABYTE


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "many.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(501):
            archive.writestr(f"docs/{number}.txt", "")
    with pytest.raises(BundleRefused, match="more than 500 files"):
        unpack(file, tmp_path / "target", most_bytes=MEGABYTE, allow_code=False)


@pytest.mark.parametrize("name", ["scripts/inference.py", "models/model.pt", "models/model.ts", "docs/try.ipynb"])
def test_code_is_refused_and_never_copied_even_where_it_is_allowed(tmp_path: Path, name: str) -> None:
    source = sphere_bundle(tmp_path)
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text("raise SystemExit('run')")
    with pytest.raises(BundleRefused, match=name) as refused:
        unpack(source, tmp_path / "refused", most_bytes=MEGABYTE, allow_code=False)
    assert "--allow-code" in refused.value.remedy
    allowed = unpack(source, tmp_path / "allowed", most_bytes=MEGABYTE, allow_code=True)
    assert allowed.left_out == (name,)
    assert name not in names(allowed.folder)


def test_a_library_is_refused_always(tmp_path: Path) -> None:
    source = sphere_bundle(tmp_path)
    (source / "models" / "operators.so").write_bytes(b"\x7fELF")
    with pytest.raises(BundleRefused, match=r"operators\.so"):
        unpack(source, tmp_path / "target", most_bytes=MEGABYTE, allow_code=True)


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    for source in (tmp_path / "notes.txt", tmp_path / "nowhere"):
        with pytest.raises(BundleRefused, match=r"neither|not there"):
            unpack(source, tmp_path / "target", most_bytes=MEGABYTE, allow_code=False)


def test_the_facts_of_the_shipped_networks_are_read_without_a_runtime() -> None:
    facts = facts_of(BUNDLES / "chest_radiograph" / "models" / "model.onnx")
    assert facts.opsets[""] >= 17
    assert facts.nodes > 50
    assert not facts.external
    assert not facts.foreign


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x3a\xff\xff\xff\x7f", Random(1).randbytes(64), bright_parts()[:-3]],
    ids=["empty", "a ZIP", "a length without end", "noise", "cut off"],
)
def test_bytes_that_are_no_network_are_told_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(NotOnnx):
        facts_of(file)


def test_a_trial_measures_seconds_and_memory(tmp_path: Path) -> None:
    trial = try_out(describe_bundle(sphere_bundle(tmp_path)), LIMITS)
    assert isinstance(trial, Trial)
    assert (trial.opset, trial.operators, trial.input_shape) == (17, 3, (1, 1, 64, 64, 64))
    assert 0 <= trial.seconds < 5
    assert 20 * MEGABYTE < trial.peak_bytes < 1024 * MEGABYTE


def logarithm() -> bytes:
    """Return a network whose answer to zeros is not finite."""
    volume: list[int | str] = [1, 1, "x", "y", "z"]
    made = onnx.graph([onnx.node("Log", ["image"], ["mask"])], [onnx.tensor("image", volume)], [onnx.tensor("mask", volume)])
    return onnx.model(made)


def endless() -> bytes:
    """Return a network that goes round and round."""
    volume: list[int | str] = [1, 1, "x", "y", "z"]
    body = onnx.graph(
        [onnx.node("Identity", ["going"], ["on"]), onnx.node("Mul", ["value", "value"], ["next"])],
        [onnx.tensor("round", [], onnx.INT64), onnx.tensor("going", [], onnx.BOOL), onnx.tensor("value", volume)],
        [onnx.tensor("on", [], onnx.BOOL), onnx.tensor("next", volume)],
    )
    nodes = [onnx.node("Loop", ["rounds", "yes", "image"], ["mask"], onnx.subgraph("body", body))]
    constants = [onnx.constant("rounds", [1 << 40], kind=onnx.INT64), onnx.constant("yes", [True], kind=onnx.BOOL)]
    return onnx.model(onnx.graph(nodes, [onnx.tensor("image", volume)], [onnx.tensor("mask", volume)], constants))


def greedy() -> bytes:
    """Return a network that wants 3.6 GB for one answer."""
    volume: list[int | str] = [1, 1, "x", "y", "z"]
    nodes = [
        onnx.node("Tile", ["image", "times"], ["many"]),
        onnx.node("ReduceMean", ["many"], ["mean"], onnx.whole("keepdims", 1)),
        onnx.node("Add", ["image", "mean"], ["mask"]),
    ]
    constants = [onnx.constant("times", [1, 3500, 1, 1, 1], dims=[5], kind=onnx.INT64)]
    return onnx.model(onnx.graph(nodes, [onnx.tensor("image", volume)], [onnx.tensor("mask", volume)], constants))


def of_another_kind() -> bytes:
    volume: list[int | str] = [1, 1, "x", "y", "z"]
    made = onnx.graph(
        [onnx.node("Guess", ["image"], ["mask"], domain="com.acme")],
        [onnx.tensor("image", volume)],
        [onnx.tensor("mask", volume)],
    )
    return onnx.model(made, domains=["com.acme"])


def with_weights_elsewhere() -> bytes:
    volume: list[int | str] = [1, 1, "x", "y", "z"]
    made = onnx.graph(
        [onnx.node("Add", ["image", "weight"], ["mask"])],
        [onnx.tensor("image", volume)],
        [onnx.tensor("mask", volume)],
        [onnx.constant("weight", [0.0], external="../../../etc/passwd")],
    )
    return onnx.model(made)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (logarithm(), "not finite on zeros"),
        (of_another_kind(), "com.acme:Guess"),
        (with_weights_elsewhere(), "weights from another file"),
        (bright_parts(), "num_channels|shape"),
        (onnx.model(b"", opset=17), "cannot be read|cannot load|names the inputs"),
        (b"not a network", "cannot be read"),
        (onnx.model(onnx.graph([onnx.node("Log", ["image"], ["mask"])], [], [])), "cannot load|names the inputs"),
    ],
    ids=["not finite", "operators of its own", "external data", "other shapes", "empty", "no ONNX", "no inputs"],
)
def test_a_fault_of_the_network_is_named(tmp_path: Path, network: bytes, words: str) -> None:
    metadata = sphere_metadata()
    metadata["network_data_format"]["outputs"]["mask"]["num_channels"] = 1
    with pytest.raises(BundleRefused, match=words) as refused:
        try_out(describe_bundle(write_bundle(tmp_path, metadata, network)), LIMITS)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("network", "limits", "words"),
    [
        (endless(), Limits(seconds=2, memory_bytes=LIMITS.memory_bytes, threads=1), "processor time|time limit"),
        (greedy(), LIMITS, "not enough memory"),
        (logarithm(), Limits(seconds=20, memory_bytes=120 * MEGABYTE, threads=1), "trial failed|not enough memory"),
    ],
    ids=["endless", "greedy", "no room for the runtime"],
)
def test_a_network_that_would_take_the_machine_ends_its_own_process(
    tmp_path: Path, network: bytes, limits: Limits, words: str
) -> None:
    metadata = sphere_metadata()
    metadata["network_data_format"]["outputs"]["mask"]["num_channels"] = 1
    with pytest.raises(BundleRefused, match=words) as refused:
        try_out(describe_bundle(write_bundle(tmp_path, metadata, network)), limits)
    assert "models.trial" in refused.value.remedy


def test_the_dtype_and_the_names_of_tensors_must_agree(tmp_path: Path) -> None:
    cases: list[tuple[str, Any, str]] = [("dtype", "float16", "float16.*tensor.float"), ("num_channels", 2, "shape")]
    for number, (key, value, words) in enumerate(cases):
        metadata = metadata_of("made_grey", channels=2, inputs=(32, 32), outputs=())
        metadata["sumu"] = {**sphere_metadata()["sumu"], "labels": [], "thresholds": {}}
        metadata["network_data_format"]["inputs"]["image"][key] = value
        with pytest.raises(BundleRefused, match=words):
            try_out(describe_bundle(write_bundle(tmp_path / str(number), metadata, mean_grey(32))), LIMITS)


def test_versions_stand_side_by_side_and_never_change(tmp_path: Path) -> None:
    home = ModelHome(tmp_path / "models")
    for version in ("1.9.0", "1.10.0"):
        metadata = sphere_metadata()
        metadata["version"] = version
        bundle = read_bundle(write_bundle(tmp_path, metadata, bright_parts()))
        with home.staging() as scratch:
            staged = unpack(bundle.folder, scratch / "b", most_bytes=MEGABYTE, allow_code=False).folder
            home.keep(staged, bundle)
    assert [one.version for one in home.kept("made_sphere")] == ["1.9.0", "1.10.0"]
    assert home.find("made_sphere").version == "1.10.0"
    home.put_to_work("made_sphere", "1.9.0")
    assert home.find("made_sphere").version == "1.9.0"
    with home.staging() as scratch:
        staged = unpack(bundle.folder, scratch / "b", most_bytes=MEGABYTE, allow_code=False).folder
        with pytest.raises(BundleRefused, match=r"1\.10\.0 is here already"):
            home.keep(staged, bundle)
    home.remove(home.find("made_sphere", "1.9.0"))
    assert home.in_use() == {}
    with pytest.raises(UnknownModel, match=r"1\.9\.0"):
        home.find("made_sphere", "1.9.0")
    assert [path.name for path in home.folder.iterdir() if path.name.startswith(".incoming")] == []


def test_a_bundle_that_is_not_whole_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    folder = grey_bundle(tmp_path)
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text(encoding="utf-8"))
    metadata["sumu"]["weights"]["sha256"] = hashlib.sha256(b"other").hexdigest()
    file.write_text(json.dumps(metadata), encoding="utf-8")
    home = ModelHome(tmp_path / "models")
    for spoil, words in (
        (None, "do not use these weights"),
        ("LICENSE", "LICENSE is missing"),
        ("configs/metadata.json", "metadata"),
    ):
        if spoil:
            (folder / spoil).unlink()
        with (
            pytest.raises(BundleRefused, match=words) as refused,
            admitted(folder, home, LIMITS, most_bytes=MEGABYTE, allow_code=False, check_words=lambda _: None),
        ):
            pass
        assert refused.value.bundle == folder.name  # what the administrator gave, not our copy of it
        assert refused.value.remedy
    assert list(home.folder.iterdir()) == []
