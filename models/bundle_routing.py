"""The routing rule: which images a bundle may read, from its own metadata and from the county's file over it.

``sumu.routing`` in the metadata is what the maker says; ``routing.toml`` in the models' folder has one table for each
bundle, and each field there takes the place of the maker's::

    [spleen_volume]
    devices = ["SOMATOM go"]
    age_years = [18, 120]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.bundle import Bundle
from models.bundle_fields import BundleRefused, Fields

#: What the tags may leave unsaid where a rule allows it.
UNSTATED = ("body_part", "view", "age", "device")
#: Modalities (PS3.3 C.7.3.1.1.1) whose instances are pictures or series of slices.
MODALITIES = ("CR", "DX", "RG", "RF", "MG", "IO", "PX", "XA", "CT", "MR", "PT", "NM", "US", "XC", "OP", "OPT", "OT", "SC")


@dataclass(frozen=True, kw_only=True)
class RoutingRule:
    """What an image must be; an empty list asks nothing."""

    modalities: tuple[str, ...]
    #: Body Part Examined or the anatomic region's meaning or code, in any spelling of these.
    body_parts: tuple[str, ...]
    #: View Position or the view code's meaning.
    views: tuple[str, ...]
    #: From and below, in years; None asks nothing.
    age_years: tuple[float, float] | None
    #: At least one of these stands in manufacturer, model name or station name.
    devices: tuple[str, ...]
    #: 2: one image as displayed; 3: the slices of one series.
    dimensions: int
    #: Most distance of slices in millimetres; None asks nothing.
    most_slice_mm: float | None
    #: Fewest slices of a series.
    fewest_slices: int
    #: What is read although the tags do not say it: some of ``body_part``, ``view``, ``age``, ``device``.
    unstated: tuple[str, ...]


def rule_of(bundle: Bundle, county: Mapping[str, Any] | None = None) -> RoutingRule:
    """Return the bundle's rule, with the county's fields in the place of the maker's.

    Raises
    ------
    BundleRefused
        If a field is unknown or of the wrong kind, or the rule does not fit the network's input.
    """
    own = bundle.declared.get("routing")
    place = "sumu.routing in configs/metadata.json"
    if county:
        _rule(bundle, place, own)
        own, place = {**own, **county} if isinstance(own, Mapping) else county, f"[{bundle.name}] in routing.toml"
    return _rule(bundle, place, own)


def county_rules(file: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the county's tables by bundle; none where the file is not there.

    Raises
    ------
    BundleRefused
        If the file is not TOML or holds something else than tables.
    """
    if not file.is_file():
        return {}
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BundleRefused("routing.toml", f"{file} is not TOML ({error})", remedy="Mend the line that it names.") from error
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise BundleRefused(name, f"'{name}' in {file} is no table", remedy=f"Write [{name}] and its fields below it.")
    return tables


def _rule(bundle: Bundle, place: str, described: object) -> RoutingRule:
    if described is None:
        raise BundleRefused(
            bundle.name,
            "no rule says which studies it reads",
            remedy="Add sumu.routing to configs/metadata.json, with at least modalities and dimensions; docs/models.md shows it.",
        )
    fields = Fields(bundle.name, place, described)
    years = fields.numbers("age_years", 2, (0, 0))
    rule = RoutingRule(
        modalities=tuple(one.upper() for one in fields.texts("modalities")),
        body_parts=fields.texts("body_parts", ()),
        views=fields.texts("views", ()),
        age_years=(years[0], years[1]) if any(years) else None,
        devices=fields.texts("devices", ()),
        dimensions=fields.whole("dimensions"),
        most_slice_mm=fields.optional_number("most_slice_mm"),
        fewest_slices=fields.whole("fewest_slices", 8, least=2),
        unstated=fields.texts("unstated", ()),
    )
    fields.end()
    _check(bundle, rule, fields)
    return rule


def _check(bundle: Bundle, rule: RoutingRule, fields: Fields) -> None:
    unknown = [one for one in rule.modalities if one not in MODALITIES]
    if unknown or not rule.modalities:
        fields.refuse(f"has the modalities {unknown or 'of none'}", f"Use one or more of {', '.join(MODALITIES)}.")
    if other := [one for one in rule.unstated if one not in UNSTATED]:
        fields.refuse(f"has '{other[0]}' among unstated", f"Use some of {', '.join(UNSTATED)}.")
    if rule.age_years and rule.age_years[0] >= rule.age_years[1]:
        fields.refuse(f"has the ages {list(rule.age_years)}", "Give the lower one first, in years.")
    given = len(bundle.inputs[0].shape) - 1
    if rule.dimensions not in (2, 3) or rule.dimensions != given:
        fields.refuse(
            f"says {rule.dimensions} dimensions and the network's input has {given}",
            "Say 2 for pictures or 3 for series, as spatial_shape of the input has it.",
        )
