"""``sumu bench``: the measurements that the documentation quotes."""

from __future__ import annotations

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
