"""Votes as people write them down: plain CSV files, one per expert, that survive a round trip through a spreadsheet.

Columns are those of `records.EXPERT_VOTES`; several keys or answers in one cell are joined by "|".
"""

from __future__ import annotations

import csv
import fcntl
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from biomedica_kedro.records import EXPERT_VOTES, to_table

SEPARATOR = "|"
_LISTS = ("keys", "answers")


class BallotError(ValueError):
    """A file of votes cannot be read."""


def read_votes(paths: Iterable[Path]) -> pa.Table:
    """All votes of all files, in order of file name.

    Args:
        paths: CSV files as a spreadsheet writes them: with or without byte order mark, comma, semicolon or tab between
            the cells. When an expert answers a question about the same images twice, in one file, the later counts.
    Raises:
        BallotError: naming the file, the line and what is wrong.
    """
    rows = [row for path in sorted(paths, key=lambda path: path.name) for row in _latest(_read(path))]
    return to_table(rows, EXPERT_VOTES)


def append_vote(folder: Path, expert: str, keys: Sequence[str], answers: Mapping[str, Sequence[str]]) -> Path:
    """Add one expert's answers about the images of a cluster to the expert's file.

    Args:
        folder: where the files of votes lie; made when absent.
        expert: any name; the file is named after its letters and digits.
        keys: of the images shown.
        answers: by question.
    Returns:
        The file. Writers take turns; a line is written whole or not at all.
    """
    rows = [
        (expert.strip(), SEPARATOR.join(keys), question, SEPARATOR.join(chosen)) for question, chosen in answers.items()
    ]
    return append_lines(folder, expert, EXPERT_VOTES.names, rows)


def append_lines(folder: Path, expert: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    """Add rows to a person's CSV file, which begins with the columns; writers take turns.

    Raises:
        BallotError: when the person has no name.
    """
    if not expert.strip():
        raise BallotError("a vote needs the name of the expert")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{_file_stem(expert)}.csv"
    with path.open("a", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.tell() == 0:
            file.write(",".join(columns) + "\n")
        file.write(text.getvalue())
    return path


def withdraw_last(folder: Path, expert: str) -> tuple[str, ...] | None:
    """Take back an expert's last vote; what the expert had said before about the same images counts again.

    Args:
        folder: where the files of votes lie.
        expert: as in `append_vote`.
    Returns:
        Keys of the images the vote was about; None when there is nothing to take back.
    """
    path = folder / f"{_file_stem(expert)}.csv"
    if not path.is_file():
        return None
    with path.open("r+", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        header, *rows = list(csv.reader(file))
        if not rows:
            return None
        keys, asked = rows[-1][1], set[str]()
        while rows and rows[-1][1] == keys and rows[-1][2] not in asked:  # a question again: an earlier vote
            asked.add(rows.pop()[2])
        file.seek(0)
        file.truncate()
        csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return tuple(keys.split(SEPARATOR))


def _file_stem(expert: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in expert.strip().lower())[:80]


def read_lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Rows of a CSV file that are not empty, each with the number of its line.

    Args:
        path: as a spreadsheet writes it: with or without byte order mark, comma, semicolon or tab between the cells.
        columns: that there must be.
    Raises:
        BallotError: naming the file and the columns that it lacks.
    """
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=delimiter)
    missing = set(columns) - set(reader.fieldnames or ())
    if missing:
        raise BallotError(
            f"votes file {path.name} lacks the columns {', '.join(sorted(missing))}; it has "
            f"{', '.join(reader.fieldnames or ())}; wanted are {', '.join(columns)}"
        )
    for row in reader:
        if any(row.values()):
            yield reader.line_num, row


def _read(path: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for line, row in read_lines(path, EXPERT_VOTES.names):
        if not (row["expert"] and row["keys"] and row["question"]):
            raise BallotError(f"votes file {path.name}, line {line}: expert, keys and question must be given")
        lists = {name: [part.strip() for part in (row[name] or "").split(SEPARATOR) if part.strip()] for name in _LISTS}
        if not lists["answers"]:
            continue  # a line of a ballot that has not been filled in
        rows.append({"expert": row["expert"].strip(), "question": row["question"].strip(), **lists})
    return rows


def _latest(rows: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    latest = {(row["expert"], row["question"], tuple(sorted(row["keys"]))): row for row in rows}  # type: ignore[call-overload]
    return list(latest.values())
