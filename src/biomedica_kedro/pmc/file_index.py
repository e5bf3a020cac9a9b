"""Which file of an article is the image that a graphic names.

Publishers name files with and without extension, in other cases, with marks of their size, with prefixes the archive
has dropped, and give several renditions of one image. The order: the very name, the name in any case, the stem, the
stem without the mark of a size, a stem that ends in the other. Of several renditions the largest that is no thumbnail
is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from biomedica_kedro.pmc.file_names import (
    DECODABLE_EXTENSIONS,
    endings,
    extension_of,
    folded,
    full_size_stem,
    is_thumbnail,
    stem_of,
)
from biomedica_kedro.records import DataError, RejectReason


class FileIndex:
    """The files of one article, ready to be looked up.

    Args:
        sizes: size in bytes by file name.
    """

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        pictures = [name for name in sizes if extension_of(name)]
        self._by_name = _grouped((folded(name), name) for name in sizes)
        self._by_stem = _grouped((folded(stem_of(name)), name) for name in pictures)
        self._by_full_size = _grouped((full_size_stem(name), name) for name in pictures)
        self._by_ending = _grouped((ending, stem) for stem in self._by_stem for ending in endings(stem))

    def find(self, names: Sequence[str]) -> str:
        """The file that shows the image of which `names` are the renditions.

        Args:
            names: file names as the graphics ask for them; thumbnails count only when there is nothing else.
        Raises:
            DataError: MISSING_FILE when no file fits, UNSUPPORTED_FORMAT when only drawings and documents do.
        """
        full_size = [name for name in names if not is_thumbnail(name)] or names
        for candidates in (full_size, names):
            found = {file for name in candidates for file in self.candidates(name)}
            images = [file for file in found if extension_of(file) in DECODABLE_EXTENSIONS]
            if images:
                return self._best(images)
        found = {file for name in names for file in self.candidates(name)}
        if found:
            raise DataError(RejectReason.UNSUPPORTED_FORMAT, f"only {', '.join(sorted(found))} for {', '.join(names)}")
        raise DataError(RejectReason.MISSING_FILE, f"no file for {', '.join(names)} among {len(self._sizes)} files")

    def candidates(self, name: str) -> Sequence[str]:
        """Renditions of the image that a graphic names, by the first of the rules that finds any."""
        if same := self.same(name):
            return same
        for stems in self._by_endings(name):
            if len(stems) == 1:
                return self._by_stem[stems[0]]
        return []

    def same(self, name: str) -> Sequence[str]:
        """Files of the very name, in any case, format and size."""
        if name in self._sizes and extension_of(name) in DECODABLE_EXTENSIONS:
            return [name]
        exact = self._by_name.get(folded(name), [])
        if any(extension_of(file) in DECODABLE_EXTENSIONS for file in exact):
            return exact
        stem = folded(stem_of(name))
        return [*self._by_stem.get(stem, []), *exact] or self._by_full_size.get(full_size_stem(name), [])

    def alike(self, name: str) -> list[str]:
        """Files whose names end in the other, or the other in them; which one is meant is clear when it is the only."""
        return [file for stems in self._by_endings(name) for stem in stems for file in self._by_stem[stem]]

    def _by_endings(self, name: str) -> Iterator[list[str]]:
        """Stems that end in the other, or it in them, after a separator: "pone.0091296.g001" and "g001"."""
        if stem := folded(stem_of(name)):
            for form in (stem, full_size_stem(name)):
                yield [*self._by_ending.get(form, ()), *(ending for ending in endings(form) if ending in self._by_stem)]

    def _best(self, files: Iterable[str]) -> str:
        """Largest file; thumbnails and the GIF beside a better format come last."""
        return max(
            files,
            key=lambda file: (not is_thumbnail(file), extension_of(file) != "gif", self._sizes[file], file),
        )


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return dict(groups)
