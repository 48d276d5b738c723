"""The recordings of a report as sheets of ECG paper, each with the intervals that hold and with who measured them."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from api.ecg_evidence import evidence_of
from api.ecg_measuring import MEASURED, holding_values, measurements_of
from api.ecg_words import number_in_words
from api.house import House
from api.images_of_study import NotInArchiveYet, ecgs_of, fetch_ecg
from api.web.ecg_paper import ecg_paper_svg
from core.tables import Study
from pacs_bridge.archive import NotInArchive

#: More recordings than this do not become more readable on paper.
_MOST = 2
#: Numbers below a sheet, in order.
_SHOWN = ("ecg_heart_rate", *MEASURED, "ecg_axis_qrs")
#: The light rim of a lead's name. WeasyPrint knows no ``paint-order`` and would paint the rim over the letters.
_RIM = re.compile(r' stroke="[^"]*" stroke-width="[^"]*" paint-order="stroke"')


@dataclass(frozen=True, kw_only=True)
class EcgSheet:
    """One recording on paper; text only, so that it prints without a database."""

    #: ``data:`` address of the drawing.
    picture: str
    #: ``name value unit``.
    numbers: Sequence[str]
    #: Name and version of the model that measured.
    model: str
    #: The doctor who measured PR, QRS and QT, and when; None where the machine's hold.
    measured_by: str | None
    measured_at: datetime | None


def ecg_sheets(session: Session, house: House, study: Study) -> list[EcgSheet]:
    """Return the first recordings of a study, in the county's language; what the archive does not hold is left out."""
    language, measured = house.settings.county.language, measurements_of(session, study)
    sheets = []
    for instance in ecgs_of(session, study)[:_MOST]:
        try:
            ecg = fetch_ecg(house.archive, instance)
        except (NotInArchive, NotInArchiveYet):
            continue
        evidence, by_doctor = evidence_of(session, study, instance.sop_instance_uid), measured.get(instance.sop_instance_uid)
        values = holding_values(evidence.values if evidence else {}, by_doctor)
        svg = _RIM.sub("", ecg_paper_svg(ecg, language=language))
        sheets.append(
            EcgSheet(
                picture="data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
                numbers=[number_in_words(code, values[code], language) for code in _SHOWN if code in values],
                model=evidence.model if evidence else "",
                measured_by=by_doctor.measured_by.display_name if by_doctor else None,
                measured_at=by_doctor.measured_at if by_doctor else None,
            )
        )
    return sheets
