"""A report: a person's words about a study, from draft to signature and after."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class ReportState(StrEnum):
    """How binding a report is."""

    DRAFT = "draft"
    FINAL = "final"
    #: A signed report that is being corrected; the signed version stays valid until the addendum is signed.
    AMENDING = "amending"


class ReportEvent(StrEnum):
    """What a doctor does with a report."""

    SAVE = "save"
    SIGN = "sign"
    AMEND = "amend"
    #: Give up an amendment: the signed version stands as it was.
    WITHDRAW = "withdraw"


REPORT = LifeCycle[ReportState, ReportEvent](
    name="report",
    start=ReportState.DRAFT,
    table={
        (ReportState.DRAFT, ReportEvent.SAVE): ReportState.DRAFT,
        (ReportState.DRAFT, ReportEvent.SIGN): ReportState.FINAL,
        (ReportState.FINAL, ReportEvent.AMEND): ReportState.AMENDING,
        (ReportState.AMENDING, ReportEvent.SAVE): ReportState.AMENDING,
        (ReportState.AMENDING, ReportEvent.SIGN): ReportState.FINAL,
        (ReportState.AMENDING, ReportEvent.WITHDRAW): ReportState.FINAL,
    },
)
