"""Files that ECG machines drop: taken when they are whole, told of beside them, and never twice, whatever dies in between."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from core.audit import verify
from core.clock import in_county, now
from core.database import Database
from core.settings import Settings
from core.tables import AuditEvent, Door, Instance, Study
from pacs_bridge.drop_folder import DropFolder
from pacs_bridge.import_words import FILE, in_chinese
from pacs_bridge.spool import SpoolFull
from tests.conftest import County
from tests.pacs_bridge.ecg import machine_files as machines


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """A service whose files need no quiet time; tests that need one set it."""
    return settings.model_copy(update={"drop": settings.drop.model_copy(update={"quiet_seconds": 0})})


@pytest.fixture
def near(settings: Settings, county: County) -> Path:
    """The township's folder."""
    folder = settings.drop_folder / "NEAR"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def drop(settings: Settings, database: Database, county: County) -> DropFolder:
    return DropFolder(settings, database)


def under(folder: Path, kind: str, settings: Settings) -> set[str]:
    """Return the names of what lies under today's ``done`` or ``refused``."""
    day = in_county(now(), settings.county.timezone).date().isoformat()
    place = folder / kind / day
    return {path.name for path in place.iterdir()} if place.is_dir() else set()


def custody(database: Database) -> list[Instance]:
    with database.reading() as session:
        return list(session.scalars(select(Instance).order_by(Instance.id)))


def patient(number: int) -> Callable[[Path], Path]:
    """Return a writer of the ECG of one of many patients."""

    def write(folder: Path) -> Path:
        scratch = folder.parent / f".scratch-{number}"
        scratch.mkdir()
        file = machines.muse(scratch, machines.eight_leads(1000 + number))
        moved = file.rename(folder / f"ecg-{number:02}.xml")
        scratch.rmdir()
        return moved

    return write


def test_an_ecg_goes_into_custody_and_to_done(
    drop: DropFolder, near: Path, settings: Settings, database: Database, county: County
) -> None:
    machines.muse(near, machines.eight_leads())
    assert drop.round() == 1
    (instance,) = custody(database)
    assert instance.door is Door.IMPORT
    assert under(near, "done", settings) == {"muse.xml"}
    assert not (near / "muse.xml").exists()
    with database.reading() as session:
        assert session.get_one(Study, instance.study_id).organisation_id == county.township
        (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "study_imported"))
        assert (event.actor, event.detail["organisation"]) == ("process:drop_folder", "NEAR")
        verify(session)


def test_each_organisation_has_its_folder(drop: DropFolder, settings: Settings) -> None:
    drop.round()
    assert {path.name for path in settings.drop_folder.iterdir() if path.is_dir()} == {"CITY", "COUNTY", "NEAR", "FAR"}


def test_a_file_that_is_no_ecg_is_refused_with_a_note_in_both_languages(
    drop: DropFolder, near: Path, settings: Settings, database: Database
) -> None:
    (near / "报告.pdf").write_bytes(b"%PDF-1.7 nothing")
    machines.muse(near, machines.eight_leads())
    assert drop.round() == 2
    assert len(custody(database)) == 1
    assert under(near, "refused", settings) == {"报告.pdf", "报告.pdf.txt"}
    (note,) = near.rglob("报告.pdf.txt")
    words = note.read_text(encoding="utf-8")
    assert "原因：报告.pdf 的格式：PDF 文档；心电图的图片没有波形数据。" in words
    assert "处理：请在机器上把记录导出为" in words
    assert "Reason: 报告.pdf is a PDF document" in words
    assert "Remedy: Export the recording" in words


def test_a_recording_of_two_files_is_taken_together_and_refused_together(
    drop: DropFolder, near: Path, settings: Settings, database: Database
) -> None:
    header = machines.wfdb(near, machines.twelve_leads())
    (data,) = (path for path in near.iterdir() if path.suffix == ".dat")
    assert drop.round() == 2
    assert under(near, "done", settings) == {header.name, data.name}
    machines.wfdb(near, machines.eight_leads())
    (near / data.name).unlink()
    drop.round()
    assert header.name in under(near, "refused", settings)
    (note,) = near.rglob("*.hea.txt")
    assert f"缺少数据文件 {data.name}" in note.read_text(encoding="utf-8")
    assert len(custody(database)) == 1


def test_archives_and_folders_are_taken_whole(drop: DropFolder, near: Path, settings: Settings, database: Database) -> None:
    folder = near / "stick"
    folder.mkdir()
    patient(1)(folder)
    with zipfile.ZipFile(near / "day.zip", "w") as archive:
        archive.write(patient(2)(near), "a/ecg.xml")
        archive.writestr("a/readme.docx", b"words")
    (near / "ecg-02.xml").unlink()
    (near / "broken.zip").write_bytes((near / "day.zip").read_bytes()[:-30])
    drop.round()
    assert len(custody(database)) == 2
    assert under(near, "done", settings) == {"stick"}
    assert under(near, "refused", settings) == {"day.zip", "day.zip.txt", "broken.zip", "broken.zip.txt"}


