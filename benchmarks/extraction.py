"""Claim: reading everything of an article costs little more than the parse of its XML: a ratio to the floor above 0.40.

    python benchmarks/extraction.py [--articles FOLDER] [--rounds 7] [--without-peers]

Without `--articles` those of the embedded corpus are read; they are short, so give real ones for a number to quote.

For every article, in turn: `lxml.etree.fromstring` alone (the floor) and `parse_article` (front matter, paragraphs,
references, figures, captions, mentions). The best of the rounds counts for each article and arm, in CPU seconds, so
that a busy machine changes the ratio little. Two more arms have a process of their own, in which they are measured
beside the same floor: our extraction without its compiled part, and pubmed_parser, which reads less (no mentions, no
groups, first graphics only), in an environment that this script makes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

PEER = "pubmed_parser==0.5.1"
GIVEN = "Given articles"
IN_PYTHON = "biomedica-kedro, not compiled"
Arm = Callable[[Path, bytes], object]


def best_seconds(paths: Sequence[Path], arms: dict[str, Arm], rounds: int) -> dict[str, dict[str, float]]:
    """Sum over articles of the best CPU time of each arm; arms take turns on every article."""
    contents = {path: path.read_bytes() for path in paths}
    best = {name: dict.fromkeys(paths, float("inf")) for name in arms}
    failed: dict[str, set[Path]] = {name: set() for name in arms}
    for _ in range(rounds):
        for path, content in contents.items():
            for name, arm in arms.items():
                started = time.process_time()
                try:
                    result = arm(path, content)
                    del result
                except Exception:
                    failed[name].add(path)
                best[name][path] = min(best[name][path], time.process_time() - started)
    return {
        name: {
            "articles_per_second": len(paths) / sum(seconds.values()),
            "ratio_to_floor": sum(best["floor"].values()) / sum(seconds.values()),
            "failed_articles": len(failed[name]),
        }
        for name, seconds in best.items()
    }


def arms_of(names: Sequence[str]) -> dict[str, Arm]:
    """The floor and the arms named."""
    from lxml import etree

    arms: dict[str, Arm] = {"floor": lambda _, xml: etree.fromstring(xml)}
    for name in names:
        arms[name] = pubmed_parser_arm() if name == PEER else our_arm()
    return arms


def our_arm() -> Arm:
    """Our extraction, compiled or not."""
    from biomedica_kedro.jats import parse_article

    return lambda _, xml: parse_article(xml, article_id="PMC1.1")


def pubmed_parser_arm() -> Arm:
    """All that pubmed_parser reads of an article."""
    import pubmed_parser

    def everything(path: Path, _: bytes) -> None:
        name = str(path)
        pubmed_parser.parse_pubmed_xml(name)
        pubmed_parser.parse_pubmed_paragraph(name, all_paragraph=True)
        pubmed_parser.parse_pubmed_caption(name)
        pubmed_parser.parse_pubmed_references(name)

    return everything


def measured_apart(
    name: str, paths: Sequence[Path], rounds: int, python: Path | str, **environment: str
) -> dict[str, dict[str, float]]:
    """An arm measured beside the floor by this script in a process of its own."""
    command = [python, __file__, "--arm", name, "--rounds", str(rounds), "--articles", *map(str, paths)]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ).stdout
    return {name: json.loads(done.splitlines()[-1])[name]}


def peer(paths: Sequence[Path], rounds: int) -> dict[str, dict[str, float]]:
    """pubmed_parser in an environment of its own; empty when it cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        if subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=False).returncode:
            print(f"{PEER} cannot be installed: measured without it", file=sys.stderr)
            return {}
        return measured_apart(PEER, paths, max(1, rounds // 3), python)


def articles_in(given: Sequence[Path]) -> Sequence[Path]:
    """The files given, or those in the folder given."""
    if not given[0].is_dir():
        return given
    return sorted(path for path in given[0].rglob("*") if path.suffix in {".xml", ".nxml"})


def embedded_articles(folder: Path) -> Sequence[Path]:
    """The whole articles of the embedded corpus."""
    from biomedica_corpus import CorpusOptions, write_corpus

    write_corpus(folder / "corpus", CorpusOptions(planted_faults=False))
    return articles_in([folder / "corpus"])


def measure(paths: Sequence[Path], source: str, rounds: int, with_peers: bool) -> None:
    """Take the times of all arms and write results/extraction.{json,md}."""
    from report import machine, write_result

    from biomedica_kedro.jats import tree

    if not tree.IS_COMPILED:
        raise SystemExit("the compiled part of biomedica_kedro.jats is missing: make install, with a C compiler")
    arms = best_seconds(paths, arms_of(["biomedica-kedro"]), rounds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
    arms |= measured_apart(IN_PYTHON, paths, max(1, rounds // 3), sys.executable, BIOMEDICA_NO_EXTENSIONS="1")
    if with_peers:
        arms |= peer(paths, rounds)
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    write_result(
        "extraction",
        "Extraction beside the parse of the XML alone",
        f"`python benchmarks/extraction.py{' --articles FOLDER' if source == GIVEN else ''}`; {machine()}. {source}: "
        f"{len(paths)} articles, {megabytes:.1f} MB. Peak memory {memory:.0f} MB.",
        [
            {
                "arm": name,
                "articles per CPU second": round(row["articles_per_second"]),
                "ratio to the floor": f"{row['ratio_to_floor']:.2f}",
                "failed articles": row["failed_articles"],
            }
            for name, row in arms.items()
        ],
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", nargs="+", type=Path, help="files, or one folder of them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print(json.dumps(best_seconds(options.articles, arms_of([options.arm]), options.rounds)))
    elif options.articles:
        measure(articles_in(options.articles), GIVEN, options.rounds, not options.without_peers)
    else:
        with tempfile.TemporaryDirectory() as folder:
            paths = embedded_articles(Path(folder))
            measure(paths, "Embedded corpus", options.rounds, not options.without_peers)


if __name__ == "__main__":
    main()
