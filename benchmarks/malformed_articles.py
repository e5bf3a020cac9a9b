"""Claim: a damaged article ends the same as the undamaged one, or in a reject that says why; nothing goes silently.

    python benchmarks/malformed_articles.py [--articles FOLDER] [--rounds 1] [--seed 0]

Every kind of damage of mutations.py is done, in each round, to as many articles as make about 630 damaged files.
"The same" means the same figures, captions, labels, graphics and mentions, paragraphs, references, title and abstract,
letter by letter. Damage that leaves the file well-formed, as Python's own parser finds, is no damage to a reader.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import xml.parsers.expat
from collections import Counter
from pathlib import Path

from extraction import GIVEN, articles_in, embedded_articles
from mutations import mutations

from biomedica_kedro.jats import ParsedArticle, parse_article
from biomedica_kedro.records import DataError

N_DAMAGED = 630


def essence(parsed: ParsedArticle) -> object:
    """What must not differ, without the spaces and signs that the damage itself may bring."""
    article = parsed.article
    return [
        letters(article.title), letters(article.abstract), [letters(p.text) for p in article.paragraphs],
        [(reference.id, reference.pmid, reference.doi, letters(reference.text)) for reference in article.references],
        [
            (f.figure_id, f.kind, letters(f.label), letters(f.caption), [(g.href, g.part) for g in f.graphics],
             [(m.paragraph_index, m.via) for m in f.mentions], [m.paragraph_index for m in f.caption_mentions])
            for f in parsed.figures
        ],
    ]  # fmt: skip


def letters(text: str) -> str:
    """Letters and digits of a text."""
    return re.sub(r"[\W_]+", "", text)


def is_well_formed(content: bytes) -> bool:
    """What a parser says that is not the one under test."""
    try:
        xml.parsers.expat.ParserCreate(namespace_separator=" ").Parse(content, True)
    except (xml.parsers.expat.ExpatError, ValueError, LookupError):
        return False
    return True


def outcome(original: bytes, damaged: bytes) -> str:
    """How a damaged article ends: "same", "rejected", "well-formed" (and not the same), or "lost"."""
    try:
        found = parse_article(damaged, article_id="PMC1.1")
    except DataError:
        return "rejected"
    if essence(found) == essence(parse_article(original, article_id="PMC1.1")):
        return "same"
    return "well-formed" if is_well_formed(damaged) else "lost"


def main() -> int:
    """Damage articles and write results/malformed_articles.{json,md}; returns how many lost something."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=Path, help="a folder of them")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = articles_in([options.articles]) if options.articles else embedded_articles(Path(folder))
        return measure(paths, GIVEN if options.articles else "Embedded corpus", options.rounds, options.seed)


def measure(paths: list[Path], source: str, rounds: int, seed: int) -> int:
    """Count how the damaged articles end, by kind of damage."""
    from report import machine, write_result

    rng = random.Random(seed)
    kinds = mutations()
    counts: dict[str, Counter[str]] = {name: Counter() for name in kinds}
    for _ in range(rounds):
        for name, mutate in kinds.items():
            for _ in range(-(-N_DAMAGED // len(kinds))):
                path = rng.choice(paths)
                original = path.read_bytes()
                damaged = mutate(original, rng)
                end = outcome(original, damaged)
                counts[name][end] += 1
                if end == "lost":
                    print(f"{name}: {path.name} lost something", file=sys.stderr)
    total = sum(counts.values(), Counter())
    write_result(
        "malformed_articles",
        "Damaged articles: the same as undamaged, or rejected",
        f"`python benchmarks/malformed_articles.py{' --articles FOLDER' if source == GIVEN else ''}`; {machine()}. "
        f"{source}: {len(paths)} articles, {total.total()} damaged files, seed {seed}.",
        [
            {"damage": name, **{end: ends[end] for end in ("same", "rejected", "well-formed", "lost")}}
            for name, ends in [*counts.items(), ("all", total)]
        ],
    )
    return total["lost"]


if __name__ == "__main__":
    raise SystemExit(main())
