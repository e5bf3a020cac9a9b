"""Claim: the stages cost at most 1.5 times as much CPU on an object store as in a folder.

    python benchmarks/object_store.py --articles 400 --batches 4 --rounds 3

Ingestion to serialization over drawn articles, in turn in a local folder and on S3 over the loopback (moto, in a
process that is not counted), after a run of a few articles in each place that loads what is loaded once. CPU seconds of
this process and of its `--workers`. There are none by default: Dask's processes cost a tenth of a core while they wait,
so that with them it counts how fast moto answers.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from corpus_run import PIPELINES, Used, object_store, run_stages, used, write_articles
from report import machine, write_result

from biomedica_kedro.stages.run import BatchOptions

FOLDER, STORE = "a folder", "S3"
_FEW = 8


def measured(articles: Path, root: str, batches: BatchOptions) -> dict[str, Used]:
    """What each pipeline has used."""
    found, before = {}, used(batches.workers)
    for name, _ in run_stages(articles, root, batches):
        now = used(batches.workers)
        found[name], before = now.since(before), now
    return found


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=400)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    batches = BatchOptions(count=given.batches, workers=given.workers)
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, object_store() as bucket:
        places = {FOLDER: f"{folder}/data", STORE: f"{bucket}/data"}
        few, many = Path(folder, "few"), Path(folder, "many")
        write_articles(few, _FEW)
        write_articles(many, given.articles)
        for root in places.values():
            measured(few, f"{root}-few", batches)
        for turn in range(given.rounds):
            for place, root in places.items():
                for name, one in measured(many, f"{root}-{turn}", batches).items():
                    seconds[name, place].append(one.seconds)
    for place in places:
        turns = zip(*(seconds[name, place] for name in PIPELINES), strict=True)
        seconds["all", place] = [sum(turn) for turn in turns]
    rows = []
    for name in (*PIPELINES, "all"):
        here, there = (np.median(seconds[name, place]) for place in places)
        rows.append(
            {
                "pipeline": name, f"{FOLDER}, CPU s": f"{here:.1f}", f"{STORE}, CPU s": f"{there:.1f}",
                "ratio": f"{there / here:.2f}",
            }
        )  # fmt: skip
    sizes = f"--articles {given.articles} --batches {given.batches} --rounds {given.rounds}"
    command = f"`python benchmarks/object_store.py {sizes}`"
    note = f"Medians of {given.rounds} rounds that take turns, {given.workers} workers; goal: at most 1.5 for all."
    write_result("object_store", "The stages on an object store and in a folder", f"{command}; {machine()}", rows, note)


if __name__ == "__main__":
    main()
