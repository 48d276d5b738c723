"""The API's own pages, served from here: a county's network need not reach the world to read them."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.pages import render

router = APIRouter(include_in_schema=False)


@router.get("/api/docs")
def api_documentation(request: Request) -> Response:
    """Show what can be asked by programs, from the application's OpenAPI description."""
    return render(request, "api_docs.html", api=request.app.openapi())
