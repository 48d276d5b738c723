"""How the FHIR doors answer: resources as ``application/fhir+json``, every error as an OperationOutcome with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from api import error_pages
from api.fhir_codes import both
from api.refusals import NotUnderstood, Refusal
from core.errors import NotAllowed, SumuError

_ISSUES = {401: "login", 403: "forbidden", 404: "not-found", 422: "invalid", 400: "invalid", 409: "conflict"}


class FhirResponse(JSONResponse):
    """A resource (FHIR R4 http, 3.1.0.1.9)."""

    media_type = "application/fhir+json"

    def __init__(self, content: Any, status_code: int = 200, **more: Any) -> None:
        super().__init__(content, status_code, **more)
        self.headers["Cache-Control"] = "no-store"


class FhirRoute(APIRoute):
    """A path whose errors leave as OperationOutcome, whatever the caller accepts."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, wrapped."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except SumuError as error:
                return refused(error)
            except RequestValidationError as error:
                return refused(NotUnderstood(fields=", ".join(str(problem["loc"][-1]) for problem in error.errors())))

        return answer


def refused(error: SumuError) -> Response:
    """Return an error as an OperationOutcome: what happened and what to do, in Chinese and English."""
    status = error.status if isinstance(error, Refusal) else 403 if isinstance(error, NotAllowed) else 400
    zh, en = (" ".join(error_pages.in_words(error, language)) for language in ("zh", "en"))
    issue = {"severity": "error", "code": _ISSUES.get(status, "processing"), "details": both(zh, en), "diagnostics": en}
    return FhirResponse({"resourceType": "OperationOutcome", "issue": [issue]}, status)
