"""One pre-read: what one engine has to say about one revision of one study."""

from enum import StrEnum

from core.lifecycles.life_cycle import LifeCycle


class PreReadState(StrEnum):
    """How far an engine has come with a study."""

    QUEUED = "queued"
    READING = "reading"
    READ = "read"
    #: No model was made for this kind of image, and Sumu says so.
    NO_MODEL = "no_model"
    #: The engine looked and declined: unusable quality, or outside what the model was made for.
    DECLINED = "declined"
    FAILED = "failed"
    #: A later revision of the study took its place before it was read.
    SUPERSEDED = "superseded"


class PreReadEvent(StrEnum):
    """What happens to a pre-read."""

    START = "start"
    FINISH = "finish"
    FIND_NO_MODEL = "find_no_model"
    DECLINE = "decline"
    FAIL = "fail"
    SUPERSEDE = "supersede"
    RETRY = "retry"


PRE_READ = LifeCycle[PreReadState, PreReadEvent](
    name="pre-read",
    start=PreReadState.QUEUED,
    table={
        (PreReadState.QUEUED, PreReadEvent.START): PreReadState.READING,
        (PreReadState.QUEUED, PreReadEvent.SUPERSEDE): PreReadState.SUPERSEDED,
        # A worker died: the workflow starts the same pre-read once more.
        (PreReadState.READING, PreReadEvent.START): PreReadState.READING,
        (PreReadState.READING, PreReadEvent.FINISH): PreReadState.READ,
        (PreReadState.READING, PreReadEvent.FIND_NO_MODEL): PreReadState.NO_MODEL,
        (PreReadState.READING, PreReadEvent.DECLINE): PreReadState.DECLINED,
        (PreReadState.READING, PreReadEvent.FAIL): PreReadState.FAILED,
        (PreReadState.READING, PreReadEvent.SUPERSEDE): PreReadState.SUPERSEDED,
        (PreReadState.FAILED, PreReadEvent.RETRY): PreReadState.QUEUED,
    },
)

#: States in which nothing more will happen by itself.
END_STATES = frozenset(
    {
        PreReadState.READ,
        PreReadState.NO_MODEL,
        PreReadState.DECLINED,
        PreReadState.FAILED,
        PreReadState.SUPERSEDED,
    }
)
