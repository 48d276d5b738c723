"""The process that examines: it may die, and nobody else notices but by the verdict."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path

import pytest

from pacs_bridge.examination.examine import examine
from pacs_bridge.examination.examined import Examined
from pacs_bridge.examination.guard import Examiner, ExaminerUnavailable
from pacs_bridge.examination.limits import Limits
from pacs_bridge.examination.poisoned import BeyondLimit, Poisoned, Unreadable
from tests.pacs_bridge.examination.files import IMPLICIT, LITTLE, PIXELS, UNDEFINED, Encoding, deflate_bomb, write

MORTAL = "tests.pacs_bridge.examination.mortal_child"
TEXT = LITTLE.element(0x00080005, "CS", "GB18030") + LITTLE.element(0x00100010, "PN", "王^小东".encode("gb18030"))
HONEST = TEXT + LITTLE.identity() + LITTLE.image(4, 4) + LITTLE.element(PIXELS, "OW", bytes(16))


@pytest.fixture
def place(tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: write(tmp_path / name, HONEST)


@pytest.fixture
def mortal() -> Iterator[Examiner]:
    with Examiner(Limits(seconds=1), child=MORTAL) as examiner:
        yield examiner


def memory_peak(pid: int) -> int:
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(what: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_verdicts_cross_the_process_unchanged_and_in_order(place: Callable[[str], Path], tmp_path: Path) -> None:
    honest = [place(f"{number}.dcm") for number in range(150)]
    hostile = write(tmp_path / "hostile.dcm", LITTLE.identity() + LITTLE.nested(50, undefined=True))
    odd_name = place("名字\udcff\n.dcm")
    with Examiner() as examiner:
        verdicts = examiner.examine_many([*honest, hostile, tmp_path / "absent.dcm", tmp_path, odd_name])
    assert verdicts[:150] == [examine(path) for path in honest]
    refused, absent, folder, odd = verdicts[150:]
    assert isinstance(refused, BeyondLimit)
    assert "32 deep" in refused.reason
    assert isinstance(absent, Unreadable)
    assert absent.missing
    assert isinstance(folder, Poisoned)
    assert isinstance(odd, Examined)
    assert odd.texts[0].value.decode("gb18030") == "王^小东 "


def test_a_file_that_kills_its_examination_twice_is_poisoned_and_the_others_go_on(
    mortal: Examiner, place: Callable[[str], Path]
) -> None:
    names = ["1.dcm", "deadly.dcm", "2.dcm", "unlucky.dcm", "3.dcm"]
    verdicts = mortal.examine_many([place(name) for name in names])
    assert [type(verdict) for verdict in verdicts] == [Examined, Poisoned, Examined, Examined, Examined]
    assert "died of it" in str(verdicts[1])


def test_time_and_memory_of_the_process_are_bounded(place: Callable[[str], Path]) -> None:
    with Examiner(Limits(seconds=0.2), memory_bytes=256 << 20, child=MORTAL) as examiner:
        start = time.monotonic()
        greedy, endless, after = examiner.examine_many([place("greedy.dcm"), place("endless.dcm"), place("after.dcm")])
    assert "more memory" in str(greedy)
    assert "died of it" in str(endless)
    assert isinstance(after, Examined)
    assert time.monotonic() - start < 30


def test_a_process_that_is_stuck_is_ended(place: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacs_bridge.examination.guard._GRACE_SECONDS", 0.3)
    with Examiner(Limits(seconds=0.2), child=MORTAL) as examiner:
        stuck, after = examiner.examine_many([place("stuck.dcm"), place("after.dcm")])
    assert isinstance(stuck, Unreadable)
    assert "timed out" in str(stuck)
    assert isinstance(after, Examined)


def test_the_process_holds_no_socket_and_no_file_of_its_parent_and_writes_none(
    mortal: Examiner, place: Callable[[str], Path], tmp_path: Path
) -> None:
    with socket.socket() as listening, (tmp_path / "secret").open("w") as secret:
        for descriptor in (listening.fileno(), secret.fileno()):
            os.set_inheritable(descriptor, True)
        listening.bind(("127.0.0.1", 0))
        curious, writing = mortal.examine_many([place("curious.dcm"), place("writing.dcm")])
    assert "socket:" not in str(curious)
    assert "secret" not in str(curious)
    assert "pipe:" in str(curious)
    assert isinstance(writing, Unreadable)
    assert (tmp_path / "writing.written").read_text() == ""


def test_memory_of_the_process_stays_flat_whatever_it_examines(tmp_path: Path, place: Callable[[str], Path]) -> None:
    sparse = write(
        tmp_path / "sparse.dcm", LITTLE.identity() + LITTLE.image(50_000, 40_000) + LITTLE.head(PIXELS, "OW", 2_000_000_000)
    )
    os.truncate(sparse, sparse.stat().st_size + 2_000_000_000)
    code = Encoding(implicit=True)
    flood = (LITTLE.identity(), LITTLE.head(0x0040A730, "SQ", UNDEFINED), *repeat(LITTLE.item() * 8192, 256))
    texts = repeat(LITTLE.element(0x00091010, "LO", "检查".encode()) * 4096, 64)
    hostile = [
        sparse,
        deflate_bomb(tmp_path / "bomb.dcm", 1 << 30),
        write(tmp_path / "deep.dcm", code.identity() + code.nested(100_000, undefined=False), IMPLICIT),
        write(tmp_path / "flood.dcm", flood),
        write(tmp_path / "texts.dcm", (LITTLE.identity(), *texts)),
        write(tmp_path / "long.dcm", LITTLE.identity() + LITTLE.element(0x0040A160, "UT", bytes(15 << 20))),
        write(tmp_path / "zeros.dcm", LITTLE.identity() + bytes(900_000)),
    ]
    with Examiner(Limits(elements=500_000)) as examiner:
        assert isinstance(examiner.examine_many([place("honest.dcm")])[0], Examined)
        assert examiner.pid is not None
        pid, before = examiner.pid, memory_peak(examiner.pid)
        verdicts = examiner.examine_many(hostile)
        assert [type(verdict) for verdict in verdicts].count(Unreadable) == 0
        assert examiner.pid == pid
        assert memory_peak(pid) - before < 30 << 20


def test_a_process_that_died_between_two_batches_is_replaced(place: Callable[[str], Path]) -> None:
    with Examiner() as examiner:
        examiner.examine_many([place("1.dcm")])
        assert examiner.pid is not None
        os.kill(examiner.pid, signal.SIGKILL)
        wait_for(lambda: examiner.pid is not None and not running(examiner.pid))
        assert [type(verdict) for verdict in examiner.examine_many([place("2.dcm")])] == [Examined]


def test_closing_ends_the_process_and_it_may_be_used_again(place: Callable[[str], Path]) -> None:
    examiner = Examiner()
    examiner.examine_many([place("1.dcm")])
    pid = examiner.pid
    assert pid is not None
    examiner.close()
    examiner.close()
    assert not running(pid)
    assert isinstance(examiner.examine_many([place("2.dcm")])[0], Examined)
    examiner.close()


@pytest.mark.parametrize("name", ["1.dcm", "stuck.dcm"])
def test_the_death_of_the_parent_ends_the_process(place: Callable[[str], Path], name: str) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom pacs_bridge.examination.guard import Examiner\n"
        f"examiner = Examiner(child={MORTAL!r})\nexaminer.examine_many([Path(sys.argv[1])])\n"
        "print(examiner.pid, flush=True)\nexaminer.examine_many([Path(sys.argv[2])])\nsys.stdin.read()\n"
    )
    first, second = place("first.dcm"), place(name)
    with subprocess.Popen(
        [sys.executable, "-c", program, first, second], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert running(pid)
        parent.kill()
    wait_for(lambda: not running(pid))


def test_a_process_that_cannot_start_blames_no_file(place: Callable[[str], Path]) -> None:
    with Examiner(child="pacs_bridge.examination.absent") as examiner, pytest.raises(ExaminerUnavailable):
        examiner.examine_many([place("1.dcm")])


def test_many_threads_may_ask_at_once(place: Callable[[str], Path]) -> None:
    paths = [place(f"{number}.dcm") for number in range(40)]
    answers: dict[int, list[object]] = {}
    with Examiner() as examiner:
        threads = [
            threading.Thread(target=lambda n=n: answers.update({n: list(examiner.examine_many(paths[n::4]))})) for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {n: [examine(path) for path in paths[n::4]] for n in range(4)} == answers


def test_more_open_files_than_select_can_count_do_not_matter(place: Callable[[str], Path]) -> None:
    program = (
        "import os, resource, sys\nfrom pathlib import Path\nfrom pacs_bridge.examination.guard import Examiner\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (1500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n"
        "held = [os.open('/dev/null', os.O_RDONLY) for _ in range(1200)]\n"
        "with Examiner() as examiner:\n    print(type(examiner.examine_many([Path(sys.argv[1])])[0]).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, place("1.dcm")], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Examined", done.stderr
