"""C-FIND of studies (PS3.4 C.4.1): study root and patient root."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom import Dataset

from core.audit import record
from core.database import Database
from core.settings import Settings
from pacs_bridge.services.data_sets import as_text, write_answer
from pacs_bridge.services.descriptions import SETTLED, Descriptions
from pacs_bridge.services.holdings import DescribingArchive
from pacs_bridge.services.matching import NO_KEYS, is_universal, matches
from pacs_bridge.services.projection import project
from pacs_bridge.services.question import Question, in_span, question_of
from pacs_bridge.services.refusals import Refused
from pacs_bridge.services.shown_text import show
from pacs_bridge.services.sop_classes import OUT_OF_RESOURCES, PENDING_WITHOUT_SOME_KEYS
from pacs_bridge.upper_layer.association import CANCELLED, PENDING, SUCCESS, Answer, Message

#: A device that asks without narrowing gets so many answers.
MOST_ANSWERS = 5_000


class Query:
    """Answers C-FIND. Threads may share it."""

    def __init__(self, settings: Settings, database: Database, archive: DescribingArchive) -> None:
        self._settings, self._database = settings, database
        self._descriptions = Descriptions(settings, database, archive)

    def __call__(self, message: Message) -> Iterator[Answer]:
        """Find, and answer with every match; cancelled in between if the device wants it."""
        question = question_of(message, self._database)
        settled = SETTLED if question.span is None else SETTLED | {"StudyDate", "StudyTime"}
        count = 0
        for known in self._descriptions.found(question):
            if message.cancelled():
                yield Answer(status=CANCELLED)
                return
            if not matches(question.identifier, known, settled=settled) or not in_span(question.span, known):
                continue
            if count == MOST_ANSWERS:
                raise Refused(
                    OUT_OF_RESOURCES, f"More than {MOST_ANSWERS} answers; narrow the search.", remedy="Ask by date or by name."
                )
            if not count:
                self._record(message, question)
            count += 1
            yield self._answer(message, question, known)
        yield Answer(status=SUCCESS)

    def _record(self, message: Message, question: Question) -> None:
        """Leave a trace before anything goes out."""
        keys = {
            key.keyword or str(key.tag): as_text(key.value)[:256]
            for key in question.identifier
            if key.VR != "SQ" and key.keyword not in NO_KEYS and not is_universal(key)
        }
        with self._database.writing() as session:
            record(
                session, f"device:{message.device.ae_title}", "studies_searched", f"level:{question.level.lower()}",
                {"keys": keys, "association": message.association.id},
            )  # fmt: skip

    def _answer(self, message: Message, question: Question, known: Dataset) -> Answer:
        answer = project(question.identifier, known)
        answer.QueryRetrieveLevel = question.level
        if "RetrieveAETitle" not in answer:
            answer.RetrieveAETitle = self._settings.node.ae_title
        show(answer, question.character_set)
        complete = all(key.tag in known for key in question.identifier if key.keyword not in NO_KEYS)
        return Answer(
            status=PENDING if complete else PENDING_WITHOUT_SOME_KEYS,
            data_set=write_answer(answer, message.context.transfer_syntax),
        )
