"""Write the synthetic benchmark: `python -m biomedica_corpus.synthetic_benchmark FOLDER`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_corpus.synthetic_benchmark.write import SAMPLES, write_synthetic_benchmark
from biomedica_kedro.benchmark.task import load_tasks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 when a task's samples have problems."""
    parser = argparse.ArgumentParser(prog="python -m biomedica_corpus.synthetic_benchmark", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write; absent, empty or an earlier synthetic benchmark")
    folder: Path = parser.parse_args(arguments).folder
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    reports = write_synthetic_benchmark(load_tasks(), folder)
    sys.stdout.write(f"{len(reports)} tasks in {folder / SAMPLES}: synthetic, for trying out only\n")
    return int(any(report.problems for report in reports))


if __name__ == "__main__":
    sys.exit(main())
