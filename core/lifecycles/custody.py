"""One instance in our keeping: received, delivered to the archive, compared with what the archive holds."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class CustodyState(StrEnum):
    """Where an instance is on its way into the archive."""

    RECEIVED = "received"
    DELIVERED = "delivered"
    COMPARED = "compared"
    QUARANTINED = "quarantined"


class CustodyEvent(StrEnum):
    """What can happen to an instance in our keeping."""

    DELIVER = "deliver"
    AGREE = "agree"
    DIFFER = "differ"
    VANISH = "vanish"
    REFUSE = "refuse"


CUSTODY = LifeCycle[CustodyState, CustodyEvent](
    name="instance in custody",
    start=CustodyState.RECEIVED,
    table={
        (CustodyState.RECEIVED, CustodyEvent.DELIVER): CustodyState.DELIVERED,
        (CustodyState.RECEIVED, CustodyEvent.REFUSE): CustodyState.QUARANTINED,
        (CustodyState.DELIVERED, CustodyEvent.AGREE): CustodyState.COMPARED,
        (CustodyState.DELIVERED, CustodyEvent.DIFFER): CustodyState.QUARANTINED,
        # The archive lost it before the comparison (its disk was restored from a backup): deliver again.
        (CustodyState.DELIVERED, CustodyEvent.VANISH): CustodyState.RECEIVED,
    },
)
