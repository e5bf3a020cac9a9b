"""Claim: a figure costs as much in a large corpus as in one of a tenth, and the driver's memory is bounded.

    python benchmarks/scale_run.py --articles 100000

Ingestion to serialization of generated articles with two worker processes (`--workers`), data on S3 over the loopback
(moto, in a process that is not counted): first of a tenth of the articles, then of all, batches of the same size.
Progress and memory are printed. The table goes to docs/how-to/scale.md, with a projection to the whole of PMC.
"""

from __future__ import annotations

import argparse
import logging
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from corpus_run import object_store, run_stages, used, write_articles
from report import machine, table_of, write_result

from biomedica_kedro.stages.run import BatchOptions

PAGE = Path(__file__).resolve().parents[1] / "docs/how-to/scale.md"
TOLD = re.compile(r"(?<=<!-- scale run -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
_FEW = 8
_FIGURES_OF_PMC = 24_000_000


def measured(articles: Path, root: str, n_articles: int, batches: BatchOptions) -> dict[str, float]:
    """What a run costs: CPU seconds of driver and workers and their peak memory, in GB, and the figures published."""
    before = now = used(batches.workers)
    n_figures = 0
    for name, catalog in run_stages(articles, root, batches):
        n_figures = sum(one.rows for one in catalog["image_caption_pairs"].load().commits().values())
        now = used(batches.workers)
        one = now.since(before)
        told = f"{name} of {n_articles:,} articles ended, {n_figures:,} pairs: driver {one.driver:.0f} CPU s"
        memory = f"{now.driver_peak / 1e9:.2f} and {now.worker_peak / 1e9:.2f} GB at most"
        print(f"{told}, workers {one.workers:.0f} CPU s since the start, {memory}", flush=True)
    one = now.since(before)
    return {
        "articles": n_articles, "batches": batches.count, "figures": n_figures, "driver": one.driver,
        "workers": one.workers, "driver_peak": now.driver_peak / 1e9, "worker_peak": now.worker_peak / 1e9,
    }  # fmt: skip


def rows_of(runs: Sequence[dict[str, float]]) -> list[dict[str, object]]:
    """A row a run, and the projection of the largest to the whole of PMC."""
    rows: list[dict[str, object]] = [
        {
            "figures": f"{run['figures']:,}", "articles": f"{run['articles']:,}", "batches": f"{run['batches']:,}",
            "driver, CPU ms a figure": f"{run['driver'] / run['figures'] * 1000:.2f}",
            "workers, CPU ms a figure": f"{run['workers'] / run['figures'] * 1000:.2f}",
            "driver, peak GB": f"{run['driver_peak']:.2f}", "worker, peak GB": f"{run['worker_peak']:.2f}",
            "all, CPU h": f"{(run['driver'] + run['workers']) / 3600:.3f}",
        }
        for run in runs
    ]  # fmt: skip
    largest = runs[-1]
    hours = (largest["driver"] + largest["workers"]) / largest["figures"] * _FIGURES_OF_PMC / 3600
    projected = {"figures": f"{_FIGURES_OF_PMC:,} (projected, not run)", "all, CPU h": f"{hours:,.0f}"}
    return [*rows, {**dict.fromkeys(rows[0], ""), **projected}]


def main() -> None:
    """Run both sizes, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--articles", type=int, default=100_000)
    parser.add_argument("--articles-per-batch", type=int, default=250)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    logging.getLogger("biomedica_kedro").setLevel(logging.INFO)
    sizes = f"--articles {given.articles} --articles-per-batch {given.articles_per_batch} --workers {given.workers}"
    runs = []
    with tempfile.TemporaryDirectory() as folder, object_store() as bucket:
        for n_articles in (_FEW, given.articles // 10, given.articles):
            articles = Path(folder, str(n_articles))
            write_articles(articles, n_articles)
            n_batches = max(1, n_articles // given.articles_per_batch)
            batches = BatchOptions(count=n_batches, workers=given.workers)
            runs.append(measured(articles, f"{bucket}/{n_articles}", n_articles, batches))
            if len(runs) > 1:  # the first loads what is loaded once
                write(sizes, rows_of(runs[1:]))


def write(sizes: str, rows: Sequence[dict[str, object]]) -> None:
    """Write the table, again after each size: the largest takes an hour."""
    described = f"`python benchmarks/scale_run.py {sizes}`; {machine()}"
    write_result("scale_run", "Ingestion to serialization as the corpus grows", described, rows)
    if PAGE.is_file():
        told = f"{described}\n\n{table_of(rows)}"
        PAGE.write_text(TOLD.sub(lambda _: told, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
