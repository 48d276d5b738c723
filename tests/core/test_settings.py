"""Settings: environment over file over defaults, and nothing unknown passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from core.settings import Settings


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "sumu.toml"
    file.write_text("[node]\nport = 2000\nae_title = 'FROMFILE'\n", encoding="utf-8")
    monkeypatch.setenv("SUMU_SETTINGS", str(file))
    monkeypatch.setenv("SUMU_NODE__PORT", "3000")
    settings = Settings()
    assert (settings.node.port, settings.node.ae_title, settings.node.max_associations) == (3000, "FROMFILE", 200)


def test_a_misspelt_setting_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "sumu.toml"
    file.write_text("[node]\nprot = 2000\n", encoding="utf-8")
    monkeypatch.setenv("SUMU_SETTINGS", str(file))
    with pytest.raises(ValidationError, match="prot"):
        Settings()


def test_one_setting_moves_everything_to_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUMU_DATABASE_URL", "postgresql+psycopg://sumu@db/sumu")
    settings = Settings()
    assert settings.database_address == settings.workflow_address == "postgresql+psycopg://sumu@db/sumu"


def test_the_defaults_need_no_server() -> None:
    settings = Settings(data=Path("somewhere"))
    assert settings.database_address.startswith("sqlite:///")
    assert settings.workflow_address != settings.database_address
