"""``sumu model``: bring a model in, look at it, put it to work, go back, take it out."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.admission import database_in
from core.audit import record
from core.errors import SumuError
from core.settings import Settings
from models.bundle import BUNDLES, Bundle, list_bundles, read_bundle
from models.installing.admitting import REPLACEABLE, Candidate, admitted, replaced_by
from models.installing.home import Kept, ModelHome
from models.installing.sandbox import Limits

model = typer.Typer(help="Models that read studies: bring one in, put it to work, go back.", no_args_is_help=True)

DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of everything that the service keeps. Default: ./var")]
NameArgument = Annotated[str, typer.Argument(help="Name of the model.")]

#: In the place of a version: the shipped network works again.
SHIPPED = "shipped"
#: In the place of a version: no version of it reads.
NONE = "none"
_NOTICED = "Workers notice it within a second; pre-reads that exist stay as they are."


@model.command("add")
def add(
    source: Annotated[Path, typer.Argument(help="The bundle: its folder, or a ZIP archive of it.")],
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Take a bundle that holds code; the code is left behind and never run.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Bring a model in: unpack, check, try in a process of its own, keep, and put to work if nothing has its place."""
    from inference.bundles.words import check_words, tables_of

    settings = _settings(data)
    home = ModelHome(settings.models_folder)
    limits = Limits(
        seconds=settings.models.trial_seconds,
        memory_bytes=settings.models.trial_memory_bytes,
        threads=settings.pre_read.threads,
    )
    with admitted(
        source,
        home,
        limits,
        most_bytes=settings.models.unpacked_bytes,
        allow_code=allow_code,
        check_words=lambda bundle: check_words(bundle, home.words_folder),
    ) as candidate:
        bundle = candidate.bundle
        free = candidate.replaces is None and bundle.name not in home.in_use()
        kept = home.keep(bundle.folder, bundle)
        try:
            with database_in(data).writing() as session:
                record(session, _actor(), "model_added", _subject(kept), {**_facts(candidate), "source": source.name})
                if free:
                    record(session, _actor(), "model_put_to_work", _subject(kept), {"instead_of": []})
        except BaseException:
            # What the audit chain does not know is not here.
            home.remove(kept)
            raise
        home.keep_words(bundle.name, tables_of(bundle))
        if free:
            home.put_to_work(kept.name, kept.version)
    _tell(candidate)
    if free:
        typer.echo(f"{kept.name} {kept.version} reads from now on. {_NOTICED}")
    else:
        place = f"{candidate.replaces} (shipped)" if candidate.replaces else f"{kept.name} {home.in_use()[kept.name]}"
        typer.echo(f"It does not read yet: {place} works. Put it to work: sumu model use {kept.name} {kept.version}")


@model.command("list")
def list_models(data: DataOption = None) -> None:
    """Print the models: what works, what stands by, what each is for, and what is wrong with any."""
    home = ModelHome(_settings(data).models_folder)
    kept = home.kept()
    replaced = {_replaced(one): one for one in kept if one.in_use}
    for bundle in list_bundles():
        other = replaced.get(bundle.name)
        state = f"gives way to {other.name} {other.version}" if other else "works"
        typer.echo(f"{bundle.name:<24} {bundle.version:<10} {'shipped':<8} {state:<40} {bundle.task}")
    for one in kept:
        state = "works" if one.in_use else "stands by"
        typer.echo(f"{one.name:<24} {one.version:<10} {'added':<8} {state:<40} {_condition(one, home)}")
    home.county_rules()


@model.command("card")
def card(
    name: NameArgument,
    version: Annotated[str | None, typer.Option("--version", help="Default: the one that works, else the newest.")] = None,
    data: DataOption = None,
) -> None:
    """Print a model's card."""
    home = ModelHome(_settings(data).models_folder)
    shipped = BUNDLES / name
    working = any(one.in_use for one in home.kept(name))
    if (shipped / "configs").is_dir() and (
        version in (SHIPPED, read_bundle(shipped).version) or (version is None and not working)
    ):
        folder = shipped
    else:
        folder = home.find(name, version).folder
    typer.echo((folder / "docs" / "README.md").read_text(encoding="utf-8"))


