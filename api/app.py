"""The application: rooms, static files, errors and headers put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from api import error_pages
from api.house import open_house
from api.pages import STATIC
from api.routers import EDGE_ROUTERS, ROUTERS
from api.security_headers import SecurityHeaders
from core.settings import ServiceRole, Settings
from inference.vocabulary.terms import follow


def create_app(settings: Settings) -> FastAPI:
    """Return the web application of one service; it opens the database and the archive of ``settings``."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        app.state.house.database.close()
        app.state.house.archive.close()

    app = FastAPI(
        title=f"Sumu · {settings.county.name_en}",
        description="Worklist, reading, reports and films of one county's imaging service.",
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    follow(settings.models_folder / "words")
    app.state.house = open_house(settings)
    app.add_middleware(SecurityHeaders)
    error_pages.install(app)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in EDGE_ROUTERS if settings.role is ServiceRole.EDGE else ROUTERS:
        app.include_router(router)
    return app
