"""How errors reach a patient: a calm page of the film's own, without the staff's bar and worklist."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from api.error_pages import in_words, wants_page
from api.pages import language_of, render
from api.refusals import Refusal
from core.errors import SumuError


class FilmRoute(APIRoute):
    """A route whose errors show as a page for patients; programs and images get the house's usual answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with our page around its errors."""
        answer = super().get_route_handler()

        async def answer_or_explain(request: Request) -> Response:
            try:
                return await answer(request)
            except SumuError as error:
                if not wants_page(request):
                    raise
                message, remedy = in_words(error, language_of(request))
                status = error.status if isinstance(error, Refusal) else 503
                return render(request, "film_problem.html", status_code=status, message=message, remedy=remedy)

        return answer_or_explain
