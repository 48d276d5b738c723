"""Signing in and out, and who asks: every other room of the web gets its person from here."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from api import sign_in_tries
from api.forms import check_form_token, sent_form_token
from api.house import House, house_of
from api.pages import LANGUAGE_COOKIE, language_of, render
from api.refusals import Refusal, SignInNeeded, WrongPassword
from api.translations import LANGUAGES
from core import audit
from core.access import Permission, Person, person_of
from core.clock import now
from core.passwords import hash_password, new_token, password_matches, token_hash
from core.tables import SignIn, User

COOKIE = "sumu_session"
#: Verified when the user name is unknown, so that both answers take the same time.
_NOBODY = hash_password(new_token())

router = APIRouter(include_in_schema=False)


def current_person(
    request: Request,
    house: Annotated[House, Depends(house_of)],
    form_token: Annotated[str, Depends(sent_form_token)],
) -> Person:
    """Return who asks; for requests that change something, only if the form token of our own page came with it.

    Raises
    ------
    SignInNeeded
        Shown as a redirect to the sign-in page, or as 401 to programs.
    FormNotOurs
        If the form token is missing or another.
    """
    with house.database.reading() as session:
        sign_in = _sign_in_of(session, request)
        if sign_in is None:
            raise SignInNeeded
        person = person_of(session, sign_in.user)
        request.state.person, request.state.form_token = person, sign_in.form_token
        check_form_token(request, sign_in.form_token, form_token)
        return person


def require(permission: Permission) -> Callable[[Person], Person]:
    """Return a dependency: the signed-in person, if their roles give ``permission``; else 403."""

    def allowed(person: Annotated[Person, Depends(current_person)]) -> Person:
        person.must(permission)
        return person

    return allowed


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/") -> Response:
    """Show the form."""
    return render(request, "sign_in.html", next=_own_path(next))


@router.post("/sign-in")
def sign_in(
    request: Request,
    house: Annotated[House, Depends(house_of)],
    username: Annotated[str, Form(max_length=64)],
    password: Annotated[str, Form(max_length=256)],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Check user name and password and start a sign-in, or show the form again with the reason."""
    try:
        token = begin_sign_in(house, username.strip(), password, address_of(request))
    except Refusal as refusal:
        message, remedy = refusal.in_language(language_of(request))
        told = {"refusal": refusal, "message": message, "remedy": remedy}
        return render(request, "sign_in.html", status_code=refusal.status, next=_own_path(next), username=username, **told)
    answer = RedirectResponse(_own_path(next), status_code=303)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=round(house.settings.web.sign_in_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=_over_tls(request, house),
    )
    return answer


@router.post("/sign-out")
def sign_out(
    request: Request, house: Annotated[House, Depends(house_of)], person: Annotated[Person, Depends(current_person)]
) -> Response:
    """End this browser's sign-in."""
    with house.database.writing() as session:
        sign_in = _sign_in_of(session, request)
        if sign_in is not None:
            sign_in.ended_at = now()
            audit.record(session, person.actor, "sign_out", person.actor, {"address": address_of(request)})
    answer = RedirectResponse("/sign-in", status_code=303)
    answer.delete_cookie(COOKIE)
    return answer


@router.post("/language")
def choose_language(
    house: Annotated[House, Depends(house_of)],
    person: Annotated[Person, Depends(current_person)],
    language: Annotated[str, Form(max_length=8)],
    next: Annotated[str, Form()] = "/",
) -> Response:
    """Keep the person's language and go back."""
    if language in LANGUAGES:
        with house.database.writing() as session:
            session.get_one(User, person.user_id).language = language
    answer = RedirectResponse(_own_path(next), status_code=303)
    answer.delete_cookie(LANGUAGE_COOKIE)
    return answer


def begin_sign_in(house: House, username: str, password: str, address: str) -> str:
    """Return the token of a new sign-in.

    Raises
    ------
    WrongPassword
        If the two do not belong together, or the account is closed.
    TooManyTries
        If this address tried too often.
    """
    with house.database.reading() as session:
        sign_in_tries.check(session, username, address)
        user = session.scalar(select(User).where(User.username == username))
        kept_hash = user.password_hash if user else _NOBODY
    right = password_matches(kept_hash, password) and user is not None and user.disabled_at is None
    with house.database.writing() as session:
        if user is None or not right:
            sign_in_tries.record_refusal(session, username, address)
        else:
            token, moment = new_token(), now()
            session.add(
                SignIn(
                    token_hash=token_hash(token),
                    user_id=user.id,
                    form_token=new_token(),
                    created_at=moment,
                    expires_at=moment + timedelta(hours=house.settings.web.sign_in_hours),
                )
            )
            audit.record(session, f"user:{username}", "sign_in", f"user:{username}", {"address": address})
            return token
    raise WrongPassword


def _sign_in_of(session: Session, request: Request) -> SignIn | None:
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    sign_in = session.get(SignIn, token_hash(token))
    if sign_in is None or sign_in.ended_at is not None or sign_in.expires_at <= now() or sign_in.user.disabled_at is not None:
        return None
    return sign_in


def _own_path(target: str) -> str:
    """Return ``target`` if it is a path of this service, else ``/``: nobody is led elsewhere by a sign-in link."""
    parts = urlsplit(target)
    own = not parts.scheme and not parts.netloc and target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if own and "\n" not in target and "\r" not in target else "/"


def address_of(request: Request) -> str:
    """Return the address that a request came from; behind a proxy, uvicorn's ``--proxy-headers`` makes it the browser's."""
    return request.client.host if request.client else "unknown"


def _over_tls(request: Request, house: House) -> bool:
    return request.url.scheme == "https" or house.settings.web_address.startswith("https:")
