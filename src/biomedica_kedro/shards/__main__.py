"""Look at shards of any origin, and make them ready to stream.

python -m biomedica_kedro.shards inspect URL                first samples as a table, and with --sheet as a picture
python -m biomedica_kedro.shards lint URL                   what is wrong, with counts; exit status 1 when something is
python -m biomedica_kedro.shards index URL --to FOLDER      one pass; then any order and SQL: stream(URL, metadata=...)
python -m biomedica_kedro.shards convert URL --to FOLDER    shards of ours with the original bytes, and their index
python -m biomedica_kedro.shards refill URL --to FOLDER     what licenses keep out of a published folder, from PMC
python -m biomedica_kedro.shards audit [DATA]               read our own shards back now; --age: when that was done last

URL is a folder, a shard, or a pattern such as data-{000000..000123}.tar; local, http(s), s3, gs, az or hf.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from biomedica_kedro.http import RETRY_POLICY
from biomedica_kedro.pmc.source import SourceError as ArticleSourceError
from biomedica_kedro.records import Reject
from biomedica_kedro.shards import tools
from biomedica_kedro.shards.members import KeySplit, ShardError
from biomedica_kedro.shards.places import Access, list_shards
from biomedica_kedro.shards.reader import Entry, Reading
from biomedica_kedro.shards.sources import Source, StreamOptions, first_entries, open_source
from biomedica_kedro.stages.folder import DamagedError, IncompleteError
from biomedica_kedro.stages.place import place


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status is 1 when shards are wrong, 2 when they cannot be read."""
    given = _parser().parse_args(arguments)
    console = Console(soft_wrap=True, highlight=False)
    source = Source(url=given.url, caption=given.caption, split=given.split)
    try:
        status: int = given.command(given, source, console)
    except (OSError, ValueError, ShardError, ArticleSourceError, IncompleteError, DamagedError) as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"{given.name}: {error}", style="red", markup=False)
        return 2
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m biomedica_kedro.shards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, dest="name")
    for name, command in (("inspect", _inspect), ("lint", _lint), ("index", _index), ("convert", _convert)):
        one = commands.add_parser(name)
        one.set_defaults(command=command)
        one.add_argument("url", nargs="+")
        one.add_argument("--caption", default="txt", help="extension of the caption's member, or json:FIELD")
        one.add_argument("--split", type=KeySplit, default=KeySplit.FIRST, help="keys end at the first or the last dot")
        if name in ("index", "convert"):
            one.add_argument("--to", required=True, help="folder to write to, local or a URL")
    filling = commands.add_parser("refill")
    filling.set_defaults(command=_refill, caption="txt", split=KeySplit.FIRST)
    filling.add_argument("url", help="the published folder")
    filling.add_argument("--to", required=True, help="folder to write to, local or a URL")
    place = filling.add_mutually_exclusive_group()
    place.add_argument("--mirror", help="a mirror of PubMed Central's bucket instead of the bucket itself")
    place.add_argument("--packages", type=Path, help="a folder of article packages instead")
    filling.add_argument("--per-shard", type=int, default=10_000)
    auditing = commands.add_parser("audit")
    auditing.set_defaults(command=_audit, url=[], caption="txt", split=KeySplit.FIRST)
    auditing.add_argument("data", nargs="?", default="data", help="the data root, a folder or a URL")
    auditing.add_argument("--age", action="store_true", help="read nothing, tell when it was done last")
    commands.choices["inspect"].add_argument("--samples", type=int, default=12)
    commands.choices["inspect"].add_argument("--sheet", type=Path, help="write a picture of them (.png)")
    commands.choices["index"].add_argument("--columns", nargs="*", default=[], help="fields of the records to keep")
    commands.choices["convert"].add_argument("--per-shard", type=int, default=10_000)
    commands.choices["convert"].add_argument("--prefix", default="samples")
    return parser


def _inspect(given: argparse.Namespace, source: Source, console: Console) -> int:
    access = Access(source.storage, RETRY_POLICY)
    shards = list_shards(source.url, access)
    entries = first_entries(shards, Reading(source.form()), access, given.samples)
    console.print(f"{len(shards)} shards, the first is {shards[0]}", markup=False)
    table = Table("key", "members", "bytes", "caption, or why it cannot be used", "fields of the record")
    for entry in entries:
        table.add_row(*_described(entry))
    console.print(table)
    if given.sheet is not None:
        _draw(entries, given.sheet)
        console.print(f"drew {given.sheet}", markup=False)
    return 0


