"""How fast instances come in: acknowledged, and in Orthanc, against what a county would use instead."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from cli.bench.inputs import WORKLOADS, Workload, write_instances
from cli.bench.receivers import CALLING, RECEIVERS, Receiver
from cli.bench.senders import Sent, send

#: A warm-up association of one instance precedes each measurement (the first connection pays for imports), and the start is over.
LONGEST_WAIT_SECONDS = 600


def measure(workloads: Sequence[str], senders: Sequence[int], rounds: int, *, say: bool) -> list[dict[str, Any]]:
    """Run every receiver in turn, ``rounds`` times, and return one row a workload, number of senders and receiver.

    A row holds the median of its rounds, and for Sumu the ratios to Orthanc of the same round, their median too.
    """
    rows = []
    for name in workloads:
        for count in senders:
            found: dict[str, list[dict[str, Any]]] = {receiver: [] for receiver in RECEIVERS}
            for number in range(rounds):
                for receiver in RECEIVERS:
                    found[receiver].append(_once(receiver, WORKLOADS[name], count))
                    if say:
                        typer.echo(f"{name}, {count} senders, {receiver}, round {number + 1} of {rounds}", err=True)
            for receiver, results in found.items():
                row = {"workload": name, "senders": count, "receiver": receiver, **_median(results)}
                if receiver == "sumu":
                    row["against_orthanc"] = {
                        "acknowledged": _ratio(results, found["orthanc"], "instances_per_second"),
                        "in_orthanc_seconds": _ratio(results, found["orthanc"], "in_orthanc_seconds"),
                    }
                rows.append(row)
    return rows


def _once(receiver: str, workload: Workload, senders: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sumu-bench-") as folder:
        warm_up = write_instances(_few(workload), Path(folder) / "warm-up", 1)
        folders = write_instances(workload, Path(folder) / "files", senders)
        with RECEIVERS[receiver](Path(folder) / receiver) as running:
            send(warm_up, running.port, calling=CALLING, called=running.called)
            _wait_for_archive(running, 1)
            running.wait_for_rest()
            before = running.processor_seconds()
            sent = send(folders, running.port, calling=CALLING, called=running.called)
            figures = _figures(running, workload, sent)
            after = running.processor_seconds()
            figures["processor_ms_each"] = {name: 1000 * (after[name] - before[name]) / workload.count for name in before}
            return figures


def _figures(running: Receiver, workload: Workload, sent: Sent) -> dict[str, Any]:
    waits = sorted(sent.waits)
    figures: dict[str, Any] = {
        "instances_per_second": workload.count / sent.seconds,
        "megabytes_per_second": workload.count * workload.bytes_each / sent.seconds / 1e6,
        "acknowledged_seconds": sent.seconds,
        "acknowledgement_ms": {
            "p50": 1000 * statistics.median(waits), "p99": 1000 * waits[min(len(waits) - 1, int(0.99 * len(waits)))]
        },
    }  # fmt: skip
    if running.archive is not None:
        figures["in_orthanc_seconds"] = _wait_for_archive(running, workload.count + 1) - sent.began
    if running.database is not None:
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while running.compared() < workload.count + 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        figures["compared_seconds"] = time.monotonic() - sent.began
    figures["peak_memory_mb"] = {name: size / 1e6 for name, size in running.peak_memory().items()}
    return figures


def _wait_for_archive(running: Receiver, count: int) -> float:
    """Return when Orthanc held ``count`` instances, on the monotonic clock."""
    if running.archive is None:
        return time.monotonic()
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while running.in_archive() < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"Orthanc holds {running.in_archive()} of {count} instances.")
        time.sleep(0.02)
    return time.monotonic()


def _few(workload: Workload) -> Workload:
    """Return one small instance of the same kind."""
    return replace(workload, count=1, frames=1)


def _median(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the median of every figure over the rounds."""
    first = results[0]
    return {
        key: _median([result[key] for result in results])
        if isinstance(first[key], dict)
        else round(statistics.median(result[key] for result in results), 3)
        for key in first
    }


def _ratio(ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], key: str) -> float:
    return round(statistics.median(float(a[key]) / float(b[key]) for a, b in zip(ours, theirs, strict=True)), 3)


def report(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    """Print the rows as a table, or as JSON."""
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(
        f"{'':<11}{'senders':>7} {'receiver':<9}{'inst/s':>9}{'MB/s':>8}{'p50 ms':>8}{'p99 ms':>8}"
        f"{'in Orthanc':>11}{'memory MB':>10}"
    )
    for row in rows:
        waits, in_orthanc = row["acknowledgement_ms"], row.get("in_orthanc_seconds")
        memory = next(iter(row["peak_memory_mb"].values()))
        typer.echo(
            f"{row['workload']:<11}{row['senders']:>7} {row['receiver']:<9}{row['instances_per_second']:>9.1f}"
            f"{row['megabytes_per_second']:>8.0f}{waits['p50']:>8.1f}{waits['p99']:>8.1f}"
            f"{f'{in_orthanc:.2f} s' if in_orthanc else '':>11}{memory:>10.0f}"
        )
        if "against_orthanc" in row:
            ratios = row["against_orthanc"]
            typer.echo(
                f"{'':<19}acknowledged {ratios['acknowledged']:.2f} × Orthanc's rate;"
                f" in Orthanc after {ratios['in_orthanc_seconds']:.2f} × its time"
            )
