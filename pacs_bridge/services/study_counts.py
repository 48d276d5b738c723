"""What the rows of studies add up to: series, instances, modalities, SOP classes (PS3.4 C.6.2.1.3)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.tables import Instance
from pacs_bridge.services.study_rows import PRESENT


@dataclass(kw_only=True)
class Counts:
    """What the rows of one study add up to."""

    series: int = 0
    instances: int = 0
    #: In the order in which they came.
    modalities: list[str] = field(default_factory=list)
    sop_classes: list[str] = field(default_factory=list)


def counts_of(session: Session, studies: Sequence[int]) -> Mapping[int, Counts]:
    """Return the counts of studies by their numbers."""
    counts: dict[int, Counts] = defaultdict(Counts)
    series: dict[int, set[str]] = defaultdict(set)
    grouped = (
        select(
            Instance.study_id,
            Instance.modality,
            Instance.sop_class_uid,
            Instance.series_instance_uid,
            func.count(Instance.id),
        )
        .where(Instance.study_id.in_(studies), PRESENT)
        .group_by(Instance.study_id, Instance.modality, Instance.sop_class_uid, Instance.series_instance_uid)
        .order_by(func.min(Instance.id))
    )
    for study, modality, sop_class, uid, number in session.execute(grouped):
        of_study = counts[study]
        series[study].add(uid)
        of_study.instances += number
        of_study.series = len(series[study])
        if modality and modality not in of_study.modalities:
            of_study.modalities.append(modality)
        if sop_class not in of_study.sop_classes:
            of_study.sop_classes.append(sop_class)
    return counts
