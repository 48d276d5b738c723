"""``sumu bench``: the measurements that the documentation quotes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

bench = typer.Typer(help="Measure speed against peers on this machine.", no_args_is_help=True)


@bench.callback()
def _several() -> None:
    """Keep the measurements as commands of their own."""


@bench.command("ingest")
def ingest_command(
    workload: Annotated[list[str] | None, typer.Option(help="`ct`, `radiograph` or `ultrasound`; default: all.")] = None,
    senders: Annotated[list[int] | None, typer.Option(help="Senders at once; default: 1 and 8.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the table shows medians.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Receive the same files with Sumu's node, Orthanc's own receiver and DCMTK's storescp, in turn."""
    from cli.bench.ingest import measure, report
    from cli.bench.inputs import WORKLOADS

    report(measure(workload or list(WORKLOADS), senders or [1, 8], rounds, say=not json), as_json=json)


@bench.command("preread")
def preread_command(
    tries: Annotated[int, typer.Option(min=1, help="Radiographs that come one by one.")] = 20,
    burst: Annotated[int, typer.Option(min=4, help="Radiographs that come at once.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, help="Length of each of the two bare measurements.")] = 10,
    pictures: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of PNG or JPEG chests; default: drawn ones.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Time radiographs from their acknowledgement to the pre-read, and compare a burst with the bare model runs."""
    from cli.bench.preread import measure, report

    report(measure(tries=tries, burst=burst, seconds=seconds, pictures=pictures, say=not json), as_json=json)
