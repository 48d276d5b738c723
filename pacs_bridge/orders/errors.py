"""Why an order is not taken, each with what its sender should do."""

from __future__ import annotations

from core.errors import SumuError


class OrderRefused(SumuError):
    """Base of all of them."""


class LacksInformation(OrderRefused):
    """The order does not say something that a device needs; ``field`` is a field of :class:`OrderWish`."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(f"The order lacks {what}.", remedy=f"Send it again with {what}.")
        self.field = field


class NotReadable(OrderRefused):
    """A value is no code that we know, or no date."""

    def __init__(self, field: str, value: str, remedy: str) -> None:
        super().__init__(f"'{value[:32]}' is no {field.replace('_', ' ')} that Sumu knows.", remedy=remedy)
        self.field = field


class PatientIsAnother(OrderRefused):
    """The patient identifier belongs to a person of another name or birth date."""

    def __init__(self, identifier: str, name: str) -> None:
        super().__init__(
            f"Patient ID {identifier} belongs to {name or 'somebody else'} here.",
            remedy="Check the patient ID; if a name or birth date was corrected, have an administrator correct it here first.",
        )
        self.identifier, self.name = identifier, name


class NoSuchStation(OrderRefused):
    """The order is meant for a device that this organisation does not have."""

    def __init__(self, ae_title: str) -> None:
        super().__init__(
            f"There is no device '{ae_title}' in this organisation.",
            remedy="Leave the device out, or admit it on the page Devices.",
        )
        self.ae_title = ae_title


class NoSuchOrder(OrderRefused):
    """Nobody placed an order under this number."""

    def __init__(self, number: str) -> None:
        super().__init__(f"There is no order '{number}' here.", remedy="Place it first (NW); its number may have been mistyped.")


class NumberInUse(OrderRefused):
    """The placer's number stands on another order, or on one that was called off."""

    def __init__(self, number: str, accession_number: str, state: str) -> None:
        super().__init__(
            f"The order number '{number}' is taken by {accession_number} ({state}), which says something else.",
            remedy="Change that order (XO), or place the new one under a number of its own.",
        )


class OrderIsOver(OrderRefused):
    """An order that is under way, done or called off cannot be changed or called off."""

    def __init__(self, accession_number: str, state: str) -> None:
        super().__init__(
            f"The order {accession_number} is {state.replace('_', ' ')} already.",
            remedy="Nothing can be changed now; if another examination is needed, place a new order.",
        )
        self.accession_number = accession_number
