"""Proof that a form was sent from our own page: the sign-in's form token comes back with it.

Pages put the token into a hidden field ``form_token``; htmx sends it as the header ``X-Form-Token`` (``hx-headers`` on
the body). A foreign page can make a browser send our cookie, but it cannot read the token.
"""

from __future__ import annotations

import secrets

from fastapi import Request

from api.refusals import FormNotOurs

#: Methods that change nothing (RFC 9110 9.2.1).
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


async def sent_form_token(request: Request) -> str:
    """Return the form token that came with a request, empty when there is none: a FastAPI dependency."""
    if request.method in SAFE_METHODS:
        return ""
    header = request.headers.get("x-form-token")
    if header:
        return header
    if request.headers.get("content-type", "").startswith(FORM_TYPES):
        field = (await request.form()).get("form_token")
        return field if isinstance(field, str) else ""
    return ""


def check_form_token(request: Request, expected: str, sent: str) -> None:
    """Pass when the request changes nothing or carries the expected token.

    Raises
    ------
    FormNotOurs
        If it does not.
    """
    if request.method not in SAFE_METHODS and not secrets.compare_digest(expected.encode(), sent.encode()):
        raise FormNotOurs
