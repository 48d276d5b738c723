"""What an examination found out about an instance that may go on, in a form that crosses a process boundary as plain data."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pacs_bridge.examination.poisoned import tag_name

#: Top-level elements whose bytes are kept: the four identifiers, what :mod:`pacs_bridge.headers` reads, and (0008,0005).
KEPT_TAGS = frozenset(
    {
        0x00080005, 0x00080016, 0x00080018, 0x00080020, 0x00080030, 0x00080050, 0x00080060, 0x00080201, 0x00081030, 0x0008103E,
        0x00100010, 0x00100020, 0x00100030, 0x00100040, 0x00101010, 0x00180015, 0x00181030, 0x0020000D, 0x0020000E, 0x00200013,
        0x00280008, 0x0032000C, 0x00401003,
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TextElement:
    """A text that is not plain ASCII, as its device wrote it."""

    #: Sequences around it, from the outermost, with the numbers of their items from 1.
    path: tuple[tuple[int, int], ...]
    tag: int
    vr: str
    value: bytes
    #: The (0008,0005) that holds where it stands, split at its backslashes.
    character_sets: tuple[str, ...]

    def __str__(self) -> str:
        steps = [f"{tag_name(tag)}[{item}]" for tag, item in self.path]
        return "/".join((*steps, tag_name(self.tag)))


@dataclass(frozen=True, kw_only=True)
class Examined:
    """An instance that parsers may see."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    #: (0008,0005) of the data set, split at its backslashes.
    character_sets: tuple[str, ...]
    frames: int
    rows: int | None
    columns: int | None
    #: Values of ``KEPT_TAGS`` that are there, as bytes.
    values: dict[int, bytes]
    #: Texts that are not plain ASCII, in their order, up to ``Limits.kept_text_bytes``.
    texts: tuple[TextElement, ...]
    #: How many texts more there were.
    texts_left_out: int
    #: Where the data set begins in the file, and its bytes there.
    dataset_offset: int
    dataset_size: int
    elements: int
    #: Deepest sequence; 0 where there is none.
    depth: int
    #: Tolerated habits of the device, for its statistics.
    notes: tuple[str, ...]

    def to_plain(self) -> dict[str, Any]:
        """Return what JSON can hold; bytes as Latin-1 text."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain["values"] = {str(tag): value.decode("latin-1") for tag, value in self.values.items()}
        plain["texts"] = [
            (text.path, text.tag, text.vr, text.value.decode("latin-1"), text.character_sets) for text in self.texts
        ]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Examined:
        """Read what :meth:`to_plain` wrote."""
        values = {int(tag): value.encode("latin-1") for tag, value in plain["values"].items()}
        texts = tuple(
            TextElement(
                path=tuple((step[0], step[1]) for step in path),
                tag=tag,
                vr=vr,
                value=value.encode("latin-1"),
                character_sets=tuple(sets),
            )
            for path, tag, vr, value, sets in plain["texts"]
        )
        lists = {name: tuple(plain[name]) for name in ("character_sets", "notes")}
        return cls(**{**plain, **lists, "values": values, "texts": texts})
