"""Whether a bundle was made for an image, by the image's tags and the bundle's routing rule; if not, why not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from pydicom import Dataset

from inference.radiograph.scope import age_in_years
from models.bundle_routing import RoutingRule

#: Documents, states, dose reports and waveforms that some devices file under the modality of their images.
_NO_IMAGES = tuple(f"1.2.840.10008.5.1.4.1.1.{kind}." for kind in ("9", "11", "66", "67", "68", "88", "104", "481"))
_LOCALIZERS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}

#: Reasons of the vocabulary, the one that is found first when nothing fits at all first.
REASONS = (
    "bundle_no_image",
    "bundle_other_body_part",
    "bundle_body_part_unstated",
    "bundle_other_view",
    "bundle_view_unstated",
    "bundle_other_age",
    "bundle_age_unstated",
    "bundle_other_device",
    "bundle_device_unstated",
    "bundle_few_slices",
    "bundle_slices_do_not_fit",
    "bundle_slices_far_apart",
    "bundle_too_large",
    "bundle_loop",
    "bundle_coloured",
    "bundle_size_unknown",
    "bundle_pixels_unreadable",
)


def wanted(header: Dataset, rule: RoutingRule) -> bool:
    """Return whether an instance may be meant, as far as its row tells: modality and SOP class."""
    sop_class = str(header.get("SOPClassUID", ""))
    return str(header.get("Modality", "") or "").upper() in rule.modalities and not sop_class.startswith(_NO_IMAGES)


def is_localizer(header: Dataset) -> bool:
    """Return whether an image was made to plan others (Image Type, PS3.3 C.8.2.1.1.1)."""
    return bool({str(one).upper() for one in header.get("ImageType", None) or ()} & _LOCALIZERS)


def refusal(header: Dataset, rule: RoutingRule) -> str | None:
    """Return the reason why the bundle must stay silent about an image, or None where the tags do not forbid it."""
    asked = (
        ("body_part", rule.body_parts, _body_parts(header)),
        ("view", rule.views, _views(header)),
    )
    for what, allowed, said in asked:
        if allowed and not said and what not in rule.unstated:
            return f"bundle_{what}_unstated"
        if allowed and said and not said & {_plain(one) for one in allowed}:
            return f"bundle_other_{what}"
    return _age(header, rule) or _device(header, rule)


def _age(header: Dataset, rule: RoutingRule) -> str | None:
    if rule.age_years is None:
        return None
    age = age_in_years(header)
    if age is None:
        return None if "age" in rule.unstated else "bundle_age_unstated"
    lowest, highest = rule.age_years
    return None if lowest <= age < highest else "bundle_other_age"


def _device(header: Dataset, rule: RoutingRule) -> str | None:
    if not rule.devices:
        return None
    names = [str(header.get(word, "") or "") for word in ("Manufacturer", "ManufacturerModelName", "StationName")]
    said = _plain(" ".join(names))
    if not said:
        return None if "device" in rule.unstated else "bundle_device_unstated"
    return None if any(_plain(device) in said for device in rule.devices) else "bundle_other_device"


def _body_parts(header: Dataset) -> set[str]:
    items = header.get("AnatomicRegionSequence", None) or []
    coded = [text for item in items for text in (item.get("CodeMeaning", ""), item.get("CodeValue", ""))]
    return _plain_all([*_spellings(header.get("BodyPartExamined")), *coded])


def _views(header: Dataset) -> set[str]:
    items = header.get("ViewCodeSequence", None) or []
    coded = [text for item in items for text in (item.get("CodeMeaning", ""), item.get("CodeValue", ""))]
    return _plain_all([*_spellings(header.get("ViewPosition")), *coded])


def _spellings(value: object) -> list[str]:
    """Return a code string as read and, where a device wrote Chinese bytes into it, as that (PS3.5 6.2 allows CS only ASCII)."""
    texts = [str(value or "")]
    for character_set in ("utf-8", "gb18030"):
        with suppress(UnicodeError):
            texts.append(texts[0].encode("latin-1").decode(character_set))
    return texts


def _plain_all(texts: Iterable[object]) -> set[str]:
    return {plain for text in texts if (plain := _plain(text))}


def _plain(value: object) -> str:
    return re.sub(r"[\W_]", "", str(value or "").upper())
