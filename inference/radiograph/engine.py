"""The radiograph engine: frontal chests of adults and limbs are read, everything else is declined with its reason.

The tags decide first: what they call a chest, or leave open, is shown to the chest network; what its gate refuses, and what
the tags call a limb, is shown to the limb network, where there is one. It is read where tags and pixels together say limb.

``Reading.evidence`` holds, in JSON values:

- ``probabilities``: code to the highest probability over the images; ``thresholds``: code to operating point;
  ``silent``: codes that are computed but never spoken, because validation could not tell them from chance;
- ``images``: for each instance ``sop_instance_uid``, ``outcome``, ``reason``, ``frontal`` (the gate's probability),
  ``cautions``, ``problem``;
- ``localises``: whether validation found that the maps point to the disease; where not, show them to researchers only;
- ``limbs``: for each limb that was read what ``inference.radiograph.limbs`` says;
- ``cardiothoracic``: for each read chest the heart and lungs, as ``inference.radiograph.cardiothoracic`` says;
- ``heatmaps``: for each spoken finding ``sop_instance_uid``, ``grid`` (24 x 24, 0 to 1), ``area`` (x, y, width, height of
  the grid in pixels of the stored image).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from inference.engine import Finding, InstanceFile, ModelIdentity, Outcome, Reading, Region, StudyFiles
from inference.onnx_session import PROCESSOR, Hardware
from inference.radiograph.cardiothoracic import AP_ENLARGES, HeartLungModel, measurements_of, told
from inference.radiograph.limbs import FRACTURE, NO_FRACTURE, LimbModel
from inference.radiograph.localisation import covered, peak_box, relative
from inference.radiograph.network import ChestRun, LoadedNetwork
from inference.radiograph.rendering import UnreadablePixels, displayed
from inference.radiograph.scope import (
    NamedPart,
    Refusal,
    age_in_years,
    is_radiograph,
    limb_refusal,
    named_part,
    refusal,
)
from models.bundle import Bundle
from models.chest.findings import ABNORMAL
from models.chest.preprocessing import BlankImage, Placement, prepare
from models.limbs.reading import LimbOutput

NO_FINDING = "chest_no_finding"


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One image after the network looked at it, or why it did not."""

    instance: InstanceFile
    outcome: Outcome
    reason: str | None = None
    problem: str | None = None
    frontal: float | None = None
    run: ChestRun | None = None
    placement: Placement | None = None
    #: Heart and lungs, where they were outlined.
    cardiothoracic: dict[str, Any] | None = None
    #: What the limb network says, where it was read.
    limb: LimbOutput | None = None
    #: Of the limb network, as reasons of the vocabulary.
    cautions: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return this as JSON values."""
        cautions = [*self.cautions]
        if self.limb is None and age_in_years(self.instance.header) is None:
            cautions.append("chest_age_unknown")
        if self.cardiothoracic:
            doubt = self.cardiothoracic["doubt"]
            enlarged = [AP_ENLARGES] if self.cardiothoracic["projection"] == "AP" else []
            cautions += [doubt] if doubt else enlarged
        return {
            "sop_instance_uid": self.instance.sop_instance_uid,
            "outcome": self.outcome.value,
            "reason": self.reason,
            "problem": self.problem,
            "frontal": None if self.frontal is None else round(self.frontal, 4),
            "cautions": cautions,
        }


class RadiographEngine:
    """Reads chests with the bundle ``chest_radiograph``, measures heart and lungs where ``heart_lung`` is given, and reads limbs
    where ``limbs`` is.

    The networks are loaded at the first reading.
    """

    name = "radiograph"

    def __init__(
        self, bundle_folder: Path, hardware: Hardware = PROCESSOR, *, heart_lung: Path | None = None, limbs: Path | None = None
    ) -> None:
        self._network = LoadedNetwork(bundle_folder, hardware)
        self._heart_lung = HeartLungModel(heart_lung, hardware) if heart_lung else None
        self._limbs = LimbModel(limbs, hardware) if limbs else None

    def warm(self) -> None:
        """Load the networks and run each once."""
        for network in (self._network, self._heart_lung, self._limbs):
            if network:
                network.warm()

    def wants(self, instance: Dataset) -> bool:
        """Return whether this is a plain radiograph."""
        return is_radiograph(instance)

    def read(self, study: StudyFiles) -> Reading:
        """Read every radiograph of the study.

        Raises
        ------
        BundleIncomplete, WeightsAltered
            If the model cannot be trusted or is not there.
        """
        bundle = self._network.bundle
        seen = [self._look(instance, bundle) for instance in study.instances if self.wants(instance.header)]
        chests, limbs = [one for one in seen if one.run], [one for one in seen if one.limb]
        images = [one.told() for one in seen]
        if not chests and not limbs:
            return _silence(seen, images)
        reading = _reading(bundle, chests, images) if chests else _no_chest(images)
        if chests and self._heart_lung:
            reading = _with_heart_and_lungs(reading, self._heart_lung.identity, chests)
        return _with_limbs(reading, self._limbs, limbs) if limbs and self._limbs else reading

    def _look(self, instance: InstanceFile, bundle: Bundle) -> _Seen:
        refused, named = refusal(instance.header, int(bundle.details["adult_years"])), named_part(instance.header)
        limbs = self._limbs if _may_be_limb(named, refused) else None
        if limbs and named.limb:
            refused = limb_refusal(instance.header, int(limbs.bundle.details["grown_years"])) or refused
            limbs = limbs if refused and refused.outcome is Outcome.NO_MODEL else None
        if refused and not limbs:
            return _Seen(instance=instance, outcome=refused.outcome, reason=refused.reason)
        try:
            grey = displayed(instance.path)
            square, placement = prepare(grey)
        except (UnreadablePixels, BlankImage) as error:
            return _Seen(instance=instance, outcome=Outcome.DECLINED, reason="chest_unreadable_pixels", problem=str(error))
        run = None if refused else self._network.run(square)
        if run and run.frontal >= float(bundle.details["gate_threshold"]):
            return _Seen(
                instance=instance,
                outcome=Outcome.READ,
                frontal=run.frontal,
                run=run,
                placement=placement,
                cardiothoracic=told(instance, self._heart_lung.outline(grey)) if self._heart_lung else None,
            )
        reason = refused.reason if refused else "chest_not_frontal_chest"
        declined = _Seen(instance=instance, outcome=Outcome.DECLINED, reason=reason, frontal=run.frontal if run else None)
        return _looked_at_as_limb(declined, named, limbs, grey) if limbs else declined


def _may_be_limb(named: NamedPart, refused: Refusal | None) -> bool:
    """Return whether an image that is no frontal chest may be a limb: its tags name one, or leave the part open."""
    if named.limb or named.other:
        return named.limb
    return refused is None or (refused.reason == "chest_not_frontal" and not named.chest)


def _looked_at_as_limb(declined: _Seen, named: NamedPart, limbs: LimbModel, grey: NDArray[np.float32]) -> _Seen:
    """Return an image read as a limb where its pixels look like one and its tags do not call it a chest."""
    output = limbs.look(grey)
    if not limbs.is_limb(output):
        return replace(declined, reason="limb_not_a_limb") if named.limb else declined
    if named.chest:
        return replace(declined, cautions=("limb_tagged_chest",))
    cautions = limbs.cautions(declined.instance.header, named, output)
    return replace(declined, outcome=Outcome.READ, reason=None, limb=output, cautions=cautions)


def _silence(seen: Sequence[_Seen], images: list[dict[str, Any]]) -> Reading:
    """Say why nothing was read: a declined image tells the reader more than a body part without a model."""
    declined = [one for one in seen if one.outcome is Outcome.DECLINED]
    first = next(iter(declined or seen), None)
    refused = (
        Refusal(outcome=first.outcome, reason=first.reason)
        if first and first.reason
        else Refusal(outcome=Outcome.DECLINED, reason="chest_none_in_study")
    )
    return Reading(outcome=refused.outcome, reason=refused.reason, evidence={"images": images})


def _reading(bundle: Bundle, read: Sequence[_Seen], images: list[dict[str, Any]]) -> Reading:
    strongest = {code: _strongest(read, index) for index, code in enumerate(bundle.labels)}
    probabilities = {code: _probability(strongest[code], index) for index, code in enumerate(bundle.labels)}
    spoken = [code for code, limit in bundle.thresholds.items() if probabilities[code] >= limit]
    named = sorted((code for code in spoken if code != ABNORMAL), key=lambda code: -probabilities[code])
    findings = [_finding(bundle, code, strongest[code]) for code in named]
    if not named and ABNORMAL in spoken:
        findings = [Finding(code=ABNORMAL, probability=probabilities[ABNORMAL], region=_whole(strongest[ABNORMAL]))]
    elif not named:
        # The triage output that validation could not tell from chance must not lend its number to this.
        sure = 1 - probabilities[ABNORMAL] if ABNORMAL in bundle.thresholds else None
        findings = [Finding(code=NO_FINDING, probability=sure, region=_whole(strongest[ABNORMAL]))]
    identity = ModelIdentity.of(bundle)
    evidence = {
        "probabilities": {code: round(value, 4) for code, value in probabilities.items()},
        "thresholds": dict(bundle.thresholds),
        "silent": [code for code in bundle.labels if code not in bundle.thresholds],
        "images": images,
        "localises": bool(bundle.details["localises"]),
        "heatmaps": {code: _heatmap(bundle, code, strongest[code]) for code in named},
    }
    return Reading(outcome=Outcome.READ, models=(identity,), findings=tuple(findings), evidence=evidence)


def _with_heart_and_lungs(reading: Reading, identity: ModelIdentity, read: Sequence[_Seen]) -> Reading:
    images = [one.cardiothoracic for one in read if one.cardiothoracic]
    return replace(
        reading,
        models=(*reading.models, identity),
        measurements=measurements_of(images),
        evidence={**reading.evidence, "cardiothoracic": images},
    )


def _no_chest(images: list[dict[str, Any]]) -> Reading:
    nothing: dict[str, Any] = {"probabilities": {}, "thresholds": {}, "silent": [], "localises": False, "heatmaps": {}}
    return Reading(outcome=Outcome.READ, evidence={**nothing, "images": images})


def _with_limbs(reading: Reading, model: LimbModel, seen: Sequence[_Seen]) -> Reading:
    """Add each broken limb with its box, or that the network points to no fracture on any."""
    limbs = [(one.instance, one.limb) for one in seen if one.limb]
    instance, strongest = max(limbs, key=lambda limb: limb[1].fracture)
    findings = [finding for one in limbs if (finding := model.finding(*one))]
    region = Region(sop_instance_uid=instance.sop_instance_uid)
    whole = Finding(code=NO_FRACTURE, probability=1 - strongest.fracture, region=region)
    evidence = reading.evidence
    return replace(
        reading,
        models=(*reading.models, model.identity),
        findings=(*reading.findings, *(findings or [whole])),
        evidence={
            **evidence,
            "probabilities": {**evidence["probabilities"], FRACTURE: round(strongest.fracture, 4)},
            "thresholds": {**evidence["thresholds"], FRACTURE: model.threshold(strongest)},
            "limbs": [model.told(*one) for one in limbs],
        },
    )


def _strongest(read: Sequence[_Seen], index: int) -> _Seen:
    return max(read, key=lambda one: _probability(one, index))


def _probability(seen: _Seen, index: int) -> float:
    assert seen.run is not None
    return float(seen.run.probabilities[index])


def _grid(bundle: Bundle, code: str, seen: _Seen) -> tuple[NDArray[np.float32], Placement]:
    assert seen.run is not None
    assert seen.placement is not None
    return seen.run.activations[bundle.labels.index(code)], seen.placement


def _finding(bundle: Bundle, code: str, seen: _Seen) -> Finding:
    # A map that points no better than chance would lead the reader astray: then the finding is of the whole image.
    boxed = bundle.details["localises"] or code in bundle.details.get("localised", ())
    box = peak_box(*_grid(bundle, code, seen)) if boxed else None
    region = Region(sop_instance_uid=seen.instance.sop_instance_uid, box=box)
    return Finding(code=code, probability=_probability(seen, bundle.labels.index(code)), region=region)


def _whole(seen: _Seen) -> Region:
    return Region(sop_instance_uid=seen.instance.sop_instance_uid)


def _heatmap(bundle: Bundle, code: str, seen: _Seen) -> dict[str, Any]:
    grid, placement = _grid(bundle, code, seen)
    return {
        "sop_instance_uid": seen.instance.sop_instance_uid,
        "grid": relative(grid),
        "area": [round(value, 1) for value in covered(placement)],
    }
