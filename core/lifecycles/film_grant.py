"""A film grant: one link to one study that a patient may open after a second check."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class FilmGrantState(StrEnum):
    """Whether the link still opens."""

    ACTIVE = "active"
    #: Too many wrong second checks; a person in the county has to look.
    LOCKED = "locked"
    EXPIRED = "expired"
    REVOKED = "revoked"


class FilmGrantEvent(StrEnum):
    """What happens to a link."""

    LOCK = "lock"
    UNLOCK = "unlock"
    EXPIRE = "expire"
    EXTEND = "extend"
    REVOKE = "revoke"


FILM_GRANT = LifeCycle[FilmGrantState, FilmGrantEvent](
    name="film grant",
    start=FilmGrantState.ACTIVE,
    table={
        (FilmGrantState.ACTIVE, FilmGrantEvent.LOCK): FilmGrantState.LOCKED,
        (FilmGrantState.ACTIVE, FilmGrantEvent.EXPIRE): FilmGrantState.EXPIRED,
        (FilmGrantState.ACTIVE, FilmGrantEvent.EXTEND): FilmGrantState.ACTIVE,
        (FilmGrantState.ACTIVE, FilmGrantEvent.REVOKE): FilmGrantState.REVOKED,
        (FilmGrantState.LOCKED, FilmGrantEvent.UNLOCK): FilmGrantState.ACTIVE,
        (FilmGrantState.LOCKED, FilmGrantEvent.REVOKE): FilmGrantState.REVOKED,
        (FilmGrantState.LOCKED, FilmGrantEvent.EXPIRE): FilmGrantState.EXPIRED,
        (FilmGrantState.EXPIRED, FilmGrantEvent.EXTEND): FilmGrantState.ACTIVE,
        (FilmGrantState.EXPIRED, FilmGrantEvent.REVOKE): FilmGrantState.REVOKED,
    },
)
