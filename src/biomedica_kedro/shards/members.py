"""From the bytes of a tar to the members of its samples, whoever wrote it.

Read are: plain, PAX and GNU headers, members in any order, `./` and folders in names, keys with dots, an image under
any usual extension. A sample's members should follow each other; where they lie apart, as `tar` packs a folder, the
early ones wait for the late ones, a bounded number of them.
Source: POSIX.1-2017 pax; GNU tar manual, "Basic Tar Format"; webdataset's rule for keys (the base name's first dot).
"""

from __future__ import annotations

import tarfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

import orjson
from pydantic import Field

from biomedica_kedro.records import DataError, Options, RejectReason
from biomedica_kedro.shards.samples import Sample

IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "tif", "tiff", "bmp", "jp2"})

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"\0\0\0\x0cjP")
_GNU_NAME, _GNU_LINK, _PAX, _PAX_GLOBAL = b"L", b"K", (b"x", b"X"), b"g"
_FILE_TYPES = (0, ord("0"))
_MOST_WAITING = 1_000
_MOST_BYTES_WAITING = 256 << 20


class ShardError(Exception):
    """A shard is not a whole tar, or does not hold what its index says."""


class Readable(Protocol):
    """What a tar is read from."""

    def read(self, n_bytes: int, /) -> bytes:
        """At most so many bytes; fewer only at the end."""
        ...


class Part(StrEnum):
    """What a member is to its sample."""

    IMAGE = "image"
    CAPTION = "caption"
    RECORD = "record"


class KeySplit(StrEnum):
    """Where the key ends in `folder/a.b.jpg`: FIRST gives `folder/a`, as webdataset does, LAST `folder/a.b`."""

    FIRST = "first"
    LAST = "last"


class ShardFormat(Options):
    """How samples lie in shards.

    Attributes:
        caption: the extension of the member that is the caption, or `json:FIELD`, a field of the record (dots reach
            into nested fields; of a list of texts the first is taken).
        split: where the key ends in a member's name.
        no_caption: texts that stand for no caption; such samples are rejected where captions are needed.
    """

    caption: str = Field(default="txt", pattern=r"^([a-z0-9]+|json:[^:]+)$")
    split: KeySplit = KeySplit.FIRST
    no_caption: tuple[str, ...] = ("", "None", "No caption found")

    @property
    def caption_field(self) -> str | None:
        """Field of the record that holds the caption; None when a member does."""
        return self.caption.removeprefix("json:") if self.caption.startswith("json:") else None


DEFAULT_FORMAT = ShardFormat()


class Member(NamedTuple):
    """A file of a tar; `offset` and `end` bound its headers, content and padding."""

    name: str
    content: bytes
    offset: int
    end: int


@dataclass(slots=True)
class Group:
    """Members of one key.

    Attributes:
        key: their common name.
        names: their extensions, in order.
        parts: extension and content of the members that make the sample.
        offset: first byte of the first member.
        end: byte after the last one.
        can_restart: reading from `offset` on gives this group and all later ones.
    """

    key: str
    offset: int
    end: int
    names: list[str] = field(default_factory=list)
    parts: dict[Part, tuple[str, bytes]] = field(default_factory=dict)
    can_restart: bool = True

    def add(self, extension: str, member: Member, form: ShardFormat) -> None:
        """Take in a member."""
        self.names.append(extension)
        self.end = member.end
        part = part_of(extension, member.content, form)
        # Of several images (`jpg`, `mask.png`) the one with the plain extension counts, else the first.
        if part is not None and (part not in self.parts or ("." in self.parts[part][0] and "." not in extension)):
            self.parts[part] = (extension, member.content)

    @property
    def n_bytes(self) -> int:
        """Bytes of its contents."""
        return sum(len(content) for _, content in self.parts.values())


