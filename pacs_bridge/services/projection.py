"""From everything we know to what was asked for (PS3.4 C.4.1.1.3.2, K.2.2.1.3)."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence

from pacs_bridge.services.matching import NO_KEYS


def project(asked: Dataset, known: Dataset) -> Dataset:
    """Return the asked elements with what is known of them; those that are not known have no value.

    A sequence that was asked for without an item, or with an empty one, comes whole.
    """
    answer = Dataset()
    for key in asked:
        if key.keyword in NO_KEYS or key.tag.group == 0:
            continue
        if key.VR != "SQ":
            answer.add_new(key.tag, key.VR, known[key.tag].value if key.tag in known else None)
            continue
        items = list(known[key.tag].value or []) if key.tag in known else []
        wanted = key.value[0] if key.value else Dataset()
        answer.add_new(key.tag, "SQ", Sequence([project(wanted, item) for item in items] if len(wanted) else items))
    return answer