def test_a_file_that_grows_is_left_until_it_has_been_quiet(near: Path, settings: Settings, database: Database) -> None:
    quiet = 0.2
    patient_settings = settings.model_copy(update={"drop": settings.drop.model_copy(update={"quiet_seconds": quiet})})
    drop = DropFolder(patient_settings, database)
    whole = patient(1)(near).read_bytes()
    file = near / "ecg-01.xml"
    file.write_bytes(whole[:500])
    assert drop.round() == 0
    time.sleep(quiet)
    file.write_bytes(whole)
    assert drop.round() == 0, "it has changed"
    assert drop.round() == 0, "it has not been quiet for long enough"
    time.sleep(quiet)
    assert drop.round() == 1
    assert len(custody(database)) == 1


def test_a_file_that_somebody_holds_open_for_writing_is_left(near: Path, settings: Settings, database: Database) -> None:
    short = settings.model_copy(update={"drop": settings.drop.model_copy(update={"quiet_seconds": 0.01})})
    drop = DropFolder(short, database)
    file = patient(1)(near)
    with subprocess.Popen([sys.executable, "-c", f"f = open({str(file)!r}, 'ab'); print(flush=True); input()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:  # fmt: skip
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(3):
            assert drop.round() == 0
            time.sleep(0.02)
        writer.communicate(b"\n")
    assert drop.round() == 1


def test_hidden_unfinished_and_linked_files_stay(drop: DropFolder, near: Path, tmp_path: Path, database: Database) -> None:
    whole = patient(1)(near)
    secret = whole.rename(tmp_path / "elsewhere.xml")
    (near / "link.xml").symlink_to(secret)
    for name in (".hidden", "ecg.xml.part", "ecg.tmp", "ecg.xml~"):
        (near / name).write_bytes(secret.read_bytes())
    (near / "empty folder").mkdir()
    assert drop.round() == 0
    assert custody(database) == []
    assert len([path for path in near.iterdir() if path.name != ".taking"]) == 6


def test_the_same_file_again_is_done_again_and_is_one_instance(
    drop: DropFolder, near: Path, settings: Settings, database: Database
) -> None:
    for _ in range(2):
        patient(1)(near)
        assert drop.round() == 1
    assert len(custody(database)) == 1
    assert under(near, "done", settings) == {"ecg-01.xml", "ecg-01-2.xml"}


def test_a_full_disk_refuses_nothing(near: Path, settings: Settings, database: Database) -> None:
    full = settings.model_copy(update={"node": settings.node.model_copy(update={"free_bytes": 1 << 60})})
    patient(1)(near)
    with pytest.raises(SpoolFull):
        DropFolder(full, database).round()
    assert under(near, "refused", settings) == set()
    assert DropFolder(settings, database).round() == 1, "it is taken when there is room again"


DROP = """
import sys
from pathlib import Path
from core.database import Database
from core.settings import DropSettings, NodeSettings, Settings
from pacs_bridge.drop_folder import DropFolder
settings = Settings(data=Path(sys.argv[1]), drop=DropSettings(quiet_seconds=0), node=NodeSettings(free_bytes=0))
DropFolder(settings, Database(settings.database_address)).round()
"""


@pytest.mark.parametrize("moment", ["set apart", "in custody", "told of"])
def test_a_worker_killed_in_the_middle_loses_nothing_and_doubles_nothing(
    moment: str, drop: DropFolder, near: Path, settings: Settings, database: Database
) -> None:
    names = {patient(number)(near).name for number in range(8)}
    (near / "no.pdf").write_bytes(b"%PDF")
    worker = subprocess.Popen([sys.executable, "-c", DROP, str(settings.data)], env={**os.environ, "PYTHONPATH": os.getcwd()})

    def reached() -> bool:
        if moment == "set apart":
            return any((near / ".taking").rglob("*.xml"))
        if moment == "told of":
            return (near / "done").exists() or (near / "refused").exists()
        with database.reading() as session:
            return bool(session.scalar(select(func.count()).select_from(Instance)))

    deadline = time.monotonic() + 30
    while worker.poll() is None and not reached() and time.monotonic() < deadline:
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert reached()
    drop.round()
    assert len(custody(database)) == len(names)
    assert under(near, "done", settings) == names
    assert under(near, "refused", settings) == {"no.pdf", "no.pdf.txt"}
    assert [path for path in near.rglob("*") if path.is_file() and ".taking" in path.parts] == []


def test_every_sentence_of_the_list_finds_its_own_translation() -> None:
    for english, chinese in tomllib.loads(FILE.read_text(encoding="utf-8"))["phrases"].items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), english
        told = in_chinese(re.sub(r"{(\w+)}", r"<\1>", english))
        assert told == re.sub(r"{(\w+)}", r"<\1>", chinese)
    told = in_chinese("a.dat is WFDB; its file b.dat is missing.")
    assert told == "a.dat 的格式：WFDB；缺少数据文件 b.dat。"
    assert in_chinese("Put b.dat beside it and import both.") == "请把 b.dat 放在一起，再同时导入。"
    assert in_chinese("Nobody has written this sentence yet.") == "Nobody has written this sentence yet."
