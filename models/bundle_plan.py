"""What Sumu does with a bundle that brings no engine of its own: from images by steps to results, all of it declared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.bundle import Bundle
from models.bundle_fields import BundleRefused, Fields
from models.bundle_results import Result, results_of
from models.bundle_routing import RoutingRule, rule_of
from models.bundle_steps import Step, steps_of

#: ``sumu.engine`` of a bundle that Sumu runs from its declarations.
ENGINE = "bundle"
_FIELDS = {
    *("engine", "weights", "labels", "thresholds", "preprocessing", "licence", "sources", "details"),
    *("routing", "steps", "results", "vocabulary", "overlap", "luminance"),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the engine needs to know but the weights."""

    bundle: Bundle
    rule: RoutingRule
    steps: tuple[Step, ...]
    results: tuple[Result, ...]
    #: Share by which neighbouring windows lie over each other, where the network reads window by window (as MONAI's).
    overlap: float
    #: Whether coloured pictures, as of ultrasound, are read too: by their luminance (ITU-R BT.601).
    luminance: bool
    #: Fields of the routing rule that are the county's own.
    county: Mapping[str, Any]

    @property
    def dimensions(self) -> int:
        """2 for pictures, 3 for series."""
        return self.rule.dimensions


def plan_of(bundle: Bundle, county: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan; ``county`` are the county's own fields of the routing rule.

    Raises
    ------
    BundleRefused
        If anything declared is unknown, or its parts do not fit each other.
    """
    if len(bundle.inputs) != 1:
        raise BundleRefused(
            bundle.name, f"its network has {len(bundle.inputs)} inputs", remedy="Export it with one input, the image."
        )
    _known_fields(bundle)
    rule = rule_of(bundle, county)
    declared = Fields(bundle.name, "sumu in configs/metadata.json", bundle.declared)
    overlap = declared.number("overlap", 0.25)
    if not 0 <= overlap < 1:
        declared.refuse(f"has overlap {overlap:g}", "Give a share from 0 to below 1.")
    return Plan(
        bundle=bundle,
        rule=rule,
        steps=steps_of(bundle, rule.dimensions),
        results=results_of(bundle),
        overlap=overlap,
        luminance=declared.flag("luminance", False),
        county=dict(county or {}),
    )


def _known_fields(bundle: Bundle) -> None:
    if unknown := sorted(set(bundle.declared) - _FIELDS):
        raise BundleRefused(
            bundle.name,
            f"sumu in configs/metadata.json has fields that Sumu does not know: {', '.join(unknown)}",
            remedy=f"Known: {', '.join(sorted(_FIELDS))}. Put what only people read into the card.",
        )
