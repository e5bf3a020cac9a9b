"""The result of a benchmark as a table a document can include, and as JSON: benchmarks/results/<name>.{md,json}."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """When and where a benchmark ran, and how busy the machine was (load over the last five minutes)."""
    name, load = platform.processor() or platform.machine(), os.getloadavg()[1]
    return f"{date.today()}, {name}, {os.cpu_count()} cores, load {load:.0f}, Python {platform.python_version()}"


def table_of(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a table in Markdown."""
    columns = list(rows[0])
    cells = [[str(row[column]) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (columns, ["---"] * len(columns), *cells))


def write_result(name: str, title: str, described: str, rows: Sequence[Mapping[str, object]], note: str = "") -> None:
    """Write and print a table.

    Args:
        name: of the benchmark.
        title: heading of the table.
        described: the command, the machine, what was measured with.
        rows: cells by column; all rows have the columns of the first.
        note: what the table does not say.
    """
    text = "\n\n".join(part for part in (f"# {title}", described, table_of(rows), note) if part)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text + "\n")
    record = {"described": described, "rows": [dict(row) for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(text)
