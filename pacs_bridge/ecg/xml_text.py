"""XML of ECG machines as safe text: the encodings that Chinese machines write, and no entity that reaches out.

Expat knows neither GB2312 nor GBK, which is what machines sold in China declare, and some declare nothing at all and
write GBK. Everything behind this module sees UTF-8.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]

_DECLARATION = re.compile(r"^\s*<\?xml[^>]*?\?>")
_ENCODING = re.compile(rb"^[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]+)[\"']")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
#: GB18030 contains both.
_SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "gb_2312-80": "gb18030", "cp936": "gb18030"}


class UnsafeXml(Exception):
    """The document declares entities or reaches for other files."""


def xml_text(raw: bytes) -> str:
    """Return a document's text without its declaration."""
    return _DECLARATION.sub("", _decoded(raw), count=1)


def xml_root(text: str) -> Element:
    """Return the root of a document, names without their name spaces.

    Raises
    ------
    UnsafeXml
        If it declares entities.
    ParseError
        If it is not well-formed.
    """
    try:
        root: Element = fromstring(text)
    except DefusedXmlException as error:
        raise UnsafeXml(str(error)) from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def in_chinese(text: str) -> str:
    """Return text that was read as Latin-1 for want of an encoding as the GBK that it is, where it is."""
    # Half of GBK's bytes at least are above ASCII; a European name has one such letter.
    if any(letter > "\xff" for letter in text) or 2 * sum(letter > "\x7f" for letter in text) < max(len(text), 2):
        return text
    try:
        chinese = text.encode("latin-1").decode("gb18030")
    except UnicodeError:
        return text
    return chinese if any("\u3400" <= letter <= "\u9fff" for letter in chinese) else text


def _decoded(raw: bytes) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return raw.decode(encoding)
    if raw[:4] in (b"<\x00?\x00", b"<\x00r\x00"):
        return raw.decode("utf-16-le")
    declared = match[1].decode().lower() if (match := _ENCODING.match(raw)) else "utf-8"
    for encoding in (_SUPERSETS.get(declared, declared), "utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("latin-1")


__all__ = ["ParseError", "UnsafeXml", "in_chinese", "xml_root", "xml_text"]
