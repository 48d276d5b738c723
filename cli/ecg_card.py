"""The figures of ``sumu evaluate ecg`` as text: a card in Markdown, which is also what the command prints without ``--json``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cli.ecg_measurement_figures import UNITS

_NAMES = {"pr": "PR", "qrs": "QRS", "qt": "QT", "rate": "heart rate"}
_DEVICE_NAMES = {
    "ecg_heart_rate": "rate (/min)",
    "ecg_rr": "RR (ms)",
    "ecg_pr": "PR (ms)",
    "ecg_qrs": "QRS (ms)",
    "ecg_qt": "QT (ms)",
    "ecg_qtc": "QTc, formula not named (ms)",
    "ecg_qtc_bazett": "QTc Bazett (ms)",
    "ecg_qtc_fridericia": "QTc Fridericia (ms)",
    "ecg_axis_p": "P axis (deg)",
    "ecg_axis_qrs": "QRS axis (deg)",
    "ecg_axis_t": "T axis (deg)",
}


def ecg_card(found: dict[str, Any]) -> str:
    """Return the card of whatever was measured."""
    parts = ["# ECG pre-read, measured"]
    if "macro_auc" in found:
        parts += _statements(found)
    if "measurement" in found:
        parts += _measurement(found["measurement"])
    if "beats" in found:
        parts += _beats(found["beats"])
    if "quality" in found:
        parts += _quality(found["quality"])
    for name, words in (("exchange", "recordings with statements"), ("marked_exchange", "recordings with marked waves")):
        if name in found:
            parts += _exchange(found[name], words)
    if "devices" in found:
        parts += _devices(found["devices"])
    if "seconds_from_file_to_statements" in found:
        seconds = found["seconds_from_file_to_statements"]
        elapsed, processor = (f"{seconds[name]:.3f} s" for name in ("elapsed", "processor"))
        parts += [
            "## Speed",
            f"{elapsed} from a DICOM file to statements on one core; of these the core spent {processor} on it.",
        ]
    return "\n\n".join(parts) + "\n"


def _statements(found: dict[str, Any]) -> list[str]:
    folds = ", ".join(map(str, found["folds"]))
    rows = sorted(found["statements"].items(), key=lambda item: -item[1]["positives"])
    table = _table(
        ("statement", "positives", "AUC", "spoken", "sensitivity", "specificity"),
        (
            (
                f"`{code}`",
                row["positives"],
                row["auc"],
                "yes" if row["spoken"] else "no",
                row.get("sensitivity"),
                row.get("specificity"),
            )
            for code, row in rows
        ),
    )
    return [
        "## Statements",
        f"{found['records']} recordings of fold {folds}; weights `{found['weights_sha256'][:12]}`; "
        f"{found['seconds_per_ecg']:.4f} s an ECG.",
        f"Mean AUC over {found['statements_counted']} statements: {_words(found['macro_auc'])}; over the superclasses: "
        f"{_words(found['macro_superclass_auc'])}. Calibration error {_words(found['calibration_error'])}, "
        f"Brier score {_words(found['brier'])}.",
        _table(("superclass", "AUC"), found["superclasses"].items()),
        table,
    ]


def _measurement(found: dict[str, Any]) -> list[str]:
    columns = (
        "compared",
        "median_absolute_error",
        "ninetieth_percentile",
        "mean_error",
        "sd",
        "within_tolerance",
        "missed",
        "invented",
    )
    return [
        "## Measurements",
        f"{found['records']} recordings with marked waves; a recording's value is the median over its beats.",
        _table(
            ("", *(column.replace("_", " ") for column in columns)),
            (
                (f"{_NAMES[name]} ({UNITS[name]})", *(row.get(column) for column in columns))
                for name, row in found["errors"].items()
            ),
        ),
    ]


def _beats(found: dict[str, dict[str, int]]) -> list[str]:
    columns = ("records", "with_ventricular", "with_early")
    return [
        "## Kinds of beats",
        "Recordings by what their reports say; reports leave many single extrasystoles out.",
        _table(
            ("report", "records", "with a ventricular beat", "with an early beat"),
            ((name, *(row[column] for column in columns)) for name, row in found.items()),
        ),
    ]


def _quality(found: dict[str, Any]) -> list[str]:
    area, low, high = found["auc_held_out_in_training"]
    called, declined = found["called_unfit"], found["pre_read_declined"]
    return [
        "## Quality",
        f"{found['records']} recordings, {found['unacceptable']} unacceptable; weights `{found['weights_sha256'][:12]}`.",
        _table(
            ("AUC", ""),
            (
                ("held out in training (grouped cross-validation)", f"{area:.3f} ({low:.3f} to {high:.3f})"),
                (f"{found['new_records']} recordings that did not teach", found["auc_of_new_records"]),
                ("recordings that taught: flatters", found["auc_of_taught_records"]),
            ),
        ),
        f"Called unfit: {called['unacceptable']} unacceptable and {called['acceptable']} acceptable ones. "
        f"Pre-read declined: {declined['unacceptable']} and {declined['acceptable']}.",
    ]


def _exchange(found: dict[str, Any], words: str) -> list[str]:
    normal = found.get("false_alarms_per_100_normal")
    return [
        f"## Exchanged electrodes, {words}",
        f"{found['records']} recordings as they are: {found['false_alarms_per_100']} false alarms in 100"
        + ("." if normal is None else f", {normal} in 100 normal ones."),
        _table(
            ("exchange", "suspected", "rightly named"),
            ((pair, row["suspected"], row["named"]) for pair, row in found["exchanges"].items()),
        ),
    ]


def _devices(found: list[dict[str, Any]]) -> list[str]:
    rows = (
        (
            row["file"],
            name,
            row["printed"][code],
            row["read_back"].get(code),
            row["ours"].get(code),
            None if (off := row["difference"].get(code)) is None else f"{off:+g}",
        )
        for row in found
        for code, name in _DEVICE_NAMES.items()
        if code in row["printed"]
    )
    equal = sum(row["equal"] for row in found)
    return [
        "## Beside the device",
        "What machines printed, what the pre-read finds of it in our object, and our own measurement. "
        f"Numbers and statements are read back as they were printed in {equal} of {len(found)} files.",
        _table(("file", "", "printed", "read back", "ours", "ours less printed"), rows),
        _table(("file", "statements, as printed"), ((row["file"], " / ".join(row["statements"])) for row in found)),
    ]


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    names = list(head)
    lines = [names, ["---"] * len(names), *([_words(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _words(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
