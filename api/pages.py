"""Pages from templates: one Jinja2 environment a language, and the few filters that templates share."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from api import county_words
from api.house import House
from api.translations import LANGUAGES, catalog
from core.access import Permission, Person

WEB = Path(__file__).parent / "web"
TEMPLATES = WEB / "templates"
STATIC = WEB / "static"
LANGUAGE_COOKIE = "sumu_language"


def render(request: Request, template: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    """Return a page in the reader's language.

    Every template knows ``request``, ``settings``, ``language``, ``person`` (or None), ``form_token``, ``Permission`` and
    ``_()``, and the filters of :mod:`api.county_words`.
    """
    language = language_of(request)
    text = render_text(request.app.state.house, language, template, **_about(request), **context)
    answer = HTMLResponse(text, status_code=status_code, headers={"Cache-Control": "no-store"})
    if request.query_params.get("lang") == language:
        answer.set_cookie(LANGUAGE_COOKIE, language, max_age=365 * 86400, samesite="lax")
    return answer


def render_text(house: House, language: str, template: str, **context: Any) -> str:
    """Return a template's text in ``language``, also where no browser asked: a report's PDF."""
    timezone = house.settings.county.timezone
    return environment(language, timezone).get_template(template).render(settings=house.settings, language=language, **context)


def language_of(request: Request) -> str:
    """Return a page's language: its address's (``?lang=``), else the person's, else the browser's cookie's, else the county's."""
    house: House = request.app.state.house
    person: Person | None = getattr(request.state, "person", None)
    wishes = (
        request.query_params.get("lang"),
        person.language if person else None,
        request.cookies.get(LANGUAGE_COOKIE),
        house.settings.county.language,
    )
    return next((wish for wish in wishes if wish in LANGUAGES), LANGUAGES[0])


def _about(request: Request) -> dict[str, Any]:
    return {
        "request": request,
        "person": getattr(request.state, "person", None),
        "form_token": getattr(request.state, "form_token", ""),
    }


@cache
def environment(language: str, timezone: str) -> Environment:
    """Return the templates with words and times of one language and one county."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    words = catalog(language)
    extended: Any = templates  # the extension adds the method
    extended.install_gettext_callables(
        gettext=lambda message: words.get(message, message),
        ngettext=lambda one, many, count: words.get(one, one) if count == 1 else words.get(many, many),
        newstyle=True,
    )
    templates.globals["Permission"] = Permission
    for name, word in county_words.FILTERS.items():
        templates.filters[name] = partial(word, language=language, timezone=timezone)
    return templates