def read_members(file: Readable, *, start: int = 0, is_run: bool = False) -> Iterator[Member]:
    """Regular files of a tar, in order, in one pass without seeking.

    Args:
        file: opened at byte `start` of the tar.
        start: where that is; a header must begin there.
        is_run: the bytes are a run of members without the end of a tar.
    Raises:
        ShardError: when a header is damaged, or the tar is cut short.
    """
    position = begin = start
    attributes: dict[str, str] = {}
    while True:
        block = file.read(tarfile.BLOCKSIZE)
        if not block and is_run:
            return
        plain = _plain_header(block) if not attributes else None
        if plain is not None:
            name, size = plain
            content = _read_content(file, size, name)
            position += tarfile.BLOCKSIZE + _padded(size)
            yield Member(name, content, begin, position)
            begin = position
            continue
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return
        except tarfile.HeaderError as error:
            raise ShardError(_what_is_wrong(block, position, error)) from error
        is_file = header.isreg() or header.type in (_GNU_NAME, _GNU_LINK, _PAX_GLOBAL, *_PAX)
        size = int(attributes.get("size", header.size)) if header.isreg() else header.size
        content = _read_content(file, size if is_file else 0, header.name)
        position += tarfile.BLOCKSIZE + (_padded(size) if is_file else 0)
        if header.type == _GNU_NAME:
            attributes["path"] = content.rstrip(b"\0").decode("utf-8", "surrogateescape")
        elif header.type in _PAX:
            attributes |= _pax_attributes(content)
        elif header.type not in (_GNU_LINK, _PAX_GLOBAL):
            if header.isreg():
                yield Member(attributes.get("path", header.name), content, begin, position)
            attributes, begin = {}, position


def groups_of(
    members: Iterable[Member], form: ShardFormat, *, needed: Callable[[Group], bool] = lambda _: True
) -> Iterator[Group]:
    """Members by key.

    Args:
        members: of a tar, in order.
        form: how names are split.
        needed: whether a group has all that a sample needs. One that has not, when the next key comes, waits for
            members that lie apart, until the end or until too many wait.
    """
    current: Group | None = None
    waiting: OrderedDict[str, Group] = OrderedDict()
    has_waited = False
    for member in members:
        key, extension = split_name(member.name, form.split)
        if not key:
            continue
        if current is None or current.key != key or extension in current.names:
            if current is not None and needed(current):
                yield current
            elif current is not None:
                waiting[current.key], has_waited = current, True
                yield from _too_many(waiting)
            early = waiting.pop(key, None)
            if early is not None and extension in early.names:
                yield early
                early = None
            current = early or Group(key, member.offset, member.end, can_restart=not has_waited)
        current.add(extension, member, form)
    if current is not None:
        waiting[current.key] = current
    yield from waiting.values()


def split_name(name: str, split: KeySplit) -> tuple[str, str]:
    """Key and extension of a member's name; an empty key where it has none (hidden files, folders)."""
    folder, slash, base = name.removeprefix("./").rpartition("/")
    key, _, extension = base.partition(".") if split is KeySplit.FIRST else base.rpartition(".")
    return (f"{folder}{slash}{key}", extension.lower()) if key and extension else ("", "")


def part_of(extension: str, content: bytes, form: ShardFormat) -> Part | None:
    """What a member is to its sample: an image by its extension or its first bytes; None: nothing we read."""
    last = extension.rpartition(".")[2]
    if last == form.caption:
        return Part.CAPTION
    if last == "json":
        return Part.RECORD
    if last in IMAGE_EXTENSIONS or content.startswith(_MAGIC) or (content[:4] == b"RIFF" and content[8:12] == b"WEBP"):
        return Part.IMAGE
    return None


def sample_of(group: Group, form: ShardFormat, columns: Iterable[str] | None = None) -> Sample:
    """The sample that members make.

    Args:
        group: members of one key.
        form: where its caption is.
        columns: fields of the record that are wanted; None gives all, and with none the JSON is not parsed.
    Raises:
        DataError: MISSING_FILE, NO_CAPTION or INVALID_METADATA.
    """
    if Part.IMAGE not in group.parts:
        raise DataError(RejectReason.MISSING_FILE, f"no image among {_list(group.names)}")
    extension, image = group.parts[Part.IMAGE]
    wanted = None if columns is None else tuple(columns)
    record: dict[str, Any] = {}
    if Part.RECORD in group.parts and (form.caption_field is not None or wanted is None or wanted):
        record = _parsed(group.parts[Part.RECORD][1])
    caption = _caption(group, form, record)
    if wanted is not None:
        record = {name: record[name] for name in wanted if name in record}
    return Sample(group.key, image, extension, caption, record)


