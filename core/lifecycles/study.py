"""Completeness of a study: a state decided from evidence, never one timeout."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class StudyState(StrEnum):
    """Whether a study may be read."""

    ARRIVING = "arriving"
    SETTLED = "settled"


class StudyEvent(StrEnum):
    """What changes the completeness of a study."""

    INSTANCE = "instance"
    SETTLE = "settle"


STUDY = LifeCycle[StudyState, StudyEvent](
    name="study",
    start=StudyState.ARRIVING,
    table={
        (StudyState.ARRIVING, StudyEvent.INSTANCE): StudyState.ARRIVING,
        (StudyState.ARRIVING, StudyEvent.SETTLE): StudyState.SETTLED,
        # A late slice reopens the study; when it settles again it is read again under its next revision.
        (StudyState.SETTLED, StudyEvent.INSTANCE): StudyState.ARRIVING,
    },
)
