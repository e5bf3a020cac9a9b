"""Search the archive: `python -m biomedica_kedro.archive` in a browser, or with words in the terminal.

python -m biomedica_kedro.archive                                           a page on 127.0.0.1
python -m biomedica_kedro.archive "chest x-ray pneumonia" --limit 5         the best answers as a table
python -m biomedica_kedro.archive --image mine.png --where "license_group = 'commercial'"
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_kedro.archive.cards import STYLE, how_found
from biomedica_kedro.archive.page import build_page
from biomedica_kedro.archive.search import Archive, ArchiveError
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.images.decode import read_pixels
from biomedica_kedro.labels.page import PageError, serve_page
from biomedica_kedro.records import DataError


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the archive."""
    options = _parser().parse_args(arguments)
    try:
        archive = Archive.open(options.data_root)
        if options.words or options.image or options.where:
            _print(archive, options)
            return
        page = build_page(archive, options.data_root)
        serve_page(page, options.port, [], lambda address: _told(f"The archive is at {address}"), css=STYLE)
    except (ArchiveError, ModelError, PageError) as error:
        raise SystemExit(str(error)) from error
    except (OSError, DataError) as error:
        raise SystemExit(f"{options.image}: {error}") from error


def _print(archive: Archive, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    image = None if options.image is None else read_pixels(options.image.read_bytes())
    found = archive.search(" ".join(options.words), image=image, where=options.where, limit=options.limit)
    table = Table("key", "caption", "labels", "license", "found by")
    for row in found.to_pylist():
        labels = ", ".join(row["primary_labels"])
        table.add_row(row["key"], row["caption"], labels, row["license_code"] or "", how_found(row))
    Console().print(table if found.num_rows else "Nothing found.")


def _told(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m biomedica_kedro.archive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", help="what to look for; without words, image and condition: the page")
    parser.add_argument("--image", type=Path, help="an image to find the like of")
    parser.add_argument("--where", help="an SQL condition, e.g. \"license_group = 'commercial'\"")
    parser.add_argument("--limit", type=int, default=10, help="most rows")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="the project's data folder")
    parser.add_argument("--port", type=int, default=7861, help="port on 127.0.0.1")
    return parser


if __name__ == "__main__":
    main()
