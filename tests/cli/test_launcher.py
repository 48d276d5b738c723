"""The launcher: what it asks for, and what the lock files promise."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def pinned(lock: str) -> dict[str, str]:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", text, re.MULTILINE))


def test_serving_needs_no_torch_and_training_does() -> None:
    assert "torch" not in pinned("serve.lock")
    assert "torch" in pinned("train.lock")
    assert not [name for name in pinned("serve.lock") if name.startswith("nvidia")]


def test_the_tests_run_on_the_very_versions_that_serve() -> None:
    tests = pinned("test.lock")
    assert {name: tests.get(name) for name in pinned("serve.lock")} == pinned("serve.lock")


@pytest.mark.parametrize("lock", ["serve.lock", "test.lock"])
def test_every_pin_has_its_hashes(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    for block in re.split(r"\n(?=\S)", text.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_everything_that_pyproject_names_is_pinned() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=\[;! ]", requirement)[0].lower().replace("_", "-")
        assert name in {known.lower().replace("_", "-") for known in pinned("serve.lock")}, requirement


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody without rights")
def test_without_root_it_prints_the_exact_line_and_stops(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    checkout, programs = tmp_path / "checkout", tmp_path / "bin"
    checkout.mkdir()
    programs.mkdir()
    shutil.copy(ROOT / "sumu", checkout / "sumu")
    (programs / "dpkg-query").write_text("#!/bin/sh\nexit 1\n")  # a machine on which nothing is installed
    (programs / "sudo").write_text("#!/bin/sh\nexit 1\n")  # and where sudo would ask for a password
    for program in programs.iterdir():
        program.chmod(0o755)
    python = (
        shutil.copy(shutil.which("python3") or "", programs / "python3") if not shutil.which("python3", path="/usr/bin") else None
    )
    assert python is None or Path(python).exists()
    answer = subprocess.run(
        [
            "runuser",
            "-u",
            "nobody",
            "--",
            "env",
            f"PATH={programs}:/usr/bin:/bin",
            "HOME=/nonexistent",
            str(checkout / "sumu"),
            "up",
        ],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert "sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends" in answer.stderr
    assert "orthanc-dicomweb" in answer.stderr
    assert not (checkout / ".venv").exists()


def test_the_launcher_is_sound_shell() -> None:
    assert subprocess.run(["bash", "-n", str(ROOT / "sumu")], check=False).returncode == 0
