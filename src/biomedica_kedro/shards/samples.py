"""One image-caption sample as it lies in a shard: `{key}.jpg`, `{key}.txt` and `{key}.json`.

The image's member is named .jpg whatever the format of its bytes (the record's `image_format` says which): readers that
go by names, HF datasets first of all, then see the same members in every sample. Decoders go by the bytes.
The three members of a sample follow each other, so one read of `n_bytes` at `offset` gives the whole of it.
Samples of other origin have freer names and members; see `members`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

_KEY = re.compile(r"[A-Za-z0-9_-]+")
_EXTENSION = re.compile(r"[a-z0-9]+")
_TAKEN_EXTENSIONS = {"txt", "json"}
IMAGE = "jpg"
_SHOWN = 60  # characters of a caption


@dataclass(frozen=True, slots=True)
class Sample:
    """An image with its caption and everything known about it.

    Attributes:
        key: name of its members up to the dot; in shards of ours only `[A-Za-z0-9_-]`.
        image: the image file's bytes.
        extension: "jpg", "png", ..., without the dot.
        caption: text of the caption.
        record: the JSON record; see `shards.fields`; empty where there is none.
    """

    key: str
    image: bytes
    extension: str
    caption: str
    record: dict[str, Any]

    def __repr__(self) -> str:
        """One line, whatever the image and the record hold."""
        text = self.caption if len(self.caption) <= _SHOWN else f"{self.caption[:_SHOWN]}…"
        return f"Sample({self.key}, {self.extension} of {len(self.image):,} bytes, {text!r}, {len(self.record)} fields)"


class Place(NamedTuple):
    """Where a sample's run of tar members lies in its shard."""

    key: str
    offset: int
    n_bytes: int


def check_names(key: str, extension: str) -> None:
    """Refuse names that a reader would split wrongly.

    Raises:
        ValueError: says which part, and what is allowed.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(
            f"sample key {key!r} may hold only A-Z, a-z, 0-9, '_' and '-' (readers split at the first dot)"
        )
    if not _EXTENSION.fullmatch(extension) or extension in _TAKEN_EXTENSIONS:
        raise ValueError(f"image extension {extension!r} of sample {key!r} must be a-z and 0-9, not 'txt' or 'json'")