@model.command("use")
def use(
    name: NameArgument,
    version: Annotated[
        str, typer.Argument(help=f"Its version; `{NONE}`: it reads no longer; `{SHIPPED}`: the shipped network again.")
    ],
    data: DataOption = None,
) -> None:
    """Put a version to work in the place of the one before, or take it out of work."""
    home = ModelHome(_settings(data).models_folder)
    working = [one for one in home.kept() if one.in_use]
    if version in (SHIPPED, NONE):
        leaving = [one for one in working if name in (one.name, _replaced(one))]
        if not leaving and name not in REPLACEABLE:
            home.find(name)
        with database_in(data).writing() as session:
            for one in leaving:
                record(session, _actor(), "model_taken_out_of_work", _subject(one))
        home.rest(*(one.name for one in leaving))
        typer.echo(f"{name}: " + ("the shipped network reads" if name in REPLACEABLE else "it reads no longer") + f". {_NOTICED}")
        return
    chosen = home.find(name, version)
    _usable(chosen, home)
    place = _replaced(chosen)
    others = [one for one in working if one.name == name or (place and _replaced(one) == place)]
    with database_in(data).writing() as session:
        earlier = [f"{one.name} {one.version}" for one in others]
        record(session, _actor(), "model_put_to_work", _subject(chosen), {"instead_of": earlier})
    home.put_to_work(chosen.name, chosen.version, instead_of=tuple(one.name for one in others))
    instead = ", ".join(earlier) or (f"{place} (shipped)" if place else "")
    typer.echo(
        f"{chosen.name} {chosen.version} reads from now on" + (f", instead of {instead}" if instead else "") + f". {_NOTICED}"
    )


@model.command("remove")
def remove(
    name: NameArgument,
    version: Annotated[str | None, typer.Option("--version", help="This version alone. Default: all of them.")] = None,
    data: DataOption = None,
) -> None:
    """Remove a model; what it said stays, with its words."""
    home = ModelHome(_settings(data).models_folder)
    home.find(name, version)
    for one in home.kept(name):
        if version in (None, one.version):
            with database_in(data).writing() as session:
                record(session, _actor(), "model_removed", _subject(one))
            home.remove(one)
            typer.echo(f"{one.name} {one.version} is removed" + (", and reads no longer." if one.in_use else "."))


def _settings(data: Path | None) -> Settings:
    return Settings(data=data) if data is not None else Settings()


def _actor() -> str:
    """Return who types: the operating system's account, as audit events name it."""
    return f"account:{getpass.getuser()}"


def _subject(one: Kept) -> str:
    return f"model:{one.name}@{one.version}"


def _facts(candidate: Candidate) -> dict[str, Any]:
    bundle = candidate.bundle
    return {
        "weights_sha256": bundle.weights_sha256,
        "licence": bundle.licence,
        "engine": bundle.engine,
        "replaces": candidate.replaces,
        "code_left_out": list(candidate.left_out),
    }


def _tell(candidate: Candidate) -> None:
    bundle, trial = candidate.bundle, candidate.trial
    typer.echo(f"{bundle.name} {bundle.version}: {bundle.task}")
    typer.echo(f"For        {bundle.intended_use}")
    typer.echo(f"Licence    {bundle.licence}")
    typer.echo(f"Weights    SHA-256 {bundle.weights_sha256}")
    shape = "×".join(map(str, trial.input_shape))
    typer.echo(f"Network    opset {trial.opset}, {trial.operators} operators")
    typer.echo(f"Trial      {trial.seconds:.2f} s for an input of {shape}, {trial.peak_bytes / 1e6:.0f} MB at most")
    typer.echo(
        "           in a process of its own, " + ("without network" if trial.offline else "the network could not be taken away")
    )
    silent = [label for label in bundle.labels if label not in bundle.thresholds]
    if silent:
        typer.echo(f"Silent     {', '.join(silent)}: no operating point, so never spoken")
    if candidate.left_out:
        typer.echo(f"Left out   {', '.join(candidate.left_out)}: code, which Sumu does not run")


def _replaced(one: Kept) -> str | None:
    try:
        return replaced_by(one.described())
    except SumuError:
        return None


def _condition(one: Kept, home: ModelHome) -> str:
    """Return what it is for, or what is wrong with it."""
    try:
        return _usable(one, home).task
    except SumuError as error:
        return f"CANNOT READ: {error}"


def _usable(one: Kept, home: ModelHome) -> Bundle:
    from models.bundle_plan import plan_of

    bundle = read_bundle(one.folder)
    if replaced_by(bundle) is None:
        plan_of(bundle, home.county_rules().get(one.name))
    return bundle
