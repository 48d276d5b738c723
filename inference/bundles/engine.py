"""The engine of one added bundle: pictures as displayed, or one series of slices, read as the bundle declares.

``Reading.evidence`` holds, in JSON values:

- ``images`` (2 dimensions): for each instance ``sop_instance_uid``, ``outcome``, ``reason``, ``problem``;
- ``series`` (3 dimensions): for each series ``series_instance_uid``, ``slices``, ``outcome``, ``reason``, ``problem``; one
  series is read, original ones before derived ones, then the one of most slices;
- ``county_rule``: fields of the routing rule that are the county's own, where there are any;
- ``probabilities``, ``thresholds`` and ``silent``: as the radiograph engine's, where the bundle classifies;
- ``structures``: for each outlined structure ``measurement``, ``samples`` (voxels or pixels as the network saw them) and
  ``region`` (``sop_instance_uid``, ``frame``, ``box`` in stored pixels of the slice in which it is largest, ``slices`` first and
  last in order of position), None where nothing of it was found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import SimpleITK as sitk  # noqa: N813 - the name that all who use it give it
from pydicom import Dataset

from inference.bundles.network import BundleNetwork
from inference.bundles.pictures import NoPicture, picture_of
from inference.bundles.results import Place, Said, said_of
from inference.bundles.scope import REASONS, is_localizer, refusal, wanted
from inference.bundles.series import NoVolume, Volume, slice_count, volume_of
from inference.bundles.steps import channels_of, prepared, to_network
from inference.engine import Finding, InstanceFile, ModelIdentity, Outcome, Reading, StudyFiles
from inference.onnx_session import PROCESSOR, Hardware
from inference.radiograph.spacing import spacing_of
from models.bundle_plan import Plan
from models.bundle_results import Kind

#: A series that fits, but another one of its study was read.
ANOTHER_READ = "bundle_another_series_read"


@dataclass(kw_only=True)
class _Look:
    """What became of one picture or one series."""

    name: dict[str, Any]
    reason: str | None = None
    problem: str | None = None
    said: Said | None = None

    def told(self) -> dict[str, Any]:
        outcome = Outcome.READ if self.said else Outcome.DECLINED
        return {**self.name, "outcome": outcome.value, "reason": self.reason, "problem": self.problem}


class BundleEngine:
    """Reads what the bundle's routing rule lets it read; the network is loaded at the first reading."""

    def __init__(self, plan: Plan, hardware: Hardware = PROCESSOR) -> None:
        self.name = plan.bundle.name
        self.plan = plan
        self._network = BundleNetwork(plan, hardware)

    def warm(self) -> None:
        """Load the network."""
        self._network.warm()

    def wants(self, instance: Dataset) -> bool:
        """Return whether the rule may mean this instance."""
        return wanted(instance, self.plan.rule)

    def read(self, study: StudyFiles) -> Reading:
        """Read the pictures, or the best series, of the study.

        Raises
        ------
        BundleIncomplete, WeightsAltered
            If the model cannot be trusted or is not there.
        StrangeAnswer
            If the network answers something that is no number.
        """
        instances = [one for one in study.instances if self.wants(one.header)]
        looks = self._at_series(instances) if self.plan.dimensions == 3 else [self._at_picture(one) for one in instances]
        key = "series" if self.plan.dimensions == 3 else "images"
        evidence: dict[str, Any] = {key: [look.told() for look in looks]}
        if self.plan.county:
            evidence["county_rule"] = dict(self.plan.county)
        read = [look.said for look in looks if look.said]
        if not read:
            reasons = [look.reason for look in looks if look.reason]
            # The look that came furthest says most.
            reason = max(reasons, key=REASONS.index) if reasons else REASONS[0]
            return Reading(outcome=Outcome.DECLINED, reason=reason, evidence=evidence)
        return self._reading(read, evidence)

    def _at_picture(self, instance: InstanceFile) -> _Look:
        look = _Look(name={"sop_instance_uid": instance.sop_instance_uid})
        look.reason = refusal(instance.header, self.plan.rule)
        if look.reason:
            return look
        try:
            image = sitk.GetImageFromArray(picture_of(instance, luminance=self.plan.luminance))
        except NoPicture as error:
            look.reason, look.problem = error.reason, str(error)
            return look
        spacing = spacing_of(instance.header)
        if spacing is None and all(result.kind is Kind.SEGMENTATION for result in self.plan.results):
            look.reason = "bundle_size_unknown"
            return look
        if spacing:
            image.SetSpacing((spacing["column_mm"], spacing["row_mm"]))
        look.said = self._say(image, [(instance.sop_instance_uid, 1)], measured=spacing is not None)
        return look

    def _at_series(self, instances: Sequence[InstanceFile]) -> list[_Look]:
        groups: dict[str, list[InstanceFile]] = {}
        for instance in instances:
            groups.setdefault(instance.series_instance_uid, []).append(instance)
        looks = []
        done = False
        for whole in sorted(groups.values(), key=_preference):
            group = [one for one in whole if "Rows" in one.header and not is_localizer(one.header)]
            look = _Look(name={"series_instance_uid": whole[0].series_instance_uid, "slices": slice_count(group)})
            look.reason = ANOTHER_READ if done else self._refusal(group)
            if not look.reason:
                try:
                    volume = volume_of(group)
                    look.reason = self._too_far_apart(volume)
                    if not look.reason:
                        look.said = self._say(volume.image, volume.slices, measured=True)
                        done = True
                except NoVolume as error:
                    look.reason, look.problem = error.reason, str(error)
            looks.append(look)
        return looks

    def _refusal(self, group: Sequence[InstanceFile]) -> str | None:
        if not group:
            return "bundle_no_image"
        reason = refusal(group[0].header, self.plan.rule)
        return reason or ("bundle_few_slices" if slice_count(group) < self.plan.rule.fewest_slices else None)

    def _too_far_apart(self, volume: Volume) -> str | None:
        most = self.plan.rule.most_slice_mm
        return "bundle_slices_far_apart" if most is not None and volume.slice_mm > most else None

    def _say(self, image: sitk.Image, slices: Sequence[tuple[str, int]], *, measured: bool) -> Said:
        bundle = self.plan.bundle
        seen = prepared(image, self.plan.steps)
        outputs = self._network.run(to_network(seen, channels_of(self.plan.steps), bundle.inputs[0].dtype))
        place = Place(stored=image, seen=seen, slices=slices, measured=measured)
        return said_of(self.plan.results, bundle.labels, bundle.thresholds, outputs, place)

    def _reading(self, read: Sequence[Said], evidence: Mapping[str, Any]) -> Reading:
        bundle = self.plan.bundle
        classified = [said for said in read if said.probabilities]
        highest = {code: max(said.probabilities[code] for said in classified) for code in bundle.labels} if classified else {}
        told = {
            "probabilities": {code: round(value, 4) for code, value in highest.items()},
            "thresholds": dict(bundle.thresholds),
            "silent": [code for code in bundle.labels if code not in bundle.thresholds],
        }
        return Reading(
            outcome=Outcome.READ,
            models=(self.identity,),
            findings=tuple(_strongest(read)),
            measurements=tuple(number for said in read for number in said.measurements),
            evidence={
                **evidence,
                **(told if classified else {}),
                "structures": [structure for said in read for structure in said.structures],
            },
        )

    @property
    def identity(self) -> ModelIdentity:
        """Who says it."""
        bundle = self.plan.bundle
        return ModelIdentity.of(bundle)


def _preference(group: Sequence[InstanceFile]) -> tuple[bool, int, str]:
    """Return a key that puts original series before derived ones, then those of more slices first (PS3.3 C.7.6.1.1.2)."""
    kind = [str(value).upper() for value in group[0].header.get("ImageType", None) or ()]
    return bool(kind) and kind[0] == "DERIVED", -slice_count(group), group[0].series_instance_uid


def _strongest(read: Sequence[Said]) -> list[Finding]:
    """Return each finding once, where it is surest; the normal statement only where no image has any."""
    found: dict[str, Finding] = {}
    for finding in (finding for said in read for finding in said.findings):
        known = found.get(finding.code)
        if known is None or (finding.probability or 0) > (known.probability or 0):
            found[finding.code] = finding
    if not found:
        return [Finding(code=code) for code in dict.fromkeys(code for said in read for code in said.otherwise)]
    return sorted(found.values(), key=lambda finding: -(finding.probability or 1.0))
