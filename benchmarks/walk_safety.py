"""Claim: the compiled walk over an article's tree touches only memory of its own, and says what the Python one says.

    python benchmarks/walk_safety.py [--articles FOLDER] [--mutated 20000] [--trees 20000] [--workers 2]

Builds jats/_tree_compiled.pyx once more, with gcc's address and undefined-behavior sanitizers, and runs it in processes
of its own in which they watch every allocation (libasan is loaded first, Python allocates by malloc). Through it go
articles damaged in the ways of mutations.py, repaired by libxml2 as it likes, and random trees of the names that the
walk knows. The first wrong access ends the process, the first difference from `_tree_python` is an error; both are
printed with the seed that repeats them. Needs gcc.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from extraction import GIVEN, articles_in, embedded_articles
from lxml import etree
from mutations import mutations

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "biomedica_kedro" / "jats"
FLAGS = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
NAMESPACES = 'xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML"'


def build(folder: Path) -> Path:
    """The walk, compiled with sanitizers; the file that holds it."""
    import lxml
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    extension = Extension(
        "_tree_compiled", [str(PACKAGE / "_tree_compiled.pyx")], include_dirs=lxml.get_include(),
        extra_compile_args=FLAGS, extra_link_args=FLAGS[2:3],
    )  # fmt: skip
    modules = cythonize([extension], build_dir=str(folder), quiet=True, force=True)
    command = Distribution({"ext_modules": modules}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder), str(folder)
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath("_tree_compiled"))


def sanitized(library: Path) -> ModuleType:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location("biomedica_kedro.jats._tree_compiled", library)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def facts(implementation: ModuleType, root: etree._Element) -> list[object]:
    """What an implementation says of an article, by every function it has."""
    walk = implementation.Walk(root)
    told = list(root.iter("caption", "title", "article-title", "abstract", "label", "xref", "sup", "name"))[:400]
    return [
        walk.outer, walk.sub_articles, walk.text_paragraphs, walk.floats,
        [walk.scope(number) for number in range(len(walk.outer))],
        [walk.paragraph_text(number) for number, *_ in walk.text_paragraphs],
        walk.xrefs({"F1", ""}, {"fig"}), walk.cited_works,
        [(implementation.text_of(e), implementation.plain_text(e), implementation.texts_by_tag(e)) for e in told],
        [implementation.children_by_tag(e) for e in told],
    ]  # fmt: skip


def damaged_articles(paths: list[Path], seed: int, count: int) -> Iterator[tuple[int, etree._Element]]:
    """Trees of damaged articles, each with the seed that makes it again."""
    from biomedica_kedro.xml_parser import make_parser

    kinds = list(mutations().values())
    for number in range(seed, seed + count):
        rng = random.Random(number)
        xml = rng.choice(kinds)(rng.choice(paths).read_bytes(), rng)
        try:
            root = etree.fromstring(xml, make_parser(recover=True))
        except etree.XMLSyntaxError:
            continue
        if root is not None:
            etree.strip_elements(root, etree.Entity, with_tail=False)  # the parser puts characters in their place
            yield number, root


def random_trees(seed: int, count: int) -> Iterator[tuple[int, etree._Element]]:
    """Trees of the names that the walk knows, with texts that try its rules."""
    from biomedica_kedro.jats import tags
    from biomedica_kedro.xml_parser import make_parser

    known = (
        tags.SCOPES | tags.BLOCKS | tags.APART_FROM_PARAGRAPH | tags.FLOATS | tags.CITATIONS_IN_PARTS | tags.MATH_BOXES
    )
    names = sorted(name.replace(tags.MATHML, "mml:") for name in known | tags.IDENTIFIERS | tags.SCRIPTS.keys())
    names += ["ref", "italic", "mml:mn", tags.WRITTEN_CITATION, tags.TEX, "name"]
    pieces = [
        "",
        " ",
        "5",
        "10",
        "−3",
        "-",
        "+2",
        "Δ",
        "a",
        " b\n",
        "\u00a0",
        "\u2009x",
        "\u3000",
        "10.1000/x",
        "x" * 40,
    ]
    attributes = ["", 'id="F1"', 'rid="F1 F2"', 'rid="F1" ref-type="fig"', 'pub-id-type="pmid"', 'xlink:href="10.1/x"']

    def node(rng: random.Random, depth: int) -> str:
        text = "".join(rng.choices(pieces, k=rng.randrange(4)))
        if not depth or rng.random() < 0.3:
            return f"<![CDATA[{text}]]>" if rng.random() < 0.1 else text
        inner = "".join(node(rng, depth - 1) for _ in range(rng.randrange(5)))
        name = rng.choice(names)
        return f"{text}<{name} {rng.choice(attributes)}>{inner}</{name}>"

    for number in range(seed, seed + count):
        rng = random.Random(number)
        body = "".join(node(rng, rng.randrange(1, 8)) for _ in range(8))
        yield number, etree.fromstring(f"<article {NAMESPACES}>{body}</article>".encode(), make_parser())


def watch(library: Path, paths: list[Path], kind: str, seed: int, count: int) -> None:
    """Compare the two walks, in a process that the sanitizers watch."""
    from biomedica_kedro.jats import _tree_python

    compiled = sanitized(library)
    trees = random_trees(seed, count) if kind == "trees" else damaged_articles(paths, seed, count)
    compared = 0
    for number, root in trees:
        (library.parent / f"seed-{kind}-{seed}").write_text(str(number))
        if facts(compiled, root) != facts(_tree_python, root):
            raise SystemExit(f"{kind}: compiled and Python differ on seed {number}")
        compared += 1
    print(compared)


def watched(library: Path, folder: Path, kind: str, count: int, workers: int) -> int:
    """How many trees of a kind were compared by processes that the sanitizers watched."""
    asan = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True).stdout
    environment = {
        **os.environ, "LD_PRELOAD": asan.strip(), "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": "print_stacktrace=1",
    }  # fmt: skip
    share = -(-count // workers)
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--articles", folder, "--watch", library, kind, str(seed), str(share)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )
        for seed in range(0, count, share)
    ]  # fmt: skip
    compared = 0
    for process in started:
        said = process.communicate()[0]
        if process.returncode:
            seeds = {path.name: path.read_text() for path in library.parent.glob("seed-*")}
            raise SystemExit(f"the walk is not clean, see above; last seeds: {seeds}")
        compared += int(said.split()[-1])
    return compared


def main() -> None:
    """Build, run, and write results/walk_safety.{json,md}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path, help="a folder of them")
    parser.add_argument("--mutated", type=int, default=20_000)
    parser.add_argument("--trees", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--watch", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        library, kind, seed, count = options.watch
        watch(Path(library), list(articles_in([options.articles])), kind, int(seed), int(count))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        library = build(folder)
        if not options.articles:
            embedded_articles(folder / "embedded")
        articles = options.articles or folder / "embedded"
        compared = {
            kind: watched(library, articles, kind, count, options.workers)
            for kind, count in (("trees", options.trees), ("articles", options.mutated))
        }
    report(compared, GIVEN if options.articles else "Embedded corpus")


def report(compared: dict[str, int], source: str) -> None:
    """Write what was compared; everything was clean, or no report is written."""
    from report import machine, write_result

    write_result(
        "walk_safety",
        "The compiled walk under gcc's address and undefined-behavior sanitizers",
        f"`python benchmarks/walk_safety.py{' --articles FOLDER' if source == GIVEN else ''}`; {machine()}. {source}.",
        [
            {"input": name, "compared with the Python walk": compared[kind], "findings": 0, "differences": 0}
            for kind, name in (("articles", "damaged articles"), ("trees", "random trees"))
        ],
    )


if __name__ == "__main__":
    main()
