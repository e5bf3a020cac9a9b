"""The documentation as a site: built strictly, every link leads somewhere, nothing is fetched from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from biomedica_kedro.jats import parse_article
from biomedica_kedro.shards.stream import stream

PROJECT = Path(__file__).resolve().parents[1]


class Links(HTMLParser):
    """What a page points to, what it loads, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attrs if value}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        found = {named[name] for name in ("href", "src") if name in named}
        self.targets |= found
        if tag in ("script", "img", "iframe") or "stylesheet" in named.get("rel", ""):
            self.loaded |= found


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder],
        cwd=PROJECT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return folder


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Links]:
    return {path: Links(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}


def test_every_page_of_the_documentation_is_there(site):
    sources = [path.relative_to(PROJECT / "docs") for path in (PROJECT / "docs").rglob("*.md")]
    wanted = {path.with_suffix(".html") for path in sources} - {Path("README.html")}
    wanted |= {Path(name) for name in ("index.html", "CONTRIBUTING.html", "CHANGELOG.html", "data/index.html")}
    assert {str(path) for path in wanted if not (site / path).is_file()} == set()


def test_every_link_leads_to_a_page_and_a_place_in_it(pages):
    broken = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            path = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = {"", *pages[path].anchors} if path in pages else {parts.fragment}
            broken += [] if path.is_file() and unquote(parts.fragment) in anchors else [f"{page.name} -> {target}"]
    assert len(pages) > 40
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages):
    loaded = {target for links in pages.values() for target in links.loaded if urlsplit(target).netloc}
    assert loaded == set()


@pytest.mark.parametrize("function", [parse_article, stream], ids=lambda function: function.__name__)
def test_reference_tells_of_public_functions(site, function):
    name = f"{function.__module__}.{function.__qualname__}"
    page = site / "api" / f"{function.__module__.split('.')[1]}.html"
    assert f'id="{name}"' in page.read_text()