def has_caption(caption: str, form: ShardFormat) -> bool:
    """Whether a text is a caption, and not a word for none."""
    return caption.strip() not in form.no_caption


def _caption(group: Group, form: ShardFormat, record: dict[str, Any]) -> str:
    if form.caption_field is not None:
        value: Any = record
        for name in (form.caption_field,) if form.caption_field in record else form.caption_field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        value = value[0] if isinstance(value, list) and value else value
        if not isinstance(value, str):
            raise DataError(RejectReason.NO_CAPTION, f"the record has no text in {form.caption_field!r}")
        return value
    if Part.CAPTION not in group.parts:
        raise DataError(RejectReason.NO_CAPTION, f"no .{form.caption} among {_list(group.names)}")
    try:
        return group.parts[Part.CAPTION][1].decode()
    except UnicodeDecodeError as error:
        raise DataError(RejectReason.INVALID_METADATA, f"the caption is not UTF-8: {error}") from error


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise DataError(RejectReason.INVALID_METADATA, f"the record is not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(RejectReason.INVALID_METADATA, f"the record is a JSON {type(record).__name__}, not an object")
    return record


def _list(names: list[str]) -> str:
    return ", ".join(f".{name}" for name in names)


def _too_many(waiting: OrderedDict[str, Group]) -> Iterator[Group]:
    while len(waiting) > _MOST_WAITING or sum(group.n_bytes for group in waiting.values()) > _MOST_BYTES_WAITING:
        yield waiting.popitem(last=False)[1]


def _plain_header(block: bytes) -> tuple[str, int] | None:
    """Name and size of a file with nothing special about it, at a tenth of the cost; None: ask the library."""
    if len(block) != tarfile.BLOCKSIZE or block[156] not in _FILE_TYPES or block[345] or block[135] not in b"\0 ":
        return None
    try:
        size, checksum = int(block[124:135], 8), int(block[148:156].strip(b"\0 "), 8)
    except ValueError:
        return None
    if sum(block) - sum(block[148:156]) + 8 * ord(" ") != checksum or size < 0:
        return None
    name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    return None if name.endswith("/") else (name, size)


def _read_content(file: Readable, size: int, name: str) -> bytes:
    content = file.read(size) if size else b""
    if len(content) < size:
        raise ShardError(f"member {name} is cut short: {len(content)} of {size} bytes")
    if size % tarfile.BLOCKSIZE:
        file.read(-size % tarfile.BLOCKSIZE)  # a copy of the content, were it read along
    return content


def _padded(size: int) -> int:
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _pax_attributes(content: bytes) -> dict[str, str]:
    """`path` and `size` of a PAX header's records, each `LENGTH NAME=VALUE` and a line feed."""
    attributes: dict[str, str] = {}
    position = 0
    while position < len(content):
        digits, blank, _ = content[position:].partition(b" ")
        if not blank or not digits.isdigit() or int(digits) <= len(digits) + 1:
            raise ShardError(f"a PAX header holds {content[position : position + 20]!r} where a length should be")
        line = content[position + len(digits) + 1 : position + int(digits)]
        name, _, value = line.rstrip(b"\n").partition(b"=")
        if name in (b"path", b"size"):
            attributes[name.decode()] = value.decode("utf-8", "surrogateescape")
        position += int(digits)
    if not attributes.get("size", "0").isdigit():
        raise ShardError(f"a PAX header gives a size of {attributes['size']!r}")
    return attributes


def _what_is_wrong(block: bytes, position: int, error: Exception) -> str:
    if not block:
        return f"ends at byte {position} without the end of a tar: it was cut short"
    if len(block) < tarfile.BLOCKSIZE:
        return f"ends within a header at byte {position}: it was cut short"
    return f"no tar header at byte {position}: {error}"
