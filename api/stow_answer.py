"""What a STOW-RS request is answered with (PS3.18 10.5.3): DICOM JSON, native DICOM XML, or receipts with hashes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from fastapi import Response
from pydicom.datadict import keyword_for_tag

from pacs_bridge.edge import words

#: Failure Reason (0008,1197), PS3.18 Table I.2-1.
OUT_OF_RESOURCES, WRONG_STUDY, CANNOT_UNDERSTAND = 0xA700, 0xA901, 0xC000
#: A header of hashes stays below what proxies take.
_MOST_HASHES = 40
#: Seconds after which a sender shall try again.
RETRY_AFTER = 60


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one part."""

    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    #: SHA-256 and bytes of the data set as we hold it; empty when it was not kept.
    sha256: str = ""
    size: int = 0
    #: Failure Reason; 0 when it was kept.
    failure: int = 0
    #: Why it was not kept, and what to do; or what was noticed.
    note: str = ""


def answer(outcomes: Sequence[Outcome], accept: str) -> Response:
    """Return the answer: 200 when everything was kept, 202 when some, 409 when nothing, 503 when only the disk was in the way."""
    failed = [outcome for outcome in outcomes if outcome.failure]
    kept = [outcome for outcome in outcomes if not outcome.failure]
    status = 200 if not failed else 202 if kept else 409
    headers = {"Cache-Control": "no-store"}
    if failed and not kept and all(outcome.failure == OUT_OF_RESOURCES for outcome in failed):
        status, headers["Retry-After"] = 503, str(RETRY_AFTER)
    if 0 < len(kept) <= _MOST_HASHES:
        headers[words.SHA256] = ", ".join(outcome.sha256 for outcome in kept)
    if "dicom" not in accept and words.RECEIPTS in accept:
        return Response(_receipts(outcomes), status_code=status, media_type=words.RECEIPTS, headers=headers)
    described = _described(kept, failed)
    if "xml" in accept and "json" not in accept:
        return Response(_xml(described), status_code=status, media_type="application/dicom+xml", headers=headers)
    return Response(json.dumps(described), status_code=status, media_type="application/dicom+json", headers=headers)


def _receipts(outcomes: Sequence[Outcome]) -> str:
    kept, failed = list[dict[str, Any]](), list[dict[str, Any]]()
    for part, one in enumerate(outcomes):
        about = {"part": part, "sop_instance_uid": one.sop_instance_uid, "note": one.note}
        if one.failure:
            failed.append({**about, "failure": one.failure})
        else:
            kept.append({**about, "sha256": one.sha256, "size": one.size})
    return json.dumps({"kept": kept, "failed": failed})


def _described(kept: Sequence[Outcome], failed: Sequence[Outcome]) -> dict[str, Any]:
    """Return the Store Instances Response Module in DICOM JSON (PS3.18 Annex F)."""
    named = [one for one in failed if one.sop_instance_uid]
    others = [one for one in failed if not one.sop_instance_uid]
    module: dict[str, Any] = {}
    if named:
        module["00081198"] = _sequence({**_reference(one), "00081197": _reason(one)} for one in named)
    if kept:
        module["00081199"] = _sequence(_reference(one) for one in kept)
    if others:
        module["0008119A"] = _sequence({"00081197": _reason(one)} for one in others)
    return module


def _sequence(items: Any) -> dict[str, Any]:
    return {"vr": "SQ", "Value": list(items)}


def _reference(one: Outcome) -> dict[str, Any]:
    return {
        "00081150": {"vr": "UI", "Value": [one.sop_class_uid]},
        "00081155": {"vr": "UI", "Value": [one.sop_instance_uid]},
    }


def _reason(one: Outcome) -> dict[str, Any]:
    return {"vr": "US", "Value": [one.failure]}


def _xml(module: dict[str, Any]) -> bytes:
    """Return the same in the Native DICOM Model (PS3.19 A.1)."""
    root = ElementTree.Element("NativeDicomModel", {"xml:space": "preserve"})
    _add(root, module)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _add(parent: ElementTree.Element, module: dict[str, Any]) -> None:
    for tag, element in sorted(module.items()):
        about = {"tag": tag, "vr": element["vr"], "keyword": keyword_for_tag(tag)}
        attribute = ElementTree.SubElement(parent, "DicomAttribute", about)
        for number, value in enumerate(element["Value"], start=1):
            if element["vr"] == "SQ":
                _add(ElementTree.SubElement(attribute, "Item", {"number": str(number)}), value)
            else:
                ElementTree.SubElement(attribute, "Value", {"number": str(number)}).text = str(value)
