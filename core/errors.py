"""Errors that tell a person what to do next."""


class SumuError(Exception):
    """Base of every error that Sumu raises on purpose.

    Attributes
    ----------
    remedy : str
        One sentence in plain words: what the reader should do now.
    """

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.args[0]} {self.remedy}".strip()


class ForbiddenTransition(SumuError):
    """An event arrived that the life cycle does not allow in the present state."""

    def __init__(self, life_cycle: str, state: str, event: str, allowed: list[str]) -> None:
        super().__init__(
            f"A {life_cycle} that is '{state}' cannot take the event '{event}'.",
            remedy=f"Possible now: {', '.join(allowed) or 'nothing, this state is an end'}.",
        )
        self.life_cycle, self.state, self.event = life_cycle, state, event


class NotAllowed(SumuError):
    """A person asked for something that their roles or their organisation do not give."""

    def __init__(self, who: str, permission: str) -> None:
        super().__init__(
            f"{who} may not '{permission}'.",
            remedy="Ask an administrator of your organisation for the role that includes it.",
        )
        self.who, self.permission = who, permission
