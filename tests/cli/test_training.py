"""``sumu train``: a door to the networks' own training, and what it says where training is not installed."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest
from typer.testing import CliRunner

from cli.training import NETWORKS, TrainingNotInstalled, train


def present(monkeypatch: pytest.MonkeyPatch, *, installed: bool) -> None:
    """Let the install look as if it had, or lacked, the `train` extra."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleType(name) if installed else None)


def test_without_the_extra_a_person_reads_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, installed=False)
    done = CliRunner().invoke(train, ["chest", "--data", "somewhere"])
    assert isinstance(done.exception, TrainingNotInstalled)
    assert "torch" in done.exception.missing
    assert "pip install '.[train]'" in str(done.exception.remedy)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_option_reaches_the_network_own_training(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    present(monkeypatch, installed=True)
    seen: list[list[str]] = []
    trainer = ModuleType("trainer")
    trainer.main = lambda: seen.append(list(sys.argv))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, NETWORKS[network][0], trainer)
    done = CliRunner().invoke(train, [network, "--data", "a folder", "--threads", "1", "--help"])
    assert done.exit_code == 0, done.output
    assert seen == [[f"sumu train {network}", "--data", "a folder", "--threads", "1", "--help"]]


def test_the_modules_that_train_are_where_the_door_leads() -> None:
    for module, purpose in NETWORKS.values():
        assert importlib.util.find_spec(module), module
        assert purpose.endswith(".")
