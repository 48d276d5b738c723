"""Which engines this house has, and which of them want a study.

The shipped engines are always there; an added bundle is there while a county uses it. The roster looks at the models' folder
each time it is asked, so that a worker takes up a new model, or goes back to the earlier one, without a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import structlog
from pydicom import Dataset

from core.errors import SumuError
from core.settings import Settings
from core.tables import Instance
from inference.engine import Engine, Outcome, Reading, StudyFiles
from inference.onnx_session import Hardware, hardware_of
from inference.vocabulary.terms import follow
from models.bundle import BUNDLES
from models.bundle_plan import plan_of
from models.installing.admitting import replaced_by
from models.installing.home import NAME, Kept, ModelHome

log = structlog.get_logger("roster")


def engines_of(settings: Settings) -> Mapping[str, Engine]:
    """Return the engines by name, now and as models are added; each loads its network when it first reads."""
    return Roster(ModelHome(settings.models_folder), hardware_of(settings.pre_read))


class Roster(Mapping[str, Engine]):
    """The engines as the models' folder has them at this moment.

    A pre-read that was queued for a model which has left since is answered by an engine that says so.
    """

    def __init__(self, home: ModelHome, hardware: Hardware) -> None:
        self._home, self._hardware = home, hardware
        self._lock = threading.Lock()
        self._stamp: tuple[object, object] | None = None
        #: By what they are made of, so that a change of one model leaves the others loaded.
        self._made: dict[object, Engine] = {}
        self._engines: dict[str, Engine] = {}
        #: The engine that was last made of an added bundle's folder.
        self._made_of: dict[Path, Engine] = {}
        follow(home.words_folder)

    def __getitem__(self, name: str) -> Engine:
        engines = self._present()
        if name in engines:
            return engines[name]
        if NAME.fullmatch(name):
            return RemovedEngine(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in self._present()

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._present()))

    def __len__(self) -> int:
        return len(self._present())

    def _present(self) -> dict[str, Engine]:
        with self._lock:
            stamp = self._home.stamp()
            if stamp != self._stamp:
                try:
                    self._take_up()
                except (SumuError, OSError, ValueError) as error:
                    # What worked goes on working; the command that lists the models tells the administrator the same.
                    log.error("models_not_taken_up", folder=str(self._home.folder), error=str(error))
                    self._engines = self._engines or self._shipped({})
                self._stamp = stamp
            return self._engines

    def _take_up(self) -> None:
        working = [kept for kept in self._home.kept() if kept.in_use]
        rules = self._home.county_rules()
        engines: dict[str, Engine] = {}
        places: dict[str, Path] = {}
        for kept in working:
            try:
                bundle = kept.described()
                replaced = replaced_by(bundle)
                if replaced:
                    places[replaced] = kept.folder
                else:
                    engines[kept.name] = self._of_bundle(kept, rules.get(kept.name, {}))
            except SumuError as error:
                log.error("model_not_taken_up", model=kept.name, version=kept.version, error=str(error))
                if (earlier := self._made_of.get(kept.folder)) and earlier in self._engines.values():
                    engines[kept.name] = earlier
        self._engines = {**self._shipped(places), **engines}
        self._made = {key: engine for key, engine in self._made.items() if engine in self._engines.values()}

    def _of_bundle(self, kept: Kept, county: Mapping[str, object]) -> Engine:
        from inference.bundles.engine import BundleEngine

        key = (kept.folder, repr(sorted(county.items())))
        if key not in self._made:
            self._made[key] = BundleEngine(plan_of(kept.described(), county), self._hardware)
        self._made_of[kept.folder] = self._made[key]
        return self._made[key]

    def _shipped(self, places: Mapping[str, Path]) -> dict[str, Engine]:
        """Return the shipped engines, each with the bundles that take the place of its own."""
        # Imported here, because only a worker needs what they stand on.
        from inference.ecg.engine import EcgEngine
        from inference.pathology.engine import PathologyEngine
        from inference.radiograph import RadiographEngine

        def place(name: str) -> Path:
            return places.get(name, BUNDLES / name)

        chest, heart_lung, slide_tiles = place("chest_radiograph"), place("heart_lung"), place("slide_tiles")
        limbs = found if (found := place("limb_radiograph")).is_dir() else None
        makers: dict[tuple[object, ...], Callable[[], Engine]] = {
            ("ecg",): EcgEngine,
            ("radiograph", chest, heart_lung, limbs): lambda: RadiographEngine(
                chest, self._hardware, heart_lung=heart_lung, limbs=limbs
            ),
            ("pathology", slide_tiles): lambda: PathologyEngine(slide_tiles, self._hardware),
        }
        for key, make in makers.items():
            if key not in self._made:
                self._made[key] = make()
        return {engine.name: engine for engine in (self._made[key] for key in makers)}


class RemovedEngine:
    """Stands for a model that has left while a pre-read waited for it, or while its result was on the way into the archive."""

    def __init__(self, name: str) -> None:
        self.name = name

    def wants(self, instance: Dataset) -> bool:
        """Return True: what the model said before it left is still about these instances."""
        return True

    def read(self, study: StudyFiles) -> Reading:
        """Say that it is gone."""
        return Reading(outcome=Outcome.NO_MODEL, reason="bundle_removed")


def wanting(engines: Mapping[str, Engine], instances: Iterable[Instance]) -> list[str]:
    """Return the names of the engines that want at least one of the instances."""
    headers = [header_of(instance) for instance in instances]
    return [name for name, engine in engines.items() if any(engine.wants(header) for header in headers)]


def header_of(instance: Instance) -> Dataset:
    """Return as much of an instance's header as its row tells."""
    header = Dataset()
    header.SOPClassUID = instance.sop_class_uid
    header.SOPInstanceUID = instance.sop_instance_uid
    header.SeriesInstanceUID = instance.series_instance_uid
    header.Modality = instance.modality
    return header
