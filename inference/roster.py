"""Which engines this house has, and which of them want a study."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydicom import Dataset

from core.settings import Settings
from core.tables import Instance
from inference.engine import Engine
from inference.onnx_session import Hardware
from models.bundle import BUNDLES


def engines_of(settings: Settings) -> Mapping[str, Engine]:
    """Return the engines by name; each loads its network when it first reads."""
    # Imported here, because only a worker needs what they stand on.
    from inference.ecg.engine import EcgEngine
    from inference.pathology.engine import PathologyEngine
    from inference.radiograph import RadiographEngine

    hardware = Hardware(providers=tuple(settings.pre_read.providers), threads=settings.pre_read.threads)
    engines: tuple[Engine, ...] = (
        EcgEngine(),
        RadiographEngine(BUNDLES / "chest_radiograph", hardware, heart_lung=BUNDLES / "heart_lung"),
        PathologyEngine(BUNDLES / "slide_tiles", hardware),
    )
    return {engine.name: engine for engine in engines}


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
