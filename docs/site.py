"""What the site shows beside docs/: the README and its like, measurements, and a page for each part of the library.

Pages link to files as on a forge, relative to where they lie in the repository. Here every such link is pointed to
where the file lies in the site; a file that is no page of the site is copied to it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parents[1]
RESULTS = sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "benchmarks" / "results").glob("*.md"))
SAME = ("CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", *RESULTS)
PAGES = {"README.md": "index.md"} | {path: path for path in SAME}
"""Pages outside docs/, by their place in the repository: where they are in the site."""

PARTS = (
    "jats", "pmc", "images", "quality", "labels", "taxonomy", "shards", "clip", "benchmark", "archive", "records",
    "stages",
)  # fmt: skip
"""Packages and modules of biomedica_kedro that the API reference tells of."""

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)]*)?\))")


class Examples(griffe.Extension):
    """Docstrings say `Example:` for one; the parser knows the plural alone."""

    def on_instance(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section."""
        if obj.docstring is not None:
            obj.docstring.value = _EXAMPLE.sub("Examples:", obj.docstring.value)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put all pages of a folder where the navigation says `folder/*`."""
    config.nav = [_expanded(entry) for entry in config.nav or []]
    return config


def _expanded(entry: object) -> object:
    if isinstance(entry, dict):
        return {title: _expanded(below) for title, below in entry.items()}
    if isinstance(entry, list):
        return [_expanded(each) for each in entry]
    folder = str(entry).removesuffix("/*")
    if folder == entry:
        return entry
    return [f"api/{part}.md" for part in PARTS] if folder == "api" else _pages_below(folder)


def _pages_below(folder: str) -> list[str]:
    """Pages of the site in a folder of the repository, or of docs."""
    outside = [page for page in PAGES.values() if page.startswith(f"{folder}/")]
    inside = (PROJECT / "docs").glob(f"{folder.removeprefix('docs/')}/*.md")
    return outside or sorted(path.relative_to(PROJECT / "docs").as_posix() for path in inside)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in docs/."""
    for path, place in PAGES.items():
        files.append(File.generated(config, place, content=(PROJECT / path).read_text()))
    for part in PARTS:
        files.append(File.generated(config, f"api/{part}.md", content=f"# {part}\n\n::: biomedica_kedro.{part}\n"))
    for path in _linked_files(files):
        files.append(File.generated(config, path, abs_src_path=str(PROJECT / path)))
    return files


def _linked_files(files: Files) -> set[str]:
    """Files of the repository that a page links to and that are not in the site."""
    found = set()
    for file in files.documentation_pages():
        for _, target, _ in _LINK.findall(file.content_string):
            path = _in_repository(file.src_uri, target)
            if (PROJECT / path).is_file() and files.get_file_from_path(_in_site(path)) is None:
                found.add(path)
    return found


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to where their targets are in the site."""
    here = page.file.src_uri

    def pointed(match: re.Match[str]) -> str:
        target = _in_site(_in_repository(here, match[2]))
        return f"{match[1]}{posixpath.relpath(target, posixpath.dirname(here) or '.')}{match[3]}"

    return _LINK.sub(pointed, markdown)


def _in_repository(page: str, target: str) -> str:
    """Where a link of a page of the site leads in the repository."""
    lies = {place: path for path, place in PAGES.items()}.get(page, f"docs/{page}")
    return posixpath.normpath(posixpath.join(posixpath.dirname(lies), target))


def _in_site(path: str) -> str:
    """Where a file of the repository is in the site; of a folder its first page, of the list of pages the home page."""
    if path == "docs/README.md":
        return PAGES["README.md"]
    if (PROJECT / path).is_dir():
        return next(iter(_pages_below(path)), path)
    return PAGES.get(path, path.removeprefix("docs/"))
