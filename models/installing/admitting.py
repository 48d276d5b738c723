"""From a folder or an archive to a bundle that was looked at in every respect and waits to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from models.bundle import BUNDLES, Bundle, BundleIncomplete, WeightsAltered, read_bundle
from models.bundle_fields import BundleRefused
from models.bundle_plan import ENGINE, plan_of
from models.installing.home import NAME, VERSION, ModelHome
from models.installing.sandbox import Limits, Trial, try_out
from models.installing.unpacking import unpack

#: Shipped bundles that another one may take the place of, with the labels that their engine asks for by name.
REPLACEABLE = {
    "chest_radiograph": ("chest_abnormal",),
    "limb_radiograph": ("limb_fracture",),
    "heart_lung": (),
    "slide_tiles": (),
}
#: Bytes of a text that people or the metadata's reader take in whole.
_MOST_TEXT = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A bundle that passed."""

    bundle: Bundle
    trial: Trial
    #: Code that was left behind.
    left_out: tuple[str, ...]
    #: The shipped bundle whose place it takes, or None.
    replaces: str | None


@contextmanager
def admitted(
    source: Path,
    home: ModelHome,
    limits: Limits,
    *,
    most_bytes: int,
    allow_code: bool,
    check_words: Callable[[Bundle], None],
) -> Iterator[Candidate]:
    """Lend a bundle that was unpacked, checked and tried; keep it with :meth:`ModelHome.keep` or it goes.

    Raises
    ------
    BundleRefused
        With what is to be mended.
    """
    with home.staging() as scratch:
        unpacked = unpack(source, scratch / "bundle", most_bytes=most_bytes, allow_code=allow_code)
        _not_bloated(source, unpacked.folder)
        bundle = _read(source, unpacked.folder)
        _named(bundle)
        _documented(bundle)
        replaces = replaced_by(bundle)
        if replaces is None:
            plan_of(bundle, home.county_rules().get(bundle.name))
        else:
            _same_tensors(bundle, read_bundle(BUNDLES / replaces))
        check_words(bundle)
        yield Candidate(bundle=bundle, trial=try_out(bundle, limits), left_out=unpacked.left_out, replaces=replaces)


def replaced_by(bundle: Bundle) -> str | None:
    """Return the shipped bundle whose place this one takes; its metadata says so, or it has the same name.

    Raises
    ------
    BundleRefused
        If it wants an engine or a place that there is not.
    """
    wanted = bundle.declared.get("replaces") or (bundle.name if bundle.name in REPLACEABLE else None)
    if wanted is None and bundle.engine == ENGINE:
        return None
    if wanted not in REPLACEABLE:
        raise BundleRefused(
            bundle.name,
            f"it asks for the engine '{bundle.engine}'" + (f" in the place of '{wanted}'" if wanted else ""),
            remedy=f'Write sumu.engine = "{ENGINE}", or name in sumu.replaces one of {", ".join(REPLACEABLE)}.',
        )
    return str(wanted)


def _named(bundle: Bundle) -> None:
    shipped = {place.name for place in BUNDLES.iterdir()} | {"ecg", "radiograph", "pathology", "none", "words"}
    if not NAME.fullmatch(bundle.name) or bundle.name in shipped - set(REPLACEABLE):
        raise BundleRefused(
            bundle.name,
            "its name cannot be used",
            remedy="Give a name of its own in small letters, digits and underscores, 32 at most, that begins with a letter.",
        )
    if not VERSION.fullmatch(bundle.version):
        raise BundleRefused(bundle.name, f"its version is '{bundle.version}'", remedy="Give one like 1.0.0.")


def _read(source: Path, folder: Path) -> Bundle:
    """Read an unpacked bundle; a fault is told of what the administrator gave, not of our copy."""
    try:
        return read_bundle(folder)
    except BundleIncomplete as error:
        raise BundleRefused(
            source.name, error.problem, remedy="Complete it, or ask its maker; docs/models.md says what a bundle holds."
        ) from error
    except WeightsAltered as error:
        raise BundleRefused(
            source.name,
            f"its weights have the SHA-256 {error.found}, but its metadata names {error.expected}",
            remedy="Copy it again from where it was published; do not use these weights.",
        ) from error


def _not_bloated(source: Path, folder: Path) -> None:
    """Refuse texts that nobody would read, before they are read into memory."""
    for name in ("configs/metadata.json", "docs/README.md", "LICENSE"):
        file = folder / name
        if file.is_file() and file.stat().st_size > _MOST_TEXT:
            raise BundleRefused(
                source.name, f"{name} has more than {_MOST_TEXT / 1e6:.0f} MB", remedy="Keep texts short and data elsewhere."
            )


def _documented(bundle: Bundle) -> None:
    for what, text in (
        ("intended_use", bundle.intended_use),
        ("sumu.licence", bundle.licence),
        ("sumu.preprocessing", bundle.preprocessing),
        ("docs/README.md", bundle.card.read_text(encoding="utf-8", errors="replace")),
        ("LICENSE", (bundle.folder / "LICENSE").read_text(encoding="utf-8", errors="replace")),
    ):
        if not text.strip():
            raise BundleRefused(
                bundle.name, f"{what} is empty", remedy="Whoever reads its pre-reads must find it there; write it."
            )
    if any(not 0 < limit <= 1 for limit in bundle.thresholds.values()):
        raise BundleRefused(
            bundle.name, "an operating point is not above 0 and at most 1", remedy="Give probabilities in sumu.thresholds."
        )


def _same_tensors(bundle: Bundle, shipped: Bundle) -> None:
    """Refuse what the shipped bundle's engine could not run: it knows tensors, details and some labels by name."""
    for kind, ours, theirs in (("input", shipped.inputs, bundle.inputs), ("output", shipped.outputs, bundle.outputs)):
        for tensor in ours:
            # Where a channel is a label, there are as many as labels, and a map may be finer.
            labelled = bool(shipped.labels) and tensor.shape[0] == len(shipped.labels)
            wanted = (len(bundle.labels), *("*" for _ in tensor.shape[1:])) if labelled else tensor.shape
            found = next((one.shape for one in theirs if one.name == tensor.name), ())
            if len(found) != len(wanted) or any(need not in ("*", side) for need, side in zip(wanted, found, strict=True)):
                raise BundleRefused(
                    bundle.name,
                    f"in the place of '{shipped.name}' its {kind} '{tensor.name}' must be {list(wanted)} and is {list(found)}",
                    remedy="Export it with the tensors of the bundle that it replaces, or let it read as a bundle of its own.",
                )
    lacking = [f"sumu.details.{name}" for name in sorted(set(shipped.details) - set(bundle.details))]
    lacking += [f"the label {label}" for label in REPLACEABLE[shipped.name] if label not in bundle.labels]
    if bundle.engine != shipped.engine:
        lacking.append(f'sumu.engine = "{shipped.engine}"')
    if lacking:
        raise BundleRefused(
            bundle.name,
            f"in the place of '{shipped.name}' it lacks {', '.join(lacking)}",
            remedy=f"Add it as models/bundles/{shipped.name}/configs/metadata.json has it.",
        )
