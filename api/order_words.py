"""Why an order was not taken, in the words of a page."""

from __future__ import annotations

from api.refusals import N_
from api.translations import translate
from pacs_bridge.orders.errors import LacksInformation, NoSuchStation, OrderIsOver, OrderRefused, PatientIsAnother

_LACKING = {
    "patient_identifier": N_("The patient ID is missing."),
    "patient_name": N_("The patient's name is missing."),
    "modality": N_("The modality is missing."),
    "description": N_("It does not say what is to be examined."),
}
_FILL_IN = N_("Fill it in and place the order again.")


def order_refusal(error: OrderRefused, language: str) -> tuple[str, str]:
    """Return message and remedy in the reader's language."""
    if isinstance(error, LacksInformation) and error.field in _LACKING:
        return translate(language, _LACKING[error.field]), translate(language, _FILL_IN)
    if isinstance(error, PatientIsAnother):
        return (
            translate(
                language, N_("The patient ID %(identifier)s belongs to %(name)s."), identifier=error.identifier, name=error.name
            ),
            translate(language, N_("Check the ID, the name and the date of birth; two people never share an ID.")),
        )
    if isinstance(error, NoSuchStation):
        return (
            translate(language, N_("The device %(ae_title)s does not stand in this organisation."), ae_title=error.ae_title),
            translate(language, N_("Choose another device, or leave it to the organisation.")),
        )
    if isinstance(error, OrderIsOver):
        return (
            translate(language, N_("The examination %(accession)s has begun or is over."), accession=error.accession_number),
            translate(language, N_("Nothing can be changed now; if another examination is needed, place a new order.")),
        )
    return str(error.args[0]), error.remedy
