"""Runs killed at any moment: how many trials ended as if nothing had happened, by kind.

    python benchmarks/kill_campaign.py                       # 200 random and 100 aimed trials: hours
    python benchmarks/kill_campaign.py --log trials.jsonl    # what `tests/faults/kill_campaign.py --log` has written

Writes results/kill_campaign.{md,json}, and the sentence of docs/how-to/recover.md that tells them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from report import machine, write_result

PROJECT = Path(__file__).resolve().parents[1]
CAMPAIGN = PROJECT / "tests/faults/kill_campaign.py"
TRIALS = ("--random=200", "--aimed=100", "--interrupted=4", "--moved", "--spread", "--array")
PAGE = PROJECT / "docs/how-to/recover.md"
TOLD = re.compile(r"(?<=<!-- kill campaign -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
KINDS = {
    "random": "killed at a random time, once or twice",
    "aimed": "killed just before or after a change of the file system",
    "interrupted": "interrupted by SIGINT or SIGTERM",
    "moved": "in a folder with an odd name, then moved",
    "spread": "spread over two worker processes",
    "array": "ten array jobs started at once",
}


def main() -> None:
    """Make the trials, or read those of a log, and tell them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, nargs="+", help="files of trials, instead of making them")
    logs = parser.parse_args().log or [made()]
    trials = [json.loads(line) for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
    rows = list(rows_of(trials))
    described = f"`python tests/faults/kill_campaign.py`; {machine()}"
    write_result(
        "kill_campaign", "Whole runs killed, run again, and compared with one that nobody killed", described, rows
    )
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TOLD.sub(lambda _: sentence(rows), page), encoding="utf-8")


def made() -> Path:
    """Make all trials; gives their log."""
    folder = Path(tempfile.mkdtemp(prefix="biomedica-campaign-"))
    command = [sys.executable, str(CAMPAIGN), *TRIALS, f"--work={folder}", f"--log={folder / 'trials.jsonl'}"]
    subprocess.run(command, check=False)  # trials that differ are told, not hidden
    return folder / "trials.jsonl"


def rows_of(trials: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
    """A row a kind of trial: how many, with how many kills, and how many ended identical."""
    for kind, words in KINDS.items():
        found = [trial for trial in trials if trial["trial"].split(" ")[0].rstrip(",") == kind]
        if found:
            yield {
                "trials": words, "number": len(found), "kills": sum(trial["kills"] for trial in found),
                "identical": sum(not trial["different"] for trial in found),
            }  # fmt: skip


def sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the page says of them."""
    told = "; ".join(f"{row['trials']}: {row['identical']} of {row['number']} trials identical" for row in rows)
    kills = sum(row["kills"] for row in rows)
    return f"Last campaign ({kills} kills and interruptions): {told}."


if __name__ == "__main__":
    main()
