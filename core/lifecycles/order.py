"""An examination that was asked for: scheduled, under way, done; or called off."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class OrderState(StrEnum):
    """Where an order is."""

    SCHEDULED = "scheduled"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    DISCONTINUED = "discontinued"
    CANCELLED = "cancelled"


class OrderEvent(StrEnum):
    """What happens to an order."""

    #: The device began (MPPS N-CREATE).
    BEGIN = "begin"
    COMPLETE = "complete"
    DISCONTINUE = "discontinue"
    #: Who asked for it takes it back.
    CANCEL = "cancel"


ORDER = LifeCycle[OrderState, OrderEvent](
    name="order",
    start=OrderState.SCHEDULED,
    table={
        (OrderState.SCHEDULED, OrderEvent.BEGIN): OrderState.IN_PROGRESS,
        (OrderState.SCHEDULED, OrderEvent.CANCEL): OrderState.CANCELLED,
        # A device without MPPS: the images alone tell that it was done.
        (OrderState.SCHEDULED, OrderEvent.COMPLETE): OrderState.COMPLETED,
        (OrderState.IN_PROGRESS, OrderEvent.BEGIN): OrderState.IN_PROGRESS,
        (OrderState.IN_PROGRESS, OrderEvent.COMPLETE): OrderState.COMPLETED,
        (OrderState.IN_PROGRESS, OrderEvent.DISCONTINUE): OrderState.DISCONTINUED,
        # Another try after a broken one, and another step of the same examination.
        (OrderState.DISCONTINUED, OrderEvent.BEGIN): OrderState.IN_PROGRESS,
        (OrderState.COMPLETED, OrderEvent.BEGIN): OrderState.IN_PROGRESS,
    },
)
