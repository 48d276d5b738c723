"""The documents keep up with the code: every command, every setting, every decision, every local link."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from click import Command, Group
from pydantic import BaseModel

from cli.command import app
from core.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    if isinstance(command, Group) or hasattr(command, "commands"):
        for name, child in command.commands.items():  # type: ignore[union-attr]
            yield from commands(child, (*path, name))
    else:
        yield path, command


def settings_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from settings_of(kind, (*path, name))
        else:
            yield ".".join((*path, name)), field.description or "", field.default


ALL_COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("path", "command"), ALL_COMMANDS, ids=[" ".join(path) for path, _ in ALL_COMMANDS])
def test_every_command_and_option_is_documented(path: tuple[str, ...], command: Command) -> None:
    page = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    section = re.search(rf"^## `sumu {' '.join(path)}`\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    assert section, f"docs/commands.md has no section for `sumu {' '.join(path)}`"
    for parameter in command.params:
        name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.opts[0].upper()
        if name not in ("--help", "--install-completion"):
            assert f"`{name}" in section.group(1), f"`{name}` of `sumu {' '.join(path)}` is not documented"


@pytest.mark.parametrize(("path", "description"), [(path, text) for path, text, _ in settings_of(Settings)])
def test_every_setting_is_documented_in_its_own_words(path: str, description: str) -> None:
    assert description, f"{path} has no description"
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{re.escape(path)}` \|(.*)\|$", page, re.MULTILINE)
    assert row, f"docs/settings.md lacks {path}"
    assert description.replace("|", "\\|") in row.group(1), f"docs/settings.md says something else of {path}"


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    known = {path for path, _, _ in settings_of(Settings)}
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z_.]+)` \|", page, re.MULTILINE)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def test_the_rooms_of_the_architecture_are_the_folders() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for room in re.findall(r"^\| `(\w+)/` \|", page, re.MULTILINE):
        assert (ROOT / room).is_dir(), f"docs/architecture.md speaks of {room}/, which is not there"
