"""Names of an article's media: what a graphic's href asks for, stems, and names that mark a thumbnail."""

from __future__ import annotations

import re
from urllib.parse import unquote

DECODABLE_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "tif", "tiff")
IMAGE_EXTENSIONS = (*DECODABLE_EXTENSIONS, "bmp", "webp", "svg", "eps", "pdf", "ps", "emf", "wmf")
FILM_EXTENSIONS = ("mp4", "mov", "avi", "mpg", "mpeg", "wmv", "webm", "flv", "mkv", "m4v", "ogv", "swf", "mp3", "wav")

_EXTENSIONS = frozenset((*IMAGE_EXTENSIONS, *FILM_EXTENSIONS))
_THUMBNAIL = re.compile(r"[._-](?:thumb(?:nail)?|small|tn)$", re.IGNORECASE)


def file_name_of(href: str) -> str:
    """Name of the file an href asks for: without URL, query, DOI prefix and folders; extension kept if there is one."""
    # Not `urlsplit`: it refuses hosts that no one here wants to know.
    path = re.split("[?#]", href.partition("://")[2].partition("/")[2])[0] if "://" in href else href
    return unquote(path).replace("\\", "/").rstrip("/").rpartition("/")[2]


def stem_of(file_name: str) -> str:
    """File name without the extension of an image or a film: "pone.0046493.g001" is a stem already."""
    extension = extension_of(file_name)
    return file_name[: -len(extension) - 1] if extension else file_name


def extension_of(file_name: str) -> str:
    """Extension of an image or a film, in lower case and without the dot; empty when the name has none."""
    extension = file_name.rpartition(".")[2].lower()
    return extension if extension in _EXTENSIONS and len(extension) < len(file_name) else ""


def is_thumbnail(file_name: str) -> bool:
    """Whether a name says that the file is a small copy: "fig1_small", "fig1.thumbnail.jpg"."""
    return _THUMBNAIL.search(stem_of(file_name)) is not None


def full_size_stem(file_name: str) -> str:
    """Stem without the mark of a thumbnail: "fig1_small.gif" -> "fig1"."""
    return _THUMBNAIL.sub("", stem_of(file_name))
