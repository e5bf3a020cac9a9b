"""The published folder: which file lies where, and its making from the data sets of a run.

README.md  croissant.json  ATTRIBUTION-commercial.txt  ATTRIBUTION-noncommercial.txt
shards/biomedica-commercial-train-000000.tar       samples as WebDataset
parquet/biomedica-commercial-train-000000.parquet  the same with the images in it, when the run wrote it
metadata/biomedica-commercial-train-000000.parquet a row a sample
index/*.parquet                                    a row a shard
articles/*.parquet                                 long texts once an article (compact profile)
references/*.parquet                               what licenses keep out, for `refill`
other/  unlicensed/                                the same for what is published only when it is named
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.records import LicenseGroup
from biomedica_kedro.shards.attribution import attribution_file
from biomedica_kedro.shards.selection import OPEN_SUBSETS, Subset
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.files import sha256_of, write_json
from biomedica_kedro.stages.place import Place

MAX_FILES = 10_000  # in a folder of the Hugging Face hub
ARTICLES, REFERENCES = "articles", "references"

_WITHOUT_TABLES = ("shards", "parquet")  # they hold files of samples, or no file at all

_SHARD = re.compile(r"biomedica-(?P<subset>[a-z]+)-(?P<split>[a-z]+)-\d+\.[a-z]+")


def subset_of_file(name: str) -> Subset | None:
    """The subset a shard's file belongs to; None for files of all of them."""
    found = _SHARD.fullmatch(name.rpartition("/")[2])
    return Subset(found["subset"]) if found else None


def folder_of(subset: Subset | None, kind: str) -> str:
    """Folder of a kind of file ("shards"): what is published only when it is named lies apart."""
    return kind if subset is None or subset in OPEN_SUBSETS else f"{subset}/{kind}"


def lay_out(root: Path, folders: Mapping[str, BatchFolder], card: str, croissant: Mapping[str, Any]) -> dict[str, str]:
    """Make the published folder, its large files as links; data sets that hold nothing are left out.

    Args:
        root: an empty folder.
        folders: by kind, "shards" before "metadata": what goes into the folder of that name.
        card: the README.
        croissant: the Croissant metadata.
    Returns:
        The sha256 of each file, by its path below `root`; shards come before the table that names them.
    Raises:
        ValueError: when a folder would hold more files than the hub allows, or the data are not on this machine.
    """
    checksums: dict[str, str] = {}
    for kind, folder in folders.items():
        commits = [commit for batch in folder.names() if (commit := folder.commit(batch))]
        records = {file: record for commit in commits for file, record in commit.files.items()}
        is_empty = kind not in _WITHOUT_TABLES and not any(commit.rows for commit in commits)
        for file, record in records.items():
            if (name := _published_name(kind, file, is_empty=is_empty)) is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                checksums |= _placed(root, name, folder.path / file, record.sha256)
    _check_sizes(checksums)
    written = [*_write_attributions(root, folders["metadata"]), "README.md", "croissant.json"]
    (root / "README.md").write_text(card)
    write_json(root / "croissant.json", dict(croissant))
    return checksums | {name: sha256_of(root / name) for name in written}


def _published_name(kind: str, file: str, *, is_empty: bool) -> str | None:
    """Path of a data set's file below the published folder; None for a file that is not published."""
    if kind == ARTICLES and file.startswith(f"_{REFERENCES}/"):
        return file.removeprefix("_")
    return None if is_empty or file.startswith("_") else f"{folder_of(subset_of_file(file), kind)}/{file}"


def _placed(root: Path, name: str, source: Place, sha256: str) -> dict[str, str]:
    """Link a file into the published folder; the texts of articles are parted by subset, as all else is."""
    if not isinstance(source, Path):
        raise ValueError(f"{source} cannot be published from there: publishing reads a data root on this machine")
    if not name.startswith(f"{ARTICLES}/"):
        (root / name).symlink_to(source.resolve())
        return {name: sha256}
    table = pq.read_table(source, partitioning=None)
    groups = table["license_group"].to_pylist()
    if not set(groups) & {LicenseGroup.OTHER}:
        (root / name).symlink_to(source.resolve())
        return {name: sha256}
    placed = {}
    for is_open in (True, False):
        part = table.filter(pa.array([(group != LicenseGroup.OTHER) is is_open for group in groups]))
        where = name if is_open else f"{Subset.OTHER}/{name}"
        if part.num_rows:
            (root / where).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(part, root / where, compression="zstd")
            placed[where] = sha256_of(root / where)
    return placed


def _write_attributions(root: Path, metadata: BatchFolder) -> list[str]:
    """A file a subset that names every article; at the root, or in the folder of its own."""
    names: dict[Subset, list[str]] = {}
    for batch in metadata.names():
        subset = subset_of_file(f"{batch}.parquet")
        if subset is not None and metadata.file(batch).is_file():
            names.setdefault(subset, []).append(batch)
    written = []
    for subset, batches in sorted(names.items()):
        name = folder_of(subset, f"ATTRIBUTION-{subset}.txt")
        with (root / name).open("w", encoding="utf-8") as file:
            file.writelines(attribution_file(subset, _attributions(metadata, batches)))
        written.append(name)
    return written


def _attributions(metadata: BatchFolder, batches: list[str]) -> Iterator[tuple[str, str]]:
    for batch in batches:
        table = metadata.table(batch, ["article_id", "attribution"])
        yield from zip(table["article_id"].to_pylist(), table["attribution"].to_pylist(), strict=True)


def _check_sizes(files: Mapping[str, str]) -> None:
    for folder, count in Counter(name.rpartition("/")[0] for name in files).items():
        if count > MAX_FILES:
            raise ValueError(
                f"{folder}/ would hold {count:,} files, the hub allows {MAX_FILES:,} a folder: raise "
                "serialization.assign_shards.samples_per_shard and set compact"
            )
