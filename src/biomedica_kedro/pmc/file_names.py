"""Names of an article's media: what a graphic's href asks for, stems, and names that mark a thumbnail."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

DECODABLE_EXTENSIONS = ("jpg", "jpeg", "png", "gif", "tif", "tiff", "webp", "jp2", "jpx", "j2k", "avif", "mpo", "bmp")
IMAGE_EXTENSIONS = (*DECODABLE_EXTENSIONS, "svg", "eps", "pdf", "ps", "emf", "wmf")
FILM_EXTENSIONS = ("mp4", "mov", "avi", "mpg", "mpeg", "wmv", "webm", "flv", "mkv", "m4v", "ogv", "swf", "mp3", "wav")

_EXTENSIONS = frozenset((*IMAGE_EXTENSIONS, *FILM_EXTENSIONS))
_SMALL_SIZES = ("thumb", "thumbs", "thumbnail", "thumbnails", "small", "tn")
_SMALL = "|".join(_SMALL_SIZES)
# After a dot only: "-medium" is as often one of cells.
_THUMBNAIL = (".sml", ".medium", *(f"{mark}{size}" for size in _SMALL_SIZES for mark in "._-"))
_SMALL_WORDS = ("thumb", "small", "tn", "sml", "medium")  # without which no name ends so
_SIZE = re.compile(rf"(?:[._-](?:{_SMALL}|lrg|large|hi-?res)|\.(?:sml|medium))$")
_THUMBNAIL_FOLDER = re.compile(rf"(?:.*[._-])?(?:{_SMALL}|previews?)", re.IGNORECASE)
_SEPARATOR = re.compile(r"[._-]")
_MAX_NAME = 255


def file_name_of(href: str) -> str:
    """Name of the file an href asks for: without URL, query, DOI prefix and folders; extension kept if there is one."""
    # Not `urlsplit`: it refuses hosts that no one here wants to know.
    path = re.split("[?#]", href.partition("://")[2].partition("/")[2])[0] if "://" in href else href
    return unquote(path).replace("\\", "/").rstrip("/").rpartition("/")[2]


def stem_of(file_name: str) -> str:
    """File name without extensions of images or films: "fig1.tif.jpg" -> "fig1"; "pone.0046493.g001" is a stem."""
    while extension := extension_of(file_name):
        file_name = file_name[: -len(extension) - 1]
    return file_name


def extension_of(file_name: str) -> str:
    """Extension of an image or a film, in lower case and without the dot; empty when the name has none."""
    extension = file_name.rpartition(".")[2].lower()
    return extension if extension in _EXTENSIONS and len(extension) < len(file_name) else ""


def is_thumbnail(file_name: str) -> bool:
    """Whether a name says that the file is a small copy: "fig1_small", "fig1.thumbnail.jpg"."""
    lowered = file_name.lower()
    return any(map(lowered.__contains__, _SMALL_WORDS)) and stem_of(lowered).endswith(_THUMBNAIL)


def is_thumbnail_folder(folder: str) -> bool:
    """Whether a folder's name says that it holds small copies: "thumb", "fig_small"."""
    return _THUMBNAIL_FOLDER.fullmatch(folder) is not None


def folded(name: str) -> str:
    """A name as it is compared: in lower case, accents composed."""
    return unicodedata.normalize("NFC", name).lower()


def full_size_stem(file_name: str) -> str:
    """Stem, folded, without the mark of a size: "fig1_small.gif", "Fig1_lrg.jpg" -> "fig1"."""
    return _SIZE.sub("", folded(stem_of(file_name)))


def endings(stem: str) -> Iterator[str]:
    """What follows each separator of a stem: "a-b.c" -> "b.c", "c"."""
    return (stem[place.end() :] for place in _SEPARATOR.finditer(stem[:_MAX_NAME]) if place.end() < len(stem))
