"""Claim: reading everything of an article costs a fraction of what pubmed_parser takes.

The goal, that it costs no more than the parse of the XML itself (a ratio to the floor of 0.50), is not reached; the
results say how far from it the extraction is.

    python benchmarks/extraction.py [--articles FOLDER] [--rounds 7] [--without-peers]

Without `--articles` those of the embedded corpus are read; they are short, so give real ones for a number to quote.

For every article, in turn: `lxml.etree.fromstring` alone (the floor) and `parse_article` (front matter, paragraphs,
references, figures, captions, mentions). The best of the rounds counts for each article and arm, in CPU seconds, so
that a busy machine changes the ratio little. pubmed_parser reads less (no mentions, no groups, first graphics only) and
has an interpreter of its own, made by this script, where it is measured beside the same floor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PEER = "pubmed_parser==0.5.1"
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


def our_arms() -> dict[str, Arm]:
    """The floor and ours."""
    from lxml import etree

    from biomedica_kedro.jats import parse_article

    return {
        "floor": lambda _, xml: etree.fromstring(xml),
        "biomedica-kedro": lambda _, xml: parse_article(xml, article_id="PMC1.1"),
    }


def peer_arms() -> dict[str, Arm]:
    """The floor and pubmed_parser, where it can be imported."""
    import pubmed_parser
    from lxml import etree

    def everything(path: Path, _: bytes) -> None:
        name = str(path)
        pubmed_parser.parse_pubmed_xml(name)
        pubmed_parser.parse_pubmed_paragraph(name, all_paragraph=True)
        pubmed_parser.parse_pubmed_caption(name)
        pubmed_parser.parse_pubmed_references(name)

    return {"floor": lambda _, xml: etree.fromstring(xml), "pubmed_parser": everything}


def measure_peer(paths: Sequence[Path], rounds: int) -> dict[str, dict[str, float]]:
    """Run this script in an environment that holds pubmed_parser; empty when there is none to be had."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        installed = subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=False)
        if installed.returncode:
            print(f"{PEER} cannot be installed: measured without it", file=sys.stderr)
            return {}
        command = [python, __file__, "--peer", "--rounds", str(rounds), "--articles", *map(str, paths)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure, print a table, write results/extraction.{json,md}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", nargs="+", type=Path, help="files, or one folder of them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.articles:
        measure(articles_in(options.articles), "given articles", options)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(embedded_articles(Path(folder)), "embedded corpus", options)


def articles_in(given: Sequence[Path]) -> Sequence[Path]:
    """The files given, or those in the folder given."""
    if not given[0].is_dir():
        return given
    return sorted(path for path in given[0].rglob("*") if path.suffix in {".xml", ".nxml"})


def embedded_articles(folder: Path) -> Sequence[Path]:
    """The whole articles of the embedded corpus."""
    from biomedica_kedro.corpus import CorpusOptions, write_corpus

    write_corpus(folder / "corpus", CorpusOptions(planted_faults=False))
    return articles_in([folder / "corpus"])


def measure(paths: Sequence[Path], source: str, options: argparse.Namespace) -> None:
    """Take the times of all arms and report them."""
    if options.peer:
        print(json.dumps(best_seconds(paths, peer_arms(), options.rounds)))
        return
    arms = best_seconds(paths, our_arms(), options.rounds)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20)
    if not options.without_peers:
        arms |= {name: row for name, row in measure_peer(paths, max(1, options.rounds // 3)).items() if name != "floor"}
    report(arms, source, len(paths), sum(path.stat().st_size for path in paths), memory)


def report(arms: dict[str, dict[str, float]], source: str, n_articles: int, n_bytes: int, memory: float) -> None:
    """Print the table and keep it."""
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "source": source,
        "articles": n_articles,
        "megabytes": round(n_bytes / 1e6, 1),
        "peak_memory_mb": round(memory),
        "arms": arms,
    }
    lines = [
        f"{source}: {n_articles} articles, {facts['megabytes']} MB, {facts['date']}, {machine}; "
        f"peak memory {facts['peak_memory_mb']} MB",
        "",
        "| arm | articles per CPU second | ratio to the floor | failed articles |",
        "|---|---|---|---|",
        *(
            f"| {name} | {row['articles_per_second']:.0f} | {row['ratio_to_floor']:.2f} | {row['failed_articles']} |"
            for name, row in arms.items()
        ),
    ]
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "extraction.json").write_text(json.dumps(facts, indent=2) + "\n")
    (RESULTS / "extraction.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
