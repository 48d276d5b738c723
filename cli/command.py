"""The ``sumu`` command line: every command, its options and its help.

What a command stands on is imported when it runs: help, and the commands that need little, answer at once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cli import admission, evaluation, models, training
from cli.bench.command import bench
from cli.processes import ProcessKind, run
from cli.supervision import environment, supervisor_command, write_configuration
from core.database import Database
from core.errors import SumuError
from core.migrations import upgrade
from core.settings import ServiceRole, Settings

app = typer.Typer(
    name="sumu",
    help="The imaging service of a county: townships examine, the county reads, the patient carries the film.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(admission.organisations, name="organisation")
app.add_typer(admission.devices, name="device")
app.add_typer(admission.people, name="user")
app.add_typer(evaluation.evaluate, name="evaluate")
app.add_typer(models.model, name="model")
app.add_typer(training.train, name="train")
app.add_typer(bench, name="bench")

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of everything that the service keeps. Default: ./var")]


def settings_with(data: Path | None) -> Settings:
    """Return the settings, with the data folder from the command line where it was given."""
    return Settings(data=data) if data is not None else Settings()


@app.command()
def up(
    data: DataOption = None,
    role: Annotated[
        ServiceRole | None,
        typer.Option(
            help="`county`: the whole service. `edge`: a township's node that forwards to it. Default: the setting `role`."
        ),
    ] = None,
) -> None:
    """Start the service and keep it running until Ctrl-C."""
    settings = settings_with(data)
    if role is not None:
        settings = settings.model_copy(update={"role": role})
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_address)
    upgrade(database)
    newcomer = not admission.has_people(database)
    database.close()
    configuration = write_configuration(settings)
    typer.echo(f"Pages      {settings.web_address}")
    typer.echo(f"DICOM      {settings.node.ae_title} at {settings.node.host}:{settings.node.port}")
    typer.echo(f"Data       {settings.data.resolve()}   logs in {(settings.data / 'logs').resolve()}")
    if newcomer:
        typer.echo("Nobody has an account yet. In another terminal:")
        typer.echo("  ./sumu organisation add COUNTY --level county --zh 县医院 --en 'County Hospital'")
        typer.echo("  ./sumu user add NAME --organisation COUNTY --role administrator --role doctor")
        typer.echo("  ./sumu device admit AE_TITLE --organisation COUNTY --plain")
    sys.stdout.flush()
    command = supervisor_command(configuration)
    os.execvpe(command[0], command, environment(settings))


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Wait for every study's end state, check it, and exit with 0 or 1.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    samples: Annotated[Path | None, typer.Option("--samples", help="Folder with chest radiographs (PNG, JPEG or DICOM).")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder for the demo's data. Default: a temporary one.")] = None,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Save pictures of the pages in this folder.")] = None,
) -> None:
    """Show the main job on real input: three townships send, everything is pre-read, a patient opens the film."""
    from cli.demo.show import show

    raise typer.Exit(show(once=once, as_json=json, samples=samples, data=data, pictures=pictures))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run every check: style, types, the rooms' contract, and all tests. More arguments go to pytest."""
    from cli.checks import run_checks

    raise typer.Exit(run_checks(context.args))


@app.command("doctor")
def doctor_command(data: DataOption = None) -> None:
    """Look at each part: its version, its state, and for each fault the remedy."""
    from cli.doctor import report

    raise typer.Exit(report(settings_with(data)))


@app.command()
def process(
    kind: ProcessKind,
    name: Annotated[str, typer.Option("--name", help="Tells processes of one kind on one machine apart.")] = "1",
    data: DataOption = None,
) -> None:
    """Run one process in the foreground, as the supervisor does."""
    run(kind, settings_with(data), name=name)


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="Folder, ZIP archive or one file.")],
    organisation: Annotated[str, typer.Option(help="Code of the organisation whose patients these are.")],
    data: DataOption = None,
) -> None:
    """Take DICOM files and files of ECG machines into custody; exit with 1 if any was refused."""
    from cli.import_files import import_files

    raise typer.Exit(import_files(settings_with(data), source, organisation))


@app.command()
def custody(
    what: Annotated[str, typer.Argument(help="Study Instance UID, accession number, AE title, or day (2026-11-25).")],
    verify: Annotated[bool, typer.Option("--verify", help="Read every instance again and compare its hash.")] = False,
    data: DataOption = None,
) -> None:
    """Print what was received of a study, from a device or on a day; with --verify, read all of it again."""
    from cli.custody import print_ledger

    raise typer.Exit(print_ledger(settings_with(data), what, verify=verify))


@app.command("audit")
def audit(data: DataOption = None) -> None:
    """Walk the audit chain and say whether it is whole."""
    from core.audit import verify

    database = Database(settings_with(data).database_address)
    upgrade(database)
    with database.reading() as session:
        typer.echo(f"The audit chain is whole: {verify(session)} events.")


def main() -> None:
    """Run the command; an error of ours is printed with its remedy and without a traceback."""
    try:
        app()
    except SumuError as error:
        typer.echo(f"{error.args[0]}\n{error.remedy}", err=True)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        typer.echo(f"{' '.join(map(str, error.cmd))} ended with {error.returncode}.", err=True)
        sys.exit(1)
