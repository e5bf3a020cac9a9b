"""Damage done to articles, for the scripts that break things: functions of the file and a random generator."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[bytes, random.Random], bytes]

_START = re.compile(rb"<[a-z][\w:-]*(?:\s[^<>]*)?>")
_END = re.compile(rb"</[a-z][\w:-]*>")
_EMPTY = re.compile(rb"<[a-z][\w:-]*(?:\s[^<>]*)?/>")
_ATTRIBUTE = re.compile(rb'\s[\w:-]+="[^"<>]+"(?=[\s/>])')
_TEXT = re.compile(rb">[^<>&]*[a-z]{3} [a-z]{3}[^<>&]*<")


def mutations() -> dict[str, Mutation]:
    """Every kind of damage by its name; none changes what a reader would read but for one character."""
    return {
        "closing quote lost": lambda xml, rng: _cut(xml, _ATTRIBUTE, rng, -1),
        "opening quote lost": lambda xml, rng: _replaced(xml, _ATTRIBUTE, rng, lambda tag: tag.replace(b'="', b"=", 1)),
        "equals sign lost": lambda xml, rng: _replaced(xml, _ATTRIBUTE, rng, lambda tag: tag.replace(b"=", b"", 1)),
        "< of a start tag lost": lambda xml, rng: _cut(xml, _START, rng, 0),
        "> of a start tag lost": lambda xml, rng: _cut(xml, _START, rng, -1),
        "< of an end tag lost": lambda xml, rng: _cut(xml, _END, rng, 0),
        "/ of an end tag lost": lambda xml, rng: _cut(xml, _END, rng, 1),
        "/ of an empty element lost": lambda xml, rng: _cut(xml, _EMPTY, rng, -2),
        "start tag lost": lambda xml, rng: _replaced(xml, _START, rng, lambda _: b""),
        "end tag lost": lambda xml, rng: _replaced(xml, _END, rng, lambda _: b""),
        "start tag misspelt": lambda xml, rng: _replaced(xml, _START, rng, lambda tag: b"<q" + tag[1:]),
        "end tag misspelt": lambda xml, rng: _replaced(xml, _END, rng, lambda tag: b"</q" + tag[2:]),
        "bare ampersand": lambda xml, rng: _inserted(xml, rng, b" & "),
        "bare <": lambda xml, rng: _inserted(xml, rng, b" < "),
        "control character": lambda xml, rng: _inserted(xml, rng, b"\x0b"),
        "control character in a tag": lambda xml, rng: _replaced(xml, _START, rng, lambda t: t[:2] + b"\x01" + t[2:]),
        "byte that is no UTF-8": lambda xml, rng: _inserted(xml, rng, b"\xb5"),
        "lost continuation of UTF-8": lambda xml, rng: _inserted(xml, rng, b"\xe2\x80"),
        "NUL bytes within": lambda xml, rng: _inserted(xml, rng, b"\0\0\0"),
        "NUL bytes at the end": lambda xml, _: xml + b"\0" * 512,
        "cut off": lambda xml, rng: xml[: rng.randrange(len(xml) // 10, len(xml) - 10)],
        "hole": _hole,
        "attribute twice": lambda xml, rng: _replaced(xml, _ATTRIBUTE, rng, lambda attribute: 2 * attribute),
        "undeclared prefix": lambda xml, rng: _inserted(xml, rng, b"<ali:free_to_read/>"),
        "namespace declaration lost": lambda xml, _: re.sub(rb'\sxmlns:\w+="[^"]*"', b"", xml),
        "undefined entity": lambda xml, rng: _inserted(xml, rng, b" &nbsp; "),
        "comment never closed": lambda xml, rng: _inserted(xml, rng, b"<!-- "),
        "CDATA never closed": lambda xml, rng: _inserted(xml, rng, b"<![CDATA["),
        "hyphens in a comment": lambda xml, rng: _inserted(xml, rng, b"<!-- a -- b -->"),
        "US-ASCII declared": lambda xml, _: _declaring(xml, b"US-ASCII"),
        "GB2312 declared, byte wrong": lambda xml, rng: _inserted(_declaring(xml, b"GB2312"), rng, b"\xff"),
    }  # fmt: skip


def _span(xml: bytes, pattern: re.Pattern[bytes], rng: random.Random) -> tuple[int, int]:
    """A place, behind the root's own tag, that the pattern fits; of those after a random one, the first."""
    first = xml.index(b"<article")
    first = xml.index(b">", first) + 1
    found = pattern.search(xml, rng.randrange(first, len(xml))) or pattern.search(xml, first)
    return found.span() if found else (len(xml), len(xml))


def _replaced(
    xml: bytes, pattern: re.Pattern[bytes], rng: random.Random, replacement: Callable[[bytes], bytes]
) -> bytes:
    start, end = _span(xml, pattern, rng)
    return xml[:start] + replacement(xml[start:end]) + xml[end:]


def _cut(xml: bytes, pattern: re.Pattern[bytes], rng: random.Random, at: int) -> bytes:
    """Without the byte that stands `at` in a place that the pattern fits."""
    start, end = _span(xml, pattern, rng)
    place = (end if at < 0 else start) + at
    return xml[:place] + xml[place + 1 :]


def _inserted(xml: bytes, rng: random.Random, piece: bytes) -> bytes:
    """With a piece between two words of the text."""
    start, end = _span(xml, _TEXT, rng)
    place = xml.find(b" ", start, end)
    return xml[:place] + piece + xml[place:]


def _hole(xml: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(xml) // 10, len(xml) * 9 // 10)
    return xml[:start] + xml[start + rng.randrange(1, 4096) :]


def _declaring(xml: bytes, encoding: bytes) -> bytes:
    return b'<?xml version="1.0" encoding="' + encoding + b'"?>' + re.sub(rb"^\s*<\?xml.*?\?>", b"", xml)
