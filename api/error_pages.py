"""How errors reach a person: a page for browsers, JSON for programs, both with what happened and what to do."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException

from api.pages import language_of, render
from api.refusals import N_, NoSuchPage, NotUnderstood, Refusal, SignInNeeded
from api.translations import translate
from core.errors import ForbiddenTransition, NotAllowed, SumuError
from pacs_bridge.archive import ArchiveUnreachable, NotInArchive

_STATUS: tuple[tuple[type[SumuError], int], ...] = (
    (NotAllowed, 403),
    (ForbiddenTransition, 409),
    (NotInArchive, 404),
    (ArchiveUnreachable, 503),
)
#: Errors of earlier rooms, in the words of a page.
_WORDS: dict[type[SumuError], tuple[str, str]] = {
    NotAllowed: (
        N_("Your account does not include this."),
        N_("Ask an administrator of your organisation for the role that includes it."),
    ),
    ForbiddenTransition: (
        N_("This is not possible any more: somebody else was faster, or the page is old."),
        N_("Reload the page and look again."),
    ),
    NotInArchive: (N_("The archive does not hold this image."), N_("Ask the device to send it again.")),
    ArchiveUnreachable: (
        N_("The archive does not answer."),
        N_("It restarts by itself; try again in a minute, then call the person who runs the service."),
    ),
}


def install(app: FastAPI) -> None:
    """Make ``app`` answer every error of ours in this way."""
    app.add_exception_handler(SignInNeeded, _to_sign_in)
    app.add_exception_handler(SumuError, _show)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(RequestValidationError, _not_understood)


def wants_page(request: Request) -> bool:
    """Return whether a browser asked for a page, and not a program for data."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


def in_words(error: SumuError, language: str) -> tuple[str, str]:
    """Return message and remedy of an error in the reader's language."""
    if isinstance(error, Refusal):
        return error.in_language(language)
    for kind, (message, remedy) in _WORDS.items():
        if isinstance(error, kind):
            return translate(language, message), translate(language, remedy)
    return str(error.args[0]), error.remedy


def _status(error: SumuError) -> int:
    if isinstance(error, Refusal):
        return error.status
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 400)


def _to_sign_in(request: Request, error: Exception) -> Response:
    assert isinstance(error, SignInNeeded)
    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    if "hx-request" in request.headers:
        page = request.headers.get("hx-current-url", "/")
        path = "/" + page.split("/", 3)[3] if page.count("/") >= 3 else "/"
        return Response(status_code=401, headers={"HX-Redirect": "/sign-in?" + urlencode({"next": path})})
    if wants_page(request):
        target = {"next": back} if request.method == "GET" and back != "/" else {}
        return RedirectResponse("/sign-in" + ("?" + urlencode(target) if target else ""), status_code=303)
    return _show(request, error)


def _show(request: Request, error: Exception) -> Response:
    assert isinstance(error, SumuError)
    status = _status(error)
    if "hx-request" in request.headers:
        message, remedy = in_words(error, language_of(request))
        return render(request, "parts/notice.html", status_code=status, message=message, remedy=remedy)
    if wants_page(request):
        message, remedy = in_words(error, language_of(request))
        return render(request, "error.html", status_code=status, message=message, remedy=remedy)
    return JSONResponse({"message": str(error.args[0]), "remedy": error.remedy}, status_code=status)


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _show(request, NoSuchPage())
    return JSONResponse(
        {"message": error.detail, "remedy": "See /api/docs for what can be asked."},
        status_code=error.status_code,
        headers=error.headers,
    )


async def _not_understood(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    fields = ", ".join(str(problem["loc"][-1]) for problem in error.errors())
    return _show(request, NotUnderstood(fields=fields))
