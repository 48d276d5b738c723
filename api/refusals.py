"""What the web refuses, in words that can be translated: each refusal knows its HTTP status and its remedy.

Message and remedy are ids of the translation catalogs, so a page shows them in its reader's language; a log and the
JSON API show them in English.
"""

from __future__ import annotations

from typing import Any, ClassVar

from api.translations import translate
from core.errors import SumuError


def N_(message: str) -> str:  # noqa: N802 -- gettext's own name for "translate this later"
    """Mark ``message`` for the catalogs."""
    return message


class Refusal(SumuError):
    """Base of all refusals of the web."""

    status: ClassVar[int] = 400
    message_id: ClassVar[str]
    remedy_id: ClassVar[str]

    def __init__(self, **values: Any) -> None:
        super().__init__(self.message_id % values, remedy=self.remedy_id % values)
        self.values = values

    def in_language(self, language: str) -> tuple[str, str]:
        """Return message and remedy as a reader of ``language`` reads them."""
        return translate(language, self.message_id, **self.values), translate(language, self.remedy_id, **self.values)


class SignInNeeded(Refusal):
    """Nobody is signed in, or the sign-in has ended."""

    status = 401
    message_id = N_("You are not signed in.")
    remedy_id = N_("Sign in and try again.")


class FormNotOurs(Refusal):
    """A form came without the token of our own page."""

    status = 403
    message_id = N_("This form did not come from a page of yours, or the page is too old.")
    remedy_id = N_("Reload the page and send it again.")


class WrongPassword(Refusal):
    """User name and password do not belong together."""

    status = 403
    message_id = N_("User name or password is wrong.")
    remedy_id = N_("Check both and try again; an administrator can set a new password.")


class TooManyTries(Refusal):
    """Too many wrong passwords."""

    status = 429
    message_id = N_("Too many wrong passwords.")
    remedy_id = N_("Wait %(minutes)s minutes, or ask an administrator.")


class NoSuchStudy(Refusal):
    """The study does not exist, or belongs to an organisation that the person does not see; we do not say which."""

    status = 404
    message_id = N_("There is no such study among those that you may see.")
    remedy_id = N_("Look for it in the worklist.")


class NoSuchPage(Refusal):
    """An address that leads nowhere."""

    status = 404
    message_id = N_("There is no page at this address.")
    remedy_id = N_("Go back to the worklist.")


class NotUnderstood(Refusal):
    """A field of a form or an address holds what it cannot."""

    status = 422
    message_id = N_("This was not understood: %(fields)s.")
    remedy_id = N_("Go back and correct these fields.")
