"""The ledger, and what a second look finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.custody import NothingInCustody, fault_of, ledger, print_ledger
from core.clock import in_county, now
from core.database import Database
from pacs_bridge.delivery import Courier
from pacs_bridge.spool import Spool
from tests.conftest import County, RunningArchive, drain
from tests.pacs_bridge.conftest import RunningNode, ct_study, node, storescu, wait_until

__all__ = ["ct_study", "node"]


def test_the_ledger_finds_by_study_device_and_day_and_a_second_look_finds_what_is_gone(
    node: RunningNode,
    database: Database,
    county: County,
    ct_study: Callable[[int], list[Path]],
    running_archive: RunningArchive,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings, timezone = node.settings, node.settings.county.timezone
    assert storescu(settings, *ct_study(3)).returncode == 0
    wait_until(lambda: len(ledger(database, "TOWNSHIP_DR", timezone)) == 3)
    rows = ledger(database, "TOWNSHIP_DR", timezone)
    day = f"{in_county(now(), timezone):%Y-%m-%d}"
    assert [row.id for row in ledger(database, day, timezone)] == [row.id for row in rows]
    assert len(ledger(database, rows[0].study.study_instance_uid, timezone)) == 3
    assert ledger(database, "1999-01-01", timezone) == []

    spool, archive = Spool(settings.spool), running_archive.archive
    wait_until(lambda: len(list(spool.held.iterdir())) == 3)
    assert [fault_of(row, archive, settings) for row in rows] == [None, None, None]
    damaged, lost, _ = (spool.path(row.spool_name or "") for row in rows)
    damaged.write_bytes(damaged.read_bytes()[:-2] + b"xx")
    lost.unlink()
    found = [fault_of(row, archive, settings) for row in rows]
    assert (found[0] or "").startswith("DIFFERS")
    assert found[1:] == ["MISSING", None]

    courier = Courier(settings, database, archive)
    drain(courier)
    courier.close()
    whole = ledger(database, "TOWNSHIP_DR", timezone)[2]
    assert whole.compared_at is not None
    assert fault_of(whole, archive, settings) is None

    assert print_ledger(settings, "TOWNSHIP_DR", verify=False) == 0
    printed = capsys.readouterr().out
    assert whole.sop_instance_uid in printed
    assert "3 instances" in printed
    with pytest.raises(NothingInCustody, match="nobody"):
        print_ledger(settings, "nobody", verify=False)
