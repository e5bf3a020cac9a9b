"""The archive: every image-caption pair found by words, by an image, by what is known of it, in one index.

    from biomedica_kedro.archive import search
    search("chest x-ray pneumonia", where="license_group = 'commercial'")

Text and vectors lie in one LanceDB table, on a disk or in an object store. This package fills it, asks it, says how an
image came to be in it, and shows it in a page; how the work is cut into batches is not its business.
"""

from biomedica_kedro.archive.search import Archive, ArchiveError, search

__all__ = ["Archive", "ArchiveError", "search"]