def _described(entry: Entry) -> tuple[str, ...]:
    if isinstance(entry.value, Reject):
        text, fields = f"REJECTED {entry.value.reason}: {entry.value.detail}", ""
    else:
        text, fields = entry.value.caption, ", ".join(entry.value.record)
    cells = (entry.place.key, " ".join(entry.names), f"{entry.place.n_bytes:,}", text, fields)
    return tuple(textwrap.shorten(cell, 160).replace("[", r"\[") for cell in cells)


def _draw(entries: Sequence[Entry], path: Path) -> None:
    from biomedica_kedro.shards.contact_sheet import sheet_of

    samples = [entry.value for entry in entries if not isinstance(entry.value, Reject)]
    figure = sheet_of([(sample.image, textwrap.shorten(sample.key, 40), sample.caption) for sample in samples])
    figure.savefig(path, dpi=110)


def _lint(given: argparse.Namespace, source: Source, console: Console) -> int:
    access = Access(source.storage, RETRY_POLICY)
    shards = list_shards(source.url, access)
    findings = tools.lint(shards, Reading(source.form()), access)
    console.print(f"{len(shards)} shards, {findings.samples:,} samples that can be used", markup=False)
    if not findings.counts:
        console.print("nothing is wrong")
        return 0
    table = Table("finding", "count", "for example")
    for what, count in findings.counts.most_common():
        examples = "\n".join(textwrap.shorten(example, 160) for example in islice(findings.examples[what], 3))
        table.add_row(what, f"{count:,}", examples.replace("[", r"\["))
    console.print(table)
    return 1


def _index(given: argparse.Namespace, source: Source, console: Console) -> int:
    shards = open_source(source, StreamOptions())
    count, rejected = tools.write_index(shards, given.to, given.columns)
    console.print(
        f"indexed {count:,} samples of {len(shards.shards)} shards in {given.to}{_left(rejected)}", markup=False
    )
    return 0


def _convert(given: argparse.Namespace, source: Source, console: Console) -> int:
    shards = open_source(source, StreamOptions())
    count, rejected = tools.convert(shards, given.to, per_shard=given.per_shard, prefix=given.prefix)
    console.print(f"wrote {count:,} samples to {given.to}{_left(rejected)}", markup=False)
    return 0


def _refill(given: argparse.Namespace, source: Source, console: Console) -> int:
    from biomedica_kedro.pmc.cloud import CloudSource
    from biomedica_kedro.pmc.mirror import MirrorSource
    from biomedica_kedro.pmc.packages import PackagesSource
    from biomedica_kedro.shards.refill import refill

    articles: Any = CloudSource()
    if given.mirror or given.packages:
        articles = MirrorSource(given.mirror) if given.mirror else PackagesSource(given.packages)
    done = refill(given.url, given.to, articles, per_shard=given.per_shard)
    total = done.n_samples + done.missing.total()
    console.print(
        f"filled in {done.n_samples:,} of {total:,} references in {given.to}{_left(done.missing)}", markup=False
    )
    for example in done.examples:
        console.print(f"  {example}", markup=False)
    return 1 if done.missing else 0


def _audit(given: argparse.Namespace, source: Source, console: Console) -> int:
    from biomedica_kedro.shards.audited import LastAudit, audited_folders, read_again

    root = place(given.data)
    last = LastAudit.of(*audited_folders(root))
    console.print(f"{root}: {last.told()}", markup=False)
    if given.age:
        return 1 if last.missing or last.changed else 0
    n_damaged = 0
    for name, problems in read_again(root):
        n_damaged += bool(problems)
        console.print(problems or f"{name}: as its index says", markup=False)
    console.print("nothing is wrong" if not n_damaged else f"{n_damaged} shards are damaged")
    return 1 if n_damaged else 0


def _left(rejected: dict[str, int]) -> str:
    counts = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejected.items()))
    return f"; left out: {counts}" if counts else ""


if __name__ == "__main__":
    sys.exit(main())
