"""The rooms that the application opens, in the order in which paths are matched. A new room adds its line here."""

from __future__ import annotations

from fastapi import APIRouter

from api import (
    archive_notices,
    devices,
    dicomweb,
    documentation,
    ecg,
    edge_page,
    fhir_metadata,
    fhir_orders,
    fhir_results,
    film,
    film_desk,
    health,
    import_page,
    orders,
    reading,
    report_desk,
    signing_in,
    slides,
    stow,
    viewer,
    worklist,
)

ROUTERS: tuple[APIRouter, ...] = (
    signing_in.router,
    worklist.router,
    reading.router,
    ecg.router,
    report_desk.router,
    devices.router,
    orders.router,
    fhir_orders.router,
    documentation.router,
    dicomweb.router,
    stow.router,
    film.router,
    film_desk.router,
    viewer.router,
    slides.router,
    fhir_results.router,
    fhir_metadata.router,
    import_page.router,
    archive_notices.router,
    health.router,
)

#: Of a township's edge node, which has neither archive nor worklist.
EDGE_ROUTERS: tuple[APIRouter, ...] = (
    signing_in.router,
    edge_page.router,
    devices.router,
    documentation.router,
)
